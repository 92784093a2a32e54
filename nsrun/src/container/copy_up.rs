//! `tmpcopyup`: a tmpfs that begins with what the image has at its mount point. podman asks for it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Timestamps};

use crate::call::Call;

/// Copies what is in the directory `from` (a descriptor below the new mount) to `to`, the mount itself. No link is
/// followed, and no mount below `from` is entered: it is a directory of the image.
pub fn copy(from: BorrowedFd, to: BorrowedFd) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = rustix::fs::openat(from, c".", flags, Mode::empty()).call("openat")?;
    for entry in Dir::read_from(&readable).call("getdents")? {
        let entry = entry.call("getdents")?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        copy_entry(readable.as_fd(), to, name)
            .with_context(|| format!("cannot copy {}", name.to_string_lossy()))?;
    }
    Ok(())
}

fn copy_entry(from: BorrowedFd, to: BorrowedFd, name: &std::ffi::CStr) -> Result<()> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).call("fstatat")?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match kind {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, mode).call("mkdirat")?;
            copy(open_directory(from, name)?.as_fd(), open_directory(to, name)?.as_fd())?;
        }
        FileType::RegularFile => copy_file(from, to, name, mode)?,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new()).call("readlinkat")?;
            rustix::fs::symlinkat(&target, to, name).call("symlinkat")?;
        }
        _ => rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev).call("mknodat")?,
    }
    let owner = (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(to, name, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW)
        .call("fchownat")?;
    if kind != FileType::Symlink {
        // Again: changing the owner takes the set-user-ID bit away.
        rustix::fs::chmodat(to, name, mode, AtFlags::empty()).call("fchmodat")?;
    }
    let time = |seconds, nanoseconds: u64| rustix::fs::Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    rustix::fs::utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW).call("utimensat")
}

fn copy_file(from: BorrowedFd, to: BorrowedFd, name: &std::ffi::CStr, mode: Mode) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, flags, Mode::empty()).call("openat")?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(to, name, flags, mode).call("openat")?;
    std::io::copy(&mut std::fs::File::from(source), &mut std::fs::File::from(target)).context("copy")?;
    Ok(())
}

fn open_directory(at: BorrowedFd, name: &std::ffi::CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty()).call("openat")
}
