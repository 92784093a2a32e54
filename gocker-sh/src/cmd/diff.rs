//! `diff`: what a container has changed in its image: a look into its writable layer.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde_json::Value;

use super::each;
use crate::cli::Global;
use crate::record::Record;

/// Show what a container has changed in its image
#[derive(clap::Args, Clone, Debug)]
pub struct Diff {
    /// Name or id
    container: String,
}

/// `A` added, `C` changed, `D` deleted; sorted by path.
pub fn diff(global: &Global, options: &Diff) -> Result<u8> {
    each(global, std::slice::from_ref(&options.container), |store, id, _| {
        let record = Record::read(store, id)?.with_context(|| format!("No such container: {id}"))?;
        let document: Value = record
            .document
            .as_ref()
            .map(|raw| serde_json::from_str(raw.get()))
            .transpose()?
            .unwrap_or_default();
        let Some(upper) = document["rootfs"]["upper"].as_str() else { return Ok(()) };
        let mut layers = Vec::new();
        for path in layers_of(&document) {
            layers.push(open(&path).with_context(|| format!("cannot open {}", path.display()))?);
        }
        let mut changes = BTreeMap::new();
        walk(Path::new(upper), Path::new(""), &layers, &mut changes)?;
        let text: String =
            changes.iter().map(|(path, kind)| format!("{kind} /{}\n", path.display())).collect();
        stage::print(&text)
    })
}

/// The directories below the writable layer, the uppermost first.
fn layers_of(document: &Value) -> Vec<PathBuf> {
    let options = document["rootfs"]["mount"]["options"].as_array().cloned().unwrap_or_default();
    let lower = options
        .iter()
        .filter_map(Value::as_str)
        .filter_map(|option| option.strip_prefix("lowerdir+=").or_else(|| option.strip_prefix("lowerdir=")));
    lower.flat_map(|text| text.split(':').map(PathBuf::from).collect::<Vec<_>>()).collect()
}

fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Every entry of the layer is a change. Directories that are only there to hold one are changed, too, as docker has it.
fn walk(upper: &Path, below: &Path, layers: &[OwnedFd], changes: &mut BTreeMap<PathBuf, char>) -> Result<()> {
    let directory = upper.join(below);
    let entries =
        std::fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = below.join(entry.file_name());
        let Ok(meta) = entry.metadata() else { continue };
        let kind = match (meta.file_type().is_char_device() && meta.rdev() == 0, was_there(layers, &path)) {
            // A whiteout.
            (true, _) => 'D',
            (false, true) => 'C',
            (false, false) => 'A',
        };
        if meta.is_dir() {
            walk(upper, &path, layers, changes)?;
        }
        changes.insert(path, kind);
    }
    Ok(())
}

/// Whether the image has this path: the uppermost layer that knows it decides.
fn was_there(layers: &[OwnedFd], path: &Path) -> bool {
    for layer in layers {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        if let Ok(found) = rustix::fs::openat2(layer, path, flags, Mode::empty(), resolve) {
            return rustix::fs::fstat(found).is_ok_and(|stat| {
                rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::CharacterDevice
                    || stat.st_rdev != 0
            });
        }
    }
    false
}
