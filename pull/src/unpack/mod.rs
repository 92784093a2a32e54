//! Unpacks a layer's entries below a directory, and nowhere else.
//!
//! Every name is resolved inside the directory by the kernel (openat2(2), RESOLVE_IN_ROOT; see resolve.rs): a layer may hold a
//! symbolic link to `/etc` and then an entry that goes through it. Nobody else works in the directory meanwhile.

mod metadata;
mod path;
mod place;
mod resolve;
mod whiteout;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use stage::Explain;

use crate::tarball::{Entry, Kind, Segment};
use metadata::LateDirectory;
use path::Split;
use place::{Parent, Place};
use whiteout::Whiteout;
pub use whiteout::is_opaque;

/// Whether a layer may have device nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Devices {
    Made,
    Refused,
}

/// A layer that is being unpacked.
pub struct Unpacker {
    root: OwnedFd,
    devices: Devices,
    parent: Option<Parent>,
    /// Directories whose times are set once nothing is made in them any more.
    late: BTreeMap<Vec<u8>, LateDirectory>,
    bytes: u64,
}

impl Unpacker {
    /// Into `directory`, which is there, empty and nobody else's.
    pub fn new(directory: &Path, devices: Devices) -> Result<Unpacker> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(directory, flags, Mode::empty())
            .with_context(|| format!("cannot unpack into {}: open", directory.display()))?;
        let late = BTreeMap::from([(Vec::new(), LateDirectory::unsaid())]);
        Ok(Unpacker { root, devices, parent: None, late, bytes: 0 })
    }

    /// Makes what the entry says; `body` is its content.
    pub fn add(&mut self, entry: &Entry, body: impl BufRead) -> Result<()> {
        self.place(entry, body).with_context(|| format!("cannot unpack {}", shown(&entry.path)))
    }

    /// Sets the times of the directories. The size of all files, in bytes, comes out.
    pub fn finish(mut self) -> Result<u64> {
        self.parent = None;
        for (path, late) in &self.late {
            late.apply(&self.root, path).with_context(|| format!("cannot unpack {}", shown(path)))?;
        }
        Ok(self.bytes)
    }

    fn place(&mut self, entry: &Entry, body: impl BufRead) -> Result<()> {
        let path = path::inside(&entry.path)?;
        let Some(Split { parent, name }) = path::split(&path) else {
            return self.root_directory(entry);
        };
        let whiteout = whiteout::parse(name)?;
        let parent = self.parent(parent)?;
        match whiteout {
            Some(Whiteout::Opaque) => whiteout::make_opaque(&parent.fd),
            Some(Whiteout::Ignored) => Ok(()),
            Some(Whiteout::Of(hidden)) => {
                let path = [&path[..path.len() - name.len()], hidden].concat();
                self.hide(&parent, &path, hidden)
            }
            None => self.make(entry, &Place { parent: &parent, path: &path, name }, body),
        }
    }

    fn root_directory(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            bail!("the root of a layer is a directory");
        }
        let root = self.root.try_clone()?;
        metadata::of_directory(&root, c".".to_bytes(), entry)?;
        self.late.insert(Vec::new(), LateDirectory::of(entry));
        Ok(())
    }

    fn make(&mut self, entry: &Entry, place: &Place, body: impl BufRead) -> Result<()> {
        match &entry.kind {
            Kind::File => self.file(entry, place, body),
            Kind::Directory => self.directory(entry, place),
            Kind::Hardlink(target) => self.hard_link(target, place),
            Kind::Symlink(target) => {
                self.create(place, "symlink", |at| {
                    rustix::fs::symlinkat(target.as_slice(), &at.parent.fd, at.name)
                })?;
                metadata::of_symlink(&place.parent.fd, place.name, entry)
            }
            Kind::CharDevice(..) | Kind::BlockDevice(..) if self.devices == Devices::Refused => {
                bail!("a device node")
            }
            Kind::CharDevice(major, minor) => {
                self.node(entry, place, FileType::CharacterDevice, (*major, *minor))
            }
            Kind::BlockDevice(major, minor) => {
                self.node(entry, place, FileType::BlockDevice, (*major, *minor))
            }
            Kind::Fifo => self.node(entry, place, FileType::Fifo, (0, 0)),
        }
    }

    fn file(&mut self, entry: &Entry, place: &Place, body: impl BufRead) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Without the bits above 0777: a later write or chown would clear them.
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let fd = self.create(place, "open", |at| rustix::fs::openat(&at.parent.fd, at.name, flags, mode))?;
        let file = std::fs::File::from(fd);
        write(&file, entry, body)?;
        self.bytes = self.bytes.saturating_add(entry.size);
        metadata::of_file(&file, entry, place.parent)
    }

    fn directory(&mut self, entry: &Entry, place: &Place) -> Result<()> {
        let mode = Mode::from_raw_mode(entry.mode);
        let made = rustix::fs::mkdirat(&place.parent.fd, place.name, mode);
        match made {
            Err(Errno::EXIST) if self.stands(place)? => {}
            Err(Errno::EXIST) => self.replace_by_directory(place, mode)?,
            made => made.context("mkdir")?,
        }
        metadata::of_directory(&place.parent.fd, place.name, entry)?;
        self.late.insert(place.path.to_vec(), LateDirectory::of(entry));
        Ok(())
    }

    /// Whether there is a directory already: it stays, with what is in it.
    fn stands(&self, place: &Place) -> Result<bool> {
        Ok(FileType::from_raw_mode(place.stat()?.st_mode) == FileType::Directory)
    }

    fn replace_by_directory(&mut self, place: &Place, mode: Mode) -> Result<()> {
        let hidden = whiteout::is(&place.stat()?);
        self.remove(place)?;
        rustix::fs::mkdirat(&place.parent.fd, place.name, mode).context("mkdir")?;
        if hidden {
            whiteout::make_opaque_at(&place.parent.fd, place.name)?;
        }
        Ok(())
    }

    fn hard_link(&mut self, target: &[u8], place: &Place) -> Result<()> {
        let target = path::inside(target)?;
        let Some(Split { parent, name }) = path::split(&target) else { bail!("a hard link to the root") };
        let context = || format!("hard link to {}", shown(&target));
        let from = self.open_parent(parent).with_context(context)?;
        let link = |at: &Place| rustix::fs::linkat(&from, name, &at.parent.fd, at.name, AtFlags::empty());
        match link(place) {
            Err(Errno::EXIST) if place.is_same_as(&from, name)? => Ok(()),
            Err(Errno::EXIST) => {
                self.remove(place)?;
                link(place).with_context(context)
            }
            made => made.with_context(context),
        }
    }

    fn node(&mut self, entry: &Entry, place: &Place, kind: FileType, number: (u32, u32)) -> Result<()> {
        let device = rustix::fs::makedev(number.0, number.1);
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let made =
            self.create(place, "mknod", |at| rustix::fs::mknodat(&at.parent.fd, at.name, kind, mode, device));
        if made.as_ref().is_err_and(|error| error.downcast_ref() == Some(&Errno::PERM)) {
            return made.hint("device nodes can be made by root alone, outside of user namespaces");
        }
        made?;
        metadata::of_node(&place.parent.fd, place.name, entry)
    }

    /// A whiteout for `name`. What this layer itself has there stays: whiteouts are about the layers below.
    fn hide(&mut self, parent: &Parent, path: &[u8], name: &[u8]) -> Result<()> {
        let place = Place { parent, path, name };
        match whiteout::make(&parent.fd, name) {
            Err(Errno::EXIST) if self.stands(&place)? => whiteout::make_opaque_at(&parent.fd, name),
            Err(Errno::EXIST) => Ok(()),
            made => made.context("mknod"),
        }
    }

    /// Creates something; what stands in its place goes.
    fn create<T>(
        &mut self,
        place: &Place,
        call: &'static str,
        make: impl Fn(&Place) -> rustix::io::Result<T>,
    ) -> Result<T> {
        match make(place) {
            Err(Errno::EXIST) => {
                self.remove(place)?;
                make(place).context(call)
            }
            made => made.context(call),
        }
    }

    fn remove(&mut self, place: &Place) -> Result<()> {
        place.remove()?;
        // What is remembered of the removed tree is no longer true.
        self.parent = None;
        let below = [place.path, b"/"].concat();
        self.late.retain(|path, _| path != place.path && !path.starts_with(&below));
        Ok(())
    }
}

fn write(file: &std::fs::File, entry: &Entry, mut body: impl BufRead) -> Result<()> {
    let whole = [Segment { offset: 0, length: entry.size }];
    for segment in entry.sparse.as_deref().unwrap_or(&whole) {
        let (mut at, end) = (segment.offset, segment.offset + segment.length);
        while at < end {
            let bytes = body.fill_buf()?;
            let n = bytes.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            if n == 0 {
                bail!("malformed tar: it ends inside an entry");
            }
            std::os::unix::fs::FileExt::write_all_at(file, &bytes[..n], at).context("write")?;
            body.consume(n);
            at += n as u64;
        }
    }
    if entry.sparse.is_some() {
        file.set_len(entry.size).context("ftruncate")?;
    }
    Ok(())
}

/// A name from a layer, for a message: it may hold anything.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(200).map(|c| if c.is_control() { '?' } else { c }).collect()
}
