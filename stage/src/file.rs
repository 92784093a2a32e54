//! Files that are either the old or the new version, never half of one.

use std::fs::{File, OpenOptions, rename};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Whether a file must be there after a power failure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It lives as long as the host is up.
    UntilReboot,
    /// It is on disk when the call returns.
    Durable,
}

/// Puts `bytes` at `path`: written beside it (mode 0600), then renamed over it.
///
/// The temporary name carries this process's id, so the caller needs no lock against itself; two writers of
/// one path leave the version of the last.
pub fn replace_file(path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = write_then_rename(&temporary, path, bytes, durability);
    if written.is_err() {
        std::fs::remove_file(&temporary).ok();
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn write_then_rename(temporary: &Path, path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
    file.write_all(bytes)?;
    if durability == Durability::Durable {
        file.sync_all().context("fsync")?;
    }
    rename(temporary, path).context("rename")?;
    if durability == Durability::Durable
        && let Some(parent) = path.parent()
    {
        // The name is in the directory's data: without this the rename may be lost.
        File::open(parent)?.sync_all().context("fsync")?;
    }
    Ok(())
}
