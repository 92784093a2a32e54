//! Removal of a directory tree that a container has written into.
//!
//! Such a tree is hostile: it can be deeper than this process may open files, and a mount may still be in it.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Directories this far down are first moved up, so that the number of open descriptors stays small.
const MAX_DEPTH: usize = 64;

/// Removes `path` and everything below. That it is not there is no error.
///
/// No symbolic link is followed and no mount is crossed: a mount point below fails the call (EXDEV, EBUSY)
/// and what is mounted there is not touched. Nobody may add to the tree at the time; that another one removes it, too
/// (two undos of one container), is no error.
pub fn remove_tree(path: &Path) -> Result<()> {
    let context = || format!("cannot remove {}", path.display());
    let name =
        CString::new(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())).with_context(context)?;
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Ok(meta) if !meta.is_dir() => return std::fs::remove_file(path).with_context(context),
        _ => {}
    }
    let mut top = match Top::open(&name) {
        Err(error) if error.downcast_ref() == Some(&Errno::ENOENT) => return Ok(()),
        opened => opened.with_context(context)?,
    };
    empty(top.fd.as_fd(), 0, &mut top.moved).with_context(context)?;
    while let Some(deep) = top.moved.queue.pop_front() {
        remove_dir(top.fd.as_fd(), &deep, 0, &mut top.moved).with_context(context)?;
    }
    gone(unlinkat(AT_FDCWD, name.as_c_str(), UnlinkatFlags::RemoveDir)).context("rmdir").with_context(context)
}

/// What is not there (any more) needs no removing.
fn gone(removed: nix::Result<()>) -> nix::Result<()> {
    match removed {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

struct Top {
    fd: OwnedFd,
    moved: Moved,
}

/// Directories that were too deep, now children of the top.
struct Moved {
    top: OwnedFd,
    count: u64,
    queue: VecDeque<CString>,
}

impl Top {
    fn open(name: &CStr) -> Result<Top> {
        let fd = open_dir(AT_FDCWD, name, ResolveFlag::empty())?;
        let top = fd.try_clone().context("dup")?;
        Ok(Top { fd, moved: Moved { top, count: 0, queue: VecDeque::new() } })
    }
}

fn open_dir(parent: BorrowedFd, name: &CStr, resolve: ResolveFlag) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat2(parent, name, OpenHow::new().flags(flags).mode(Mode::empty()).resolve(resolve)) {
        // KERNEL(5.6): there is no openat2(2), or a sandbox does not know it.
        Err(Errno::ENOSYS) => {
            let dir = openat(parent, name, flags, Mode::empty())?;
            let crossed =
                resolve.contains(ResolveFlag::RESOLVE_NO_XDEV) && mount_id(parent)? != mount_id(dir.as_fd())?;
            if crossed { Err(Errno::EXDEV) } else { Ok(dir) }
        }
        opened => opened,
    }
}

/// The mount that an opened file is on (proc_pid_fdinfo(5)).
fn mount_id(fd: BorrowedFd) -> nix::Result<String> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
    let info = info.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO)))?;
    let line = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    line.map(|id| id.trim().to_owned()).ok_or(Errno::ENOSYS)
}

/// Removes everything in `dir`.
fn empty(dir: BorrowedFd, depth: usize, moved: &mut Moved) -> Result<()> {
    let mut listing = Dir::from_fd(dir.try_clone_to_owned().context("dup")?).context("opendir")?;
    for entry in listing.iter() {
        let entry = entry.context("readdir")?;
        let name = entry.file_name();
        if name == c"." || name == c".." || moved.queue.iter().any(|deep| deep.as_c_str() == name) {
            continue;
        }
        if matches!(entry.file_type(), Some(Type::Directory) | None) {
            remove_dir(dir, name, depth, moved)?;
        } else {
            gone(unlinkat(dir, name, UnlinkatFlags::NoRemoveDir))
                .with_context(|| format!("unlink {}", name.to_string_lossy()))?;
        }
    }
    Ok(())
}

fn remove_dir(parent: BorrowedFd, name: &CStr, depth: usize, moved: &mut Moved) -> Result<()> {
    let shown = || name.to_string_lossy().into_owned();
    if depth == MAX_DEPTH {
        return moved.take(parent, name).with_context(|| format!("rename {}", shown()));
    }
    let dir = match open_dir(parent, name, ResolveFlag::RESOLVE_NO_XDEV) {
        Ok(dir) => dir,
        Err(Errno::ENOENT) => return Ok(()),
        // Not a directory after all, on a file system that does not tell the type in readdir(3).
        Err(Errno::ENOTDIR | Errno::ELOOP) => {
            return gone(unlinkat(parent, name, UnlinkatFlags::NoRemoveDir))
                .with_context(|| format!("unlink {}", shown()));
        }
        Err(errno) => return Err(errno).with_context(|| format!("open {}", shown())),
    };
    empty(dir.as_fd(), depth + 1, moved)?;
    gone(unlinkat(parent, name, UnlinkatFlags::RemoveDir)).with_context(|| format!("rmdir {}", shown()))
}

impl Moved {
    fn take(&mut self, parent: BorrowedFd, name: &CStr) -> Result<()> {
        loop {
            let new = CString::new(format!(".gocker-remove-{}", self.count))?;
            self.count += 1;
            match renameat(parent, name, self.top.as_fd(), new.as_c_str()) {
                Ok(()) => {
                    self.queue.push_back(new);
                    return Ok(());
                }
                Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_a_tree_deeper_than_a_path_may_be_long() {
        let top = std::env::temp_dir().join(format!("gocker-tree-{}", std::process::id()));
        std::fs::create_dir(&top).unwrap();
        let mut dir =
            open_dir(AT_FDCWD, &CString::new(top.to_str().unwrap()).unwrap(), ResolveFlag::empty()).unwrap();
        for _ in 0..3000 {
            nix::sys::stat::mkdirat(dir.as_fd(), c"d", Mode::S_IRWXU).unwrap();
            dir = open_dir(dir.as_fd(), c"d", ResolveFlag::empty()).unwrap();
        }
        std::os::unix::fs::symlink("/etc", top.join("link")).unwrap();
        remove_tree(&top).unwrap();
        assert!(!top.exists());
        assert!(Path::new("/etc/passwd").exists());
    }
}
