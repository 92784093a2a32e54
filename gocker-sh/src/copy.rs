//! Copies a file or a tree from one directory into another, both given as descriptors.
//!
//! No path is ever longer than one name, and no symbolic link is followed on either side, so that it does not matter what
//! a container does to its directories meanwhile (CVE-2018-15664 was docker's way to get this wrong).

use std::ffi::{CStr, CString, OsStr};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RawMode, Timespec, Timestamps};
use rustix::io::Errno;

/// Whose the copies are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Of whoever copies.
    Ours,
    /// As the originals.
    AsFound,
}

/// Copies `name` of `from` to `target` of `to`. A directory is merged into one that is there; any other file is replaced.
pub fn copy(from: BorrowedFd, name: &OsStr, to: BorrowedFd, target: &OsStr, owner: Owner) -> Result<()> {
    let context = || format!("cannot copy {}", name.to_string_lossy());
    let (name, target) = (c_string(name)?, c_string(target)?);
    entry(from, &name, to, &target, owner).with_context(context)
}

/// Copies everything in one directory into another.
pub fn contents(from: BorrowedFd, to: BorrowedFd, owner: Owner) -> Result<()> {
    for item in Dir::read_from(from).context("opendir")? {
        let item = item.context("readdir")?;
        if item.file_name() != c"." && item.file_name() != c".." {
            let shown = || item.file_name().to_string_lossy().into_owned();
            entry(from, item.file_name(), to, item.file_name(), owner).with_context(shown)?;
        }
    }
    Ok(())
}

/// Opens a directory below another one; no link is followed.
pub fn open_dir(at: BorrowedFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn c_string(name: &OsStr) -> Result<CString> {
    CString::new(name.as_bytes()).context("a name holds a zero byte")
}

fn entry(from: BorrowedFd, name: &CStr, to: BorrowedFd, target: &CStr, owner: Owner) -> Result<()> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).context("stat")?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mode = Mode::from_raw_mode(stat.st_mode);
    if kind == FileType::Directory {
        let source = open_dir(from, name).context("open")?;
        let made = directory(to, target)?;
        contents(source.as_fd(), made.as_fd(), owner)?;
    } else {
        match rustix::fs::unlinkat(to, target, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => bail!("a directory is in its place"),
            Err(errno) => return Err(errno).context("unlink"),
        }
        match kind {
            FileType::RegularFile => file(from, name, to, target)?,
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(from, name, Vec::new()).context("readlink")?;
                rustix::fs::symlinkat(&link, to, target).context("symlink")?;
            }
            FileType::Socket => return Ok(()),
            _ => rustix::fs::mknodat(to, target, kind, mode, stat.st_rdev).context("mknod")?,
        }
    }
    metadata(to, target, &stat, owner)
}

/// Makes the directory, or opens the one that is there.
fn directory(to: BorrowedFd, target: &CStr) -> Result<OwnedFd> {
    match rustix::fs::mkdirat(to, target, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).context("mkdir"),
    }
    open_dir(to, target).context("open the directory to copy into")
}

fn file(from: BorrowedFd, name: &CStr, to: BorrowedFd, target: &CStr) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, flags, Mode::empty()).context("open")?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(to, target, flags, Mode::RUSR | Mode::WUSR).context("create")?;
    let (mut source, mut made) = (std::fs::File::from(source), std::fs::File::from(made));
    let mut buffer = vec![0u8; 128 << 10];
    loop {
        match source.read(&mut buffer).context("read")? {
            0 => return Ok(()),
            count => made.write_all(&buffer[..count]).context("write")?,
        }
    }
}

/// Owner first: chown(2) takes the set-user-ID bit away.
fn metadata(to: BorrowedFd, target: &CStr, stat: &rustix::fs::Stat, owner: Owner) -> Result<()> {
    if owner == Owner::AsFound {
        let user = rustix::fs::Uid::from_raw(stat.st_uid);
        let group = rustix::fs::Gid::from_raw(stat.st_gid);
        rustix::fs::chownat(to, target, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
            .context("chown")?;
    }
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        // chmodat(2) follows links: through a descriptor of what was looked at it cannot.
        let fd =
            rustix::fs::openat(to, target, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        let fd = fd.context("open")?;
        let now = rustix::fs::fstat(&fd).context("stat")?;
        if FileType::from_raw_mode(now.st_mode) != FileType::Symlink {
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
            let bits: RawMode = stat.st_mode & 0o7777;
            rustix::fs::chmod(path, Mode::from_raw_mode(bits)).context("chmod")?;
        }
    }
    let time = |seconds: i64, nanos: u64| Timespec { tv_sec: seconds, tv_nsec: nanos.cast_signed() };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    rustix::fs::utimensat(to, target, &times, AtFlags::SYMLINK_NOFOLLOW).context("utimensat")
}

/// Gives one directory the owner and the mode of another.
pub fn like(from: BorrowedFd, to: BorrowedFd) -> Result<()> {
    let stat = rustix::fs::fstat(from).context("stat")?;
    let user = rustix::fs::Uid::from_raw(stat.st_uid);
    rustix::fs::fchown(to, Some(user), Some(rustix::fs::Gid::from_raw(stat.st_gid))).context("chown")?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777)).context("chmod")
}
