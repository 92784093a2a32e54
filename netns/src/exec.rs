//! `netns exec`: a program of the host in a container's network.
//!
//! Unlike ip-netns(8) it mounts nothing: `/sys` goes on to show the devices of the caller's network.

use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};
use stage::{Codes, Explain, Id};

use crate::pin;

/// Becomes the program, in the namespace of this id, short id or name.
pub fn run(namespace: &str, command: &[OsString]) -> Result<()> {
    let path = find(namespace);
    let file = File::open(&path)
        .with_context(|| format!("cannot open {}", path.display()))
        .hint("netns ls and ip netns list show what there is")?;
    setns(file, CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("cannot enter network namespace {namespace}: setns"))?;
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let error = Command::new(program).args(arguments).exec();
    let code = match error.kind() {
        ErrorKind::NotFound => Codes::NOT_FOUND,
        _ => Codes::NOT_EXECUTABLE,
    };
    Err(anyhow!(error)).context(format!("cannot execute {}: execve", program.display())).code(code)
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
