//! Where an entry goes: its parent directory, opened, and its name there.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::metadata::LateDirectory;
use super::resolve::open_inside;
use super::{Unpacker, path, whiteout};

/// An opened directory of the layer.
#[derive(Clone)]
pub struct Parent {
    path: Vec<u8>,
    pub fd: Rc<OwnedFd>,
    /// What is made in it gets its group.
    pub setgid: bool,
}

/// A name in a directory of the layer.
pub struct Place<'a> {
    pub parent: &'a Parent,
    /// From the layer's root.
    pub path: &'a [u8],
    pub name: &'a [u8],
}

impl Place<'_> {
    /// What stands there, itself (no link is followed).
    pub fn stat(&self) -> Result<Stat> {
        rustix::fs::statat(&self.parent.fd, self.name, AtFlags::SYMLINK_NOFOLLOW).context("stat")
    }

    /// Whether it is the same inode as another name.
    pub fn is_same_as(&self, directory: &OwnedFd, name: &[u8]) -> Result<bool> {
        let ours = self.stat()?;
        let Ok(theirs) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
            return Ok(false);
        };
        Ok((ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino))
    }

    /// Removes what stands there, with everything below.
    pub fn remove(&self) -> Result<()> {
        stage::remove_tree(&through_proc(&self.parent.fd, self.name))
    }
}

/// The path of a name in an opened directory, for calls that take no descriptor.
pub fn through_proc(directory: &impl AsFd, name: &[u8]) -> PathBuf {
    let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name);
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd())).join(name)
}

impl Unpacker {
    /// The directory `path`, made if it is not there.
    pub fn parent(&mut self, path: &[u8]) -> Result<Parent> {
        if let Some(parent) = &self.parent
            && parent.path == path
        {
            return Ok(parent.clone());
        }
        let fd = match self.open_parent(path) {
            Err(Errno::NOENT | Errno::NOTDIR) => self.make_parents(path)?,
            opened => opened.context("open its directory")?,
        };
        let setgid = rustix::fs::fstat(&fd).context("stat")?.st_mode & Mode::SGID.as_raw_mode() != 0;
        let parent = Parent { path: path.to_vec(), fd: Rc::new(fd), setgid };
        self.parent = Some(parent.clone());
        Ok(parent)
    }

    /// The directory `path` of the layer.
    pub fn open_parent(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        open_inside(&self.root, path, OFlags::PATH)
    }

    /// Makes the directories on the way that no entry has announced.
    fn make_parents(&mut self, path: &[u8]) -> Result<OwnedFd> {
        let ends = path.iter().enumerate().filter(|(_, c)| **c == b'/').map(|(at, _)| at).chain([path.len()]);
        let mut fd = self.open_parent(b"").context("open the layer's directory")?;
        for end in ends {
            let part = &path[..end];
            let name = path::split(part).map_or(part, |split| split.name);
            match rustix::fs::mkdirat(&fd, name, Mode::from_raw_mode(0o755)) {
                Err(Errno::EXIST) => self.uncover(&fd, part, name)?,
                Ok(()) => self.unsaid(part),
                made => made.context("mkdir")?,
            }
            fd = self.open_parent(part).with_context(|| format!("open {}", super::shown(part)))?;
        }
        Ok(fd)
    }

    fn unsaid(&mut self, path: &[u8]) {
        self.late.insert(path.to_vec(), LateDirectory::unsaid());
    }

    /// An entry below a name that this layer hides: the directory is a new one, with nothing of the layers below.
    fn uncover(&mut self, directory: &OwnedFd, path: &[u8], name: &[u8]) -> Result<()> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).context("stat")?;
        if !whiteout::is(&stat) {
            return Ok(());
        }
        let parent = Parent { path: Vec::new(), fd: Rc::new(directory.try_clone()?), setgid: false };
        self.remove(&Place { parent: &parent, path, name })?;
        rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o755)).context("mkdir")?;
        self.unsaid(path);
        whiteout::make_opaque_at(directory, name)
    }
}
