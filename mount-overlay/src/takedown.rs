//! `undo`: takes down a root, whatever of it is there.

use std::path::Path;

use anyhow::{Context, Error, Result};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount as umount2};
use stage::Explain;

use crate::place::{self, Place};

pub fn command(place: &Place, keep_upper: bool) -> Result<()> {
    stage::need_root()?;
    stage::signals::hold()?;
    // In this order: what is still mounted must not be removed.
    take_down(&place.rootfs(), keep_upper)?;
    unmount(&place.tmpfs())?;
    remove(&place.run)?;
    if keep_upper {
        // The scratch space is empty by now, but for the mark of --volatile, for which the kernel would refuse to
        // mount the upper directory again.
        return remove(&place::work(&place.kept));
    }
    remove(&place.kept)
}

/// Unmounts a root. What is kept must not be written to any more by a process that still has it open; what is
/// removed may be: then the mount goes when the last such process does.
fn take_down(rootfs: &Path, keep_upper: bool) -> Result<()> {
    if keep_upper {
        return try_unmount(rootfs, UnmountFlags::empty())
            .hint(format!("fuser -vm {} shows who uses it", rootfs.display()));
    }
    unmount(rootfs)
}

/// Unmounts, at once or, when somebody is still in there, as soon as nobody is any more. That nothing is
/// mounted there is no error.
pub fn unmount(path: &Path) -> Result<()> {
    match try_unmount(path, UnmountFlags::empty()) {
        Err(error) if is_busy(&error) => try_unmount(path, UnmountFlags::DETACH),
        other => other,
    }
}

fn is_busy(error: &Error) -> bool {
    matches!(error.downcast_ref(), Some(&Errno::BUSY))
}

fn try_unmount(path: &Path, flags: UnmountFlags) -> Result<()> {
    loop {
        match umount2(path, flags | UnmountFlags::NOFOLLOW) {
            // Somebody may have mounted something on top: down to the directory itself.
            Ok(()) if flags.contains(UnmountFlags::DETACH) => shown(&["umount", "-l"], path),
            Ok(()) => shown(&["umount"], path),
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(errno) => {
                return Err(errno).with_context(|| format!("cannot unmount {}: umount", path.display()));
            }
        }
    }
}

fn shown(words: &[&str], path: &Path) {
    let words: Vec<_> = words.iter().map(std::ffi::OsStr::new).chain([path.as_os_str()]).collect();
    stage::shell(&words);
}

fn remove(path: &Path) -> Result<()> {
    if std::fs::symlink_metadata(path).is_ok() {
        shown(&["rm", "-rf", "--one-file-system"], path);
    }
    stage::remove_tree(path)
}
