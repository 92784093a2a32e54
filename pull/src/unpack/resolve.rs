//! Directories below a root, however hostile their names: nothing leads out.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// How many symbolic links may be on the way, as for the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Opens the directory `path`, resolved inside `root`: no link leads out, not even an absolute one, and no mount is
/// entered.
pub fn open_inside(root: &OwnedFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            // A rename or a mount anywhere on the host, at the moment a `..` was resolved (openat2(2)).
            Err(Errno::AGAIN) => {}
            // KERNEL(5.6): there is no openat2(2), or a sandbox does not know it.
            Err(Errno::NOSYS) => return step_by_step(root, path, flags),
            opened => return opened,
        }
    }
}

/// The same, one element at a time. Nobody else may work in the directory meanwhile.
fn step_by_step(root: &OwnedFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let device = rustix::fs::fstat(root)?.st_dev;
    let mut way = vec![root.try_clone().map_err(|_error| Errno::MFILE)?];
    let mut left = elements(path);
    let mut links = 0;
    while let Some(element) = left.pop_front() {
        if element == b".." {
            // The root is its own parent.
            way.truncate(way.len().saturating_sub(1).max(1));
            continue;
        }
        let here = way.last().ok_or(Errno::NOENT)?;
        let found = rustix::fs::openat(
            here,
            element.as_slice(),
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let stat = rustix::fs::fstat(&found)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if stat.st_dev != device => return Err(Errno::XDEV),
            FileType::Directory => way.push(found),
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS || (left.is_empty() && flags.contains(OFlags::NOFOLLOW)) {
                    return Err(Errno::LOOP);
                }
                let target = rustix::fs::readlinkat(&found, b"".as_slice(), Vec::new())?.into_bytes();
                if target.starts_with(b"/") {
                    way.truncate(1);
                }
                let mut rest = elements(&target);
                rest.append(&mut left);
                left = rest;
            }
            _ => return Err(Errno::NOTDIR),
        }
    }
    rustix::fs::openat(way.last().ok_or(Errno::NOENT)?, b".".as_slice(), flags, Mode::empty())
}

fn elements(path: &[u8]) -> VecDeque<Vec<u8>> {
    let elements = path.split(|c| *c == b'/').filter(|element| !matches!(*element, b"" | b"."));
    elements.map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// What both ways find: the inode, or the error.
    fn both(root: &Path, path: &str) -> [Result<u64, Errno>; 2] {
        let fd = OwnedFd::from(std::fs::File::open(root).unwrap());
        let inode = |fd: OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
        let flags = OFlags::PATH;
        [
            open_inside(&fd, path.as_bytes(), flags).map(inode),
            step_by_step(&fd, path.as_bytes(), flags | OFlags::DIRECTORY | OFlags::CLOEXEC).map(inode),
        ]
    }

    #[test]
    fn both_ways_lead_to_the_same_place() {
        let root = std::env::temp_dir().join(format!("gocker-resolve-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a/b/c")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        for (target, name) in [
            ("a/b", "relative"),
            ("/a/b", "absolute"),
            ("../../../a", "up"),
            ("../up/b", "a/around"),
            ("/etc", "out"),
            ("loop", "loop"),
        ] {
            symlink(target, root.join(name)).unwrap();
        }
        let paths = [
            "a/b/c",
            "relative/c",
            "absolute/c",
            "up/b/c",
            "a/around/c",
            "..",
            "a/../..",
            "out",
            "loop",
            "loop/x",
            "none",
            "file",
            "file/x",
            "relative/none",
            "a/b/../../a/b",
            ".",
        ];
        for path in paths {
            let [one, other] = both(&root, path);
            assert_eq!(one, other, "{path}");
        }
        assert!(both(&root, "a/around/c")[0].is_ok() && both(&root, "out")[0].is_err());
        stage::remove_tree(&root).unwrap();
    }
}
