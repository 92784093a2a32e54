//! Where two trees differ, if they do. Names are looked up in opened directories: no link is followed, and no path
//! is too long.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// Bytes of two files compared at a time.
const BUFFER: usize = 64 << 10;

/// The first difference: which file, and what of it. `None`: they are the same.
pub fn difference(one: &Path, other: &Path) -> Result<Option<String>> {
    let (one, other) = (directory(CWD, one)?, directory(CWD, other)?);
    of_directories(&one, &other, "")
}

fn directory(parent: BorrowedFd, name: impl rustix::path::Arg) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty()).context("open")
}

fn of_directories(one: &OwnedFd, other: &OwnedFd, path: &str) -> Result<Option<String>> {
    let context = || format!("cannot compare /{path}");
    let (names, others) = (names(one).with_context(context)?, names(other).with_context(context)?);
    let only = |a: &[Vec<u8>], b: &[Vec<u8>]| a.iter().find(|name| !b.contains(name)).map(|name| shown(name));
    if names != others {
        let missing = only(&names, &others).map(|name| format!("/{path}: {name} is missing"));
        return Ok(
            missing.or_else(|| only(&others, &names).map(|name| format!("/{path}: {name} is too much")))
        );
    }
    if let Some(what) = of_metadata((one.as_fd(), c"."), (other.as_fd(), c".")).with_context(context)? {
        return Ok(Some(format!("/{path}: {what}")));
    }
    for name in names {
        let below = if path.is_empty() { shown(&name) } else { format!("{path}/{}", shown(&name)) };
        let found = of_entry(one, other, &std::ffi::CString::new(name)?, &below)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn of_entry(one: &OwnedFd, other: &OwnedFd, name: &std::ffi::CStr, path: &str) -> Result<Option<String>> {
    let context = || format!("cannot compare /{path}");
    let stat = rustix::fs::statat(one, name, AtFlags::SYMLINK_NOFOLLOW).with_context(context)?;
    let theirs = rustix::fs::statat(other, name, AtFlags::SYMLINK_NOFOLLOW).with_context(context)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::from_raw_mode(theirs.st_mode) {
        return Ok(Some(format!("/{path}: another kind of file")));
    }
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return of_directories(&directory(one.as_fd(), name)?, &directory(other.as_fd(), name)?, path);
    }
    let what = of_metadata((one.as_fd(), name), (other.as_fd(), name)).with_context(context)?;
    let what = match (what, FileType::from_raw_mode(stat.st_mode)) {
        (None, FileType::RegularFile) => {
            (!same_content(one, other, name).with_context(context)?).then_some("content")
        }
        (None, FileType::Symlink) => {
            let target = |dir: &OwnedFd| rustix::fs::readlinkat(dir, name, Vec::new());
            (target(one).with_context(context)? != target(other).with_context(context)?).then_some("target")
        }
        (what, _) => what,
    };
    Ok(what.map(|what| format!("/{path}: {what}")))
}

/// What differs of the file itself.
fn of_metadata(
    one: (BorrowedFd, &std::ffi::CStr),
    other: (BorrowedFd, &std::ffi::CStr),
) -> Result<Option<&'static str>> {
    let stat = |(dir, name)| rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    let (ours, theirs) = (stat(one)?, stat(other)?);
    let is_dir = FileType::from_raw_mode(ours.st_mode) == FileType::Directory;
    let time = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec);
    // What a directory has of size and links is the file system's own affair.
    let sizes = |stat: &Stat| if is_dir { (0, 0) } else { (stat.st_size, stat.st_nlink) };
    Ok(match () {
        () if ours.st_mode != theirs.st_mode => Some("mode"),
        () if (ours.st_uid, ours.st_gid) != (theirs.st_uid, theirs.st_gid) => Some("owner"),
        () if sizes(&ours) != sizes(&theirs) => Some("size or links"),
        () if ours.st_rdev != theirs.st_rdev => Some("device number"),
        () if time(&ours) != time(&theirs) => Some("time"),
        () if xattrs(one)? != xattrs(other)? => Some("extended attributes"),
        () => None,
    })
}

/// Sorted, each with its value.
fn xattrs((dir, name): (BorrowedFd, &std::ffi::CStr)) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    let path = std::ffi::CString::new([&path, name.to_bytes()].concat())?;
    let mut list = vec![0; 64 << 10];
    let length = match rustix::fs::llistxattr(&*path, &mut list) {
        Err(Errno::OPNOTSUPP) => 0,
        listed => listed?,
    };
    let mut found = Vec::new();
    for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(&*path, name, &mut value)?;
        found.push((name.to_vec(), value[..length].to_vec()));
    }
    found.sort_unstable();
    Ok(found)
}

fn names(dir: &OwnedFd) -> Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn same_content(one: &OwnedFd, other: &OwnedFd, name: &std::ffi::CStr) -> Result<bool> {
    let open = |dir: &OwnedFd| {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(dir, name, flags, Mode::empty()).map(File::from)
    };
    let (mut one, mut other) = (open(one)?, open(other)?);
    let (mut ours, mut theirs) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        let n = one.read(&mut ours)?;
        if n == 0 {
            return Ok(other.read(&mut theirs)? == 0);
        }
        if other.read_exact(&mut theirs[..n]).is_err() || ours[..n] != theirs[..n] {
            return Ok(false);
        }
    }
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
