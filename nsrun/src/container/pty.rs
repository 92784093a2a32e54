//! A terminal from the container's own devpts.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{Gid, OFlags, Uid};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::root::{Root, magic};
use crate::call::Call;

/// statfs(2), DEVPTS_SUPER_MAGIC.
const DEVPTS: i64 = 0x1cd1;

/// Both ends of a terminal.
#[derive(Debug)]
pub struct Pty {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

/// Opens one. It has its size before any program of the container sees it, so there is no race about it.
pub fn open(root: &Root, owner: u32, size: Option<Winsize>) -> Result<Pty> {
    pty(root, owner, size).context("cannot open a terminal in the container")
}

fn pty(root: &Root, owner: u32, size: Option<Winsize>) -> Result<Pty> {
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let master = root.open_file(Path::new("/dev/pts/ptmx"), flags).call("openat2 /dev/pts/ptmx")?;
    if magic(master.as_fd()).call("fstatfs")? != DEVPTS {
        bail!("/dev/pts is not a devpts");
    }
    rustix::pty::unlockpt(&master).call("ioctl TIOCSPTLCK")?;
    // By the master itself, not by a name (TIOCGPTPEER): /dev/pts/N could be anything.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).call("ioctl TIOCGPTPEER")?;
    if let Some(size) = size {
        rustix::termios::tcsetwinsize(&slave, size).call("ioctl TIOCSWINSZ")?;
    }
    rustix::fs::fchown(&slave, Some(Uid::from_raw(owner)), None::<Gid>).call("fchown")?;
    Ok(Pty { master, slave })
}
