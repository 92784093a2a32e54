//! `netns exec`: a program of the host in a container's network.
//!
//! Unlike ip-netns(8) it leaves `/sys` as it is, which goes on to show the devices of the caller's network. As there,
//! the files of `/etc/netns/NAME` stand in the place of those in `/etc`.

use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use stage::{Codes, Explain, Id};

use crate::pin;

/// Where ip-netns(8) looks for files of one namespace.
const FILES: &str = "/etc/netns";

/// Becomes the program, in the namespace of this id, short id or name.
pub fn run(namespace: &str, command: &[OsString]) -> Result<()> {
    let path = find(namespace);
    let file = File::open(&path)
        .with_context(|| format!("cannot open {}", path.display()))
        .hint("netns ls and ip netns list show what there is")?;
    setns(file, CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("cannot enter network namespace {namespace}: setns"))?;
    let name = path.file_name().unwrap_or_default();
    in_the_place_of_etc(&Path::new(FILES).join(name))?;
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let error = Command::new(program).args(arguments).exec();
    let code = match error.kind() {
        ErrorKind::NotFound => Codes::NOT_FOUND,
        _ => Codes::NOT_EXECUTABLE,
    };
    Err(anyhow!(error)).context(format!("cannot execute {}: execve", program.display())).code(code)
}

/// Binds each file of the directory over the one of its name in /etc, for this process and what it becomes.
fn in_the_place_of_etc(dir: &Path) -> Result<()> {
    let files = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        files => files.with_context(|| format!("cannot list {}", dir.display()))?,
    };
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace: unshare")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_SLAVE | MsFlags::MS_REC, none)
        .context("cannot keep mounts to this namespace: mount")?;
    for file in files.flatten() {
        let (from, to) = (file.path(), Path::new("/etc").join(file.file_name()));
        mount(Some(&from), &to, none, MsFlags::MS_BIND, none)
            .with_context(|| format!("cannot bind {} to {}: mount", from.display(), to.display()))?;
    }
    Ok(())
}

/// The file of the namespace of this id, short id or name. It need not be there.
pub fn find(namespace: &str) -> PathBuf {
    if let Ok(id) = namespace.parse::<Id>() {
        return pin::path(&id);
    }
    let ours = pin::named(&format!("{}{namespace}", pin::PREFIX));
    let named = pin::named(namespace);
    if !named.exists() && ours.exists() { ours } else { named }
}
