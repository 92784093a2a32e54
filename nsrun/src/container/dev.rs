//! What is in the container's `/dev`: device nodes, links, the console (runtime-spec, config-linux.md).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::mounts::{attach, clone_mount};
use super::root::{Links, Root};
use crate::call::Call;

const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 6] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
];

/// Fills the file system that was just mounted at `/dev`. Expects umask 0.
pub fn fill(root: &Root) -> Result<()> {
    let dev = root.find(Path::new("/dev"), Links::InRoot).call("openat2").context("cannot open /dev")?;
    for (name, major, minor) in NODES {
        node(dev.as_fd(), name, major, minor).with_context(|| format!("cannot make /dev/{name}"))?;
    }
    for (name, target) in LINKS {
        match rustix::fs::symlinkat(target, &dev, name) {
            // Something the user mounted there.
            Err(Errno::EXIST) => {}
            made => made.call("symlinkat").with_context(|| format!("cannot make /dev/{name}"))?,
        }
    }
    Ok(())
}

fn node(dev: BorrowedFd, name: &str, major: u32, minor: u32) -> Result<()> {
    let mode = Mode::from_raw_mode(0o666);
    match rustix::fs::mknodat(dev, name, FileType::CharacterDevice, mode, rustix::fs::makedev(major, minor)) {
        Err(Errno::EXIST) => Ok(()),
        // A device cgroup, or a user namespace: the host's own node, then.
        Err(Errno::PERM) => bind_node(dev, name).context("mknodat refused"),
        made => made.call("mknodat"),
    }
}

fn bind_node(dev: BorrowedFd, name: &str) -> Result<()> {
    let source = Path::new("/dev").join(name);
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, &source, flags).call("open_tree")?;
    let place = new_file(dev, name)?;
    attach(tree.as_fd(), place.as_fd())
}

fn new_file(dev: BorrowedFd, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    rustix::fs::openat(dev, name, flags, Mode::from_raw_mode(0o666)).call("openat")
}

/// Makes `/dev/console` the container's terminal. Both ends are descriptors: no name that the image could have
/// turned into something else is followed (CVE-2025-52565).
pub fn console(root: &Root, terminal: BorrowedFd) -> Result<()> {
    let bind = || {
        let dev = root.find(Path::new("/dev"), Links::InRoot).call("openat2")?;
        let place = new_file(dev.as_fd(), "console")?;
        attach(clone_mount(terminal)?.as_fd(), place.as_fd())
    };
    bind().context("cannot bind the terminal at /dev/console")
}
