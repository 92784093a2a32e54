//! Paths below the container's root, resolved inside it: what the image holds is hostile.
//!
//! A path is never joined as text and handed to a call that follows symbolic links. It becomes a descriptor
//! here, by openat2(2) with RESOLVE_IN_ROOT (an absolute link or `..` stays below the root) and
//! RESOLVE_NO_MAGICLINKS (no way out through `/proc/PID/fd`, CVE-2024-21626); what is done, is done to that.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::call::Call;

/// As many links as path_resolution(7) allows.
const MAX_LINKS: usize = 40;
/// The largest account file that is read, in bytes.
const MAX_TEXT: u64 = 1 << 20;
/// openat2 gives EAGAIN when something was renamed meanwhile.
const TRIES: usize = 16;

/// What to make where nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Directory,
    File,
}

/// Whether a symbolic link may be a part of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    InRoot,
    Refused,
}

/// The directory that is, or will be, the container's `/`.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

impl Root {
    /// `path` is one of the host's.
    pub fn open(path: &Path) -> rustix::io::Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).map(|fd| Root { fd })
    }

    /// The root of a tree of mounts.
    pub fn of(tree: &OwnedFd) -> rustix::io::Result<Root> {
        rustix::io::fcntl_dupfd_cloexec(tree, 0).map(|fd| Root { fd })
    }

    /// A descriptor of what is at `path`, for use as a place (O_PATH).
    pub fn find(&self, path: &Path, links: Links) -> rustix::io::Result<OwnedFd> {
        match self.openat2(path, OFlags::PATH, links) {
            // KERNEL(5.6): openat2.
            Err(Errno::NOSYS) => self.walk(path, None, links),
            found => found,
        }
    }

    /// A descriptor of what is at `path`; if there is nothing, makes it, and the directories above it.
    pub fn find_or_make(&self, path: &Path, kind: Kind, links: Links) -> rustix::io::Result<OwnedFd> {
        match self.find(path, links) {
            Err(Errno::NOENT) => self.walk(path, Some(kind), links),
            found => found,
        }
    }

    /// Opens a file or device for use. The caller checks what it is.
    pub fn open_file(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        match self.openat2(path, flags, Links::InRoot) {
            Err(Errno::NOSYS) => {
                let place = self.walk(path, None, Links::InRoot)?;
                rustix::fs::open(by_descriptor(place.as_fd()), flags | OFlags::CLOEXEC, Mode::empty())
            }
            opened => opened,
        }
    }

    /// The text of a regular file; empty if there is none.
    pub fn read(&self, path: &Path) -> Result<String> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = match self.open_file(path, flags) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
            opened => opened.call("openat2")?,
        };
        let stat = rustix::fs::fstat(&fd).call("fstat")?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            anyhow::bail!("it is not a regular file");
        }
        let mut text = Vec::new();
        std::fs::File::from(fd).take(MAX_TEXT).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// What the first line of a script names (execve(2), "Interpreter scripts").
    pub fn interpreter(&self, path: &Path) -> Option<PathBuf> {
        let fd = self.open_file(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).ok()?;
        let mut first = [0u8; 256];
        let length = rustix::io::read(&fd, &mut first).ok()?;
        let line = first[..length].strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
        let name = line.split(|byte| matches!(byte, b' ' | b'\t')).find(|word| !word.is_empty())?;
        Some(PathBuf::from(OsStr::from_bytes(name)))
    }

    fn openat2(&self, path: &Path, flags: OFlags, links: Links) -> rustix::io::Result<OwnedFd> {
        let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        if links == Links::Refused {
            resolve |= ResolveFlags::NO_SYMLINKS;
        }
        let flags = flags | OFlags::CLOEXEC;
        for _ in 1..TRIES {
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                opened => return opened,
            }
        }
        rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve)
    }

    /// openat2 by hand: one component at a time, no link followed by the kernel, `..` never above the root.
    fn walk(&self, path: &Path, make: Option<Kind>, links: Links) -> rustix::io::Result<OwnedFd> {
        let mut below: Vec<OwnedFd> = Vec::new();
        let mut left = names(path);
        let mut followed = 0;
        while let Some(name) = left.pop_front() {
            if name == ".." {
                below.pop();
                continue;
            }
            let here = below.last().map_or(self.fd.as_fd(), AsFd::as_fd);
            let kind = if left.is_empty() { make } else { make.map(|_| Kind::Directory) };
            let next = open_or_make(here, &name, kind)?;
            match FileType::from_raw_mode(rustix::fs::fstat(&next)?.st_mode) {
                FileType::Symlink if links == Links::Refused || followed == MAX_LINKS => {
                    return Err(Errno::LOOP);
                }
                FileType::Symlink => {
                    followed += 1;
                    let target = rustix::fs::readlinkat(&next, c"", Vec::new())?.into_bytes();
                    if target.starts_with(b"/") {
                        below.clear();
                    }
                    let mut target = names(Path::new(OsStr::from_bytes(&target)));
                    target.append(&mut left);
                    left = target;
                }
                FileType::Directory => below.push(next),
                _ if left.is_empty() => return Ok(next),
                _ => return Err(Errno::NOTDIR),
            }
        }
        match below.pop() {
            Some(fd) => Ok(fd),
            None => rustix::io::fcntl_dupfd_cloexec(&self.fd, 0),
        }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir))
        .map(|component| component.as_os_str().to_owned())
        .collect()
}

