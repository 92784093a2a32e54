//! Owner, mode, extended attributes and times of what was unpacked, in the order that keeps them.
//!
//! chown(2) clears the setuid bits and file capabilities, so it comes first; what is still written to clears them,
//! so they come after the content; and every change touches a directory's time, so those come last of all.

use std::fs::File;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::place::{Parent, through_proc};
use super::resolve::open_inside;
use crate::tarball::{Entry, Time};

const SPECIAL: u32 = 0o7000;
/// What is made in a directory that has it inherits it.
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// What a directory gets when everything in it is there.
pub struct LateDirectory {
    mtime: Time,
    default_acl: Option<Vec<u8>>,
}

impl LateDirectory {
    /// One that the layer says nothing of. The same layer is to be the same tree, whenever it is unpacked.
    pub fn unsaid() -> LateDirectory {
        LateDirectory { mtime: Time { seconds: 0, nanoseconds: 0 }, default_acl: None }
    }

    pub fn of(entry: &Entry) -> LateDirectory {
        let default_acl = entry.xattrs.iter().rev().find(|(name, _)| name == DEFAULT_ACL);
        LateDirectory { mtime: entry.mtime, default_acl: default_acl.map(|(_, value)| value.clone()) }
    }

    pub fn apply(&self, root: &OwnedFd, path: &[u8]) -> Result<()> {
        let directory = match open_inside(root, path, OFlags::RDONLY | OFlags::NOFOLLOW) {
            // A later entry has put something else on the way.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            opened => opened.context("open")?,
        };
        if let Some(acl) = &self.default_acl {
            rustix::fs::fsetxattr(&directory, DEFAULT_ACL, acl, XattrFlags::empty()).context("setxattr")?;
        }
        rustix::fs::futimens(&directory, &times(self.mtime)).context("utimensat")
    }
}

/// Of a file that was just made with the mode's lower bits.
pub fn of_file(file: &File, entry: &Entry, parent: &Parent) -> Result<()> {
    if (entry.uid, entry.gid) != (0, 0) || parent.setgid {
        let (uid, gid) = owner(entry);
        rustix::fs::fchown(file, uid, gid).context("chown")?;
    }
    if entry.mode & SPECIAL != 0 {
        rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode)).context("chmod")?;
    }
    for (name, value) in xattrs(entry) {
        rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()).with_context(|| failed(name))?;
    }
    rustix::fs::futimens(file, &times(entry.mtime)).context("utimensat")
}

/// Of a directory, new or not; its time is set later.
pub fn of_directory(parent: &OwnedFd, name: &[u8], entry: &Entry) -> Result<()> {
    let (uid, gid) = owner(entry);
    rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).context("chown")?;
    rustix::fs::chmodat(parent, name, Mode::from_raw_mode(entry.mode), AtFlags::empty()).context("chmod")?;
    by_path(parent, name, entry)
}

/// Of a symbolic link: it has no mode.
pub fn of_symlink(parent: &OwnedFd, name: &[u8], entry: &Entry) -> Result<()> {
    let (uid, gid) = owner(entry);
    rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).context("chown")?;
    by_path(parent, name, entry)?;
    set_time(parent, name, entry)
}

/// Of a device or a FIFO.
pub fn of_node(parent: &OwnedFd, name: &[u8], entry: &Entry) -> Result<()> {
    let (uid, gid) = owner(entry);
    rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).context("chown")?;
    rustix::fs::chmodat(parent, name, Mode::from_raw_mode(entry.mode), AtFlags::empty()).context("chmod")?;
    by_path(parent, name, entry)?;
    set_time(parent, name, entry)
}

fn by_path(parent: &OwnedFd, name: &[u8], entry: &Entry) -> Result<()> {
    for (key, value) in xattrs(entry).filter(|(key, _)| *key != DEFAULT_ACL) {
        let path = through_proc(parent, name);
        rustix::fs::lsetxattr(path, key, value, XattrFlags::empty()).with_context(|| failed(key))?;
    }
    Ok(())
}

fn set_time(parent: &OwnedFd, name: &[u8], entry: &Entry) -> Result<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(parent, name, &times(entry.mtime), flags).context("utimensat")
}

/// Without those that steer overlayfs: a layer that could set `redirect` or `metacopy` would reach other layers.
fn xattrs(entry: &Entry) -> impl Iterator<Item = (&[u8], &[u8])> {
    let steers = |name: &[u8]| name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    let pairs = entry.xattrs.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
    pairs.filter(move |(name, _)| !steers(name))
}

fn failed(name: &[u8]) -> String {
    format!("setxattr {}", super::shown(name))
}

fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
}

fn times(mtime: Time) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: i64::from(mtime.nanoseconds) };
    Timestamps { last_access: time, last_modification: time }
}