fn open_or_make(here: BorrowedFd, name: &OsStr, kind: Option<Kind>) -> rustix::io::Result<OwnedFd> {
    let open = || {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(here, name, flags, Mode::empty())
    };
    match (open(), kind) {
        (Err(Errno::NOENT), Some(Kind::Directory)) => {
            rustix::fs::mkdirat(here, name, Mode::from_raw_mode(0o755))?;
            open()
        }
        (Err(Errno::NOENT), Some(Kind::File)) => {
            rustix::fs::mknodat(here, name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0)?;
            open()
        }
        (opened, _) => opened,
    }
}

/// A path by which the kernel finds exactly what the descriptor is of.
///
/// /proc is the host's: these paths are used before pivot_root only.
pub fn by_descriptor(fd: BorrowedFd) -> OsString {
    OsString::from_vec(format!("/proc/thread-self/fd/{}", fd.as_raw_fd()).into_bytes())
}

/// Whether the descriptor is of the device that every `/dev/null` is.
pub fn is_null_device(fd: BorrowedFd) -> bool {
    rustix::fs::statat(fd, c"", AtFlags::EMPTY_PATH).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev == rustix::fs::makedev(1, 3)
    })
}

/// statfs(2), PROC_SUPER_MAGIC.
pub const PROC: i64 = 0x9fa0;

/// The procfs at /proc, verified to be one. To be opened while that is the host's.
pub fn open_proc_fs() -> Result<OwnedFd> {
    let open = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = rustix::fs::open("/proc", flags, Mode::empty()).call("open")?;
        anyhow::ensure!(magic(proc.as_fd()).call("fstatfs")? == PROC, "it is not a procfs");
        Ok(proc)
    };
    open().context("cannot use /proc")
}

/// The file system's type, as statfs(2) numbers it.
pub fn magic(fd: BorrowedFd) -> rustix::io::Result<i64> {
    Ok(rustix::fs::fstatfs(fd)?.f_type)
}

/// The root of the mount namespace that this process is in.
pub fn current() -> rustix::io::Result<Root> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, c"/", flags, Mode::empty()).map(|fd| Root { fd })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Tree {
            let path = std::env::temp_dir().join(format!("nsrun-root-{name}-{}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Tree(path)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            stage::remove_tree(&self.0).unwrap();
        }
    }

    fn where_is(fd: &OwnedFd) -> PathBuf {
        std::fs::read_link(by_descriptor(fd.as_fd())).unwrap()
    }

    #[test]
    fn both_ways_stay_below_the_root() {
        let tree = Tree::new("both");
        std::fs::create_dir_all(tree.0.join("etc/deep")).unwrap();
        std::fs::write(tree.0.join("etc/passwd"), "mine").unwrap();
        symlink("/etc/passwd", tree.0.join("absolute")).unwrap();
        symlink("../../../../etc/passwd", tree.0.join("etc/deep/up")).unwrap();
        symlink("loop", tree.0.join("loop")).unwrap();
        let root = Root::open(&tree.0).unwrap();
        for path in ["/absolute", "etc/deep/up", "/../../etc/passwd", "etc/deep/../passwd"] {
            let path = Path::new(path);
            let walked = root.walk(path, None, Links::InRoot).unwrap();
            assert_eq!(where_is(&walked), tree.0.join("etc/passwd"));
            assert_eq!(where_is(&root.find(path, Links::InRoot).unwrap()), tree.0.join("etc/passwd"));
        }
        for (path, links, errno) in [
            ("absolute", Links::Refused, Errno::LOOP),
            ("loop", Links::InRoot, Errno::LOOP),
            ("nil/x", Links::InRoot, Errno::NOENT),
            ("etc/passwd/x", Links::InRoot, Errno::NOTDIR),
        ] {
            assert_eq!(root.find(Path::new(path), links).unwrap_err(), errno, "{path}");
            assert_eq!(root.walk(Path::new(path), None, links).unwrap_err(), errno, "{path}");
        }
    }

    #[test]
    fn what_a_link_points_to_is_made_inside() {
        let tree = Tree::new("make");
        std::fs::create_dir(tree.0.join("etc")).unwrap();
        symlink("../run/systemd/resolve/stub", tree.0.join("etc/resolv.conf")).unwrap();
        symlink("/outside/dir", tree.0.join("dir")).unwrap();
        let root = Root::open(&tree.0).unwrap();
        let file = root.find_or_make(Path::new("/etc/resolv.conf"), Kind::File, Links::InRoot).unwrap();
        assert_eq!(where_is(&file), tree.0.join("run/systemd/resolve/stub"));
        let dir = root.find_or_make(Path::new("/dir/x"), Kind::Directory, Links::InRoot).unwrap();
        assert_eq!(where_is(&dir), tree.0.join("outside/dir/x"));
        assert!(!Path::new("/outside").exists());
    }
}
