//! `rootfs:DIR` and `rootfs:FILE.tar`: a root file system that becomes an image of one layer.
//!
//! A directory goes through a tar stream: so its layer has a diffID, and the same tree is the same layer. It may be the
//! upper directory of an overlay: what that hides, the layer hides.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;
use tar::{Builder, EntryType, Header};

use super::base::Base;
use super::open;
use crate::blob::{Stream, Verified};
use crate::decompress;
use crate::digest::Hasher;
use crate::fetch::Blobs;
use crate::image::Image;
use crate::layer::{self, Rules, Unpacked};
use crate::manifest::{self, ACCEPTED, Descriptor};
use crate::platform::Platform;
use crate::report::Report;
use crate::store::Store;
use crate::unpack;

const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// Where the layer's blob would come from: nowhere, it was made on the way.
pub struct Made;

impl Blobs for Made {
    fn blob(&self, what: &Descriptor, _from: u64) -> Result<Stream> {
        bail!("{} has gone", what.digest)
    }

    fn has_layers(&self) -> bool {
        false
    }
}

/// Makes the layer; the image that has it on its base comes out. `platform` is what its programs are for.
pub fn image(
    store: &Store,
    path: &Path,
    (base, platform): (&Base, Option<&Platform>),
    (rules, report): (&Rules, &Report),
) -> Result<Image> {
    let meta = fs::metadata(path).with_context(|| format!("stat {}", path.display()))?;
    let platform = base.platform(platform)?;
    let unpack = |stream: Stream| {
        let blob = Verified::new(stream, None);
        store.new_layer(|directory| layer::unpack(blob, directory, rules, report))
    };
    if meta.is_dir() {
        // The same tree is the same tar stream: there is no need to keep it.
        let unpacked = unpack(Box::new(Tarring::start(path)?))?;
        let (digest, size) = (unpacked.diff_id.clone(), unpacked.length);
        let layer = Descriptor { media_type: LAYER_TYPE.to_owned(), digest, size };
        return of_layer(&unpacked, layer, base, &platform);
    }
    let copy = Copy::of(open(path)?, store)?;
    let unpacked = unpack(Box::new(copy.clone()))?;
    of_layer(&unpacked, copy.keep(store)?, base, &platform)
}

fn of_layer(unpacked: &Unpacked, layer: Descriptor, base: &Base, platform: &Platform) -> Result<Image> {
    let mut layers = base.layers();
    layers.push(layer);
    let bytes = serde_json::to_vec(&base.config(platform, &unpacked.diff_id)?)?;
    let parsed = manifest::config(&bytes, layers.len())?;
    let config = Descriptor::of(CONFIG_TYPE, &bytes);
    let text = serde_json::to_vec(
        &json!({"schemaVersion": 2, "mediaType": ACCEPTED[2], "config": config, "layers": layers}),
    )?;
    Ok(Image::new((Descriptor::of(ACCEPTED[2], &text), text), (config, bytes), layers, parsed))
}

/// A file that is copied while it is read; it may be a pipe. The copy gets its name, which is its digest, at the end.
#[derive(Clone)]
struct Copy {
    inner: Arc<Mutex<Copying>>,
}

struct Copying {
    from: File,
    to: File,
    hasher: Hasher,
    length: u64,
    magic: Vec<u8>,
}

impl Copy {
    fn of(from: File, store: &Store) -> Result<Copy> {
        let to = store.nameless()?;
        let copying = Copying { from, to, hasher: Hasher::default(), length: 0, magic: Vec::new() };
        Ok(Copy { inner: Arc::new(Mutex::new(copying)) })
    }

    /// Puts it among the blobs.
    fn keep(self, store: &Store) -> Result<Descriptor> {
        let mut copying = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let suffix = match decompress::Kind::of(&copying.magic) {
            decompress::Kind::Plain => "",
            decompress::Kind::Gzip => "+gzip",
            decompress::Kind::Zstd => "+zstd",
        };
        let digest = std::mem::take(&mut copying.hasher).finish();
        store.name_blob(&copying.to, &digest)?;
        Ok(Descriptor { media_type: format!("{LAYER_TYPE}{suffix}"), digest, size: copying.length })
    }
}

impl Read for Copy {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut copying = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let n = copying.from.read(buffer)?;
        copying.to.write_all(&buffer[..n])?;
        copying.hasher.update(&buffer[..n]);
        copying.length += n as u64;
        let missing = 4usize.saturating_sub(copying.magic.len()).min(n);
        copying.magic.extend_from_slice(&buffer[..missing]);
        Ok(n)
    }
}

/// The tar stream of a directory, written by a thread of its own.
pub struct Tarring {
    pipe: PipeReader,
    writer: Option<JoinHandle<Result<()>>>,
}

impl Tarring {
    pub fn start(dir: &Path) -> Result<Tarring> {
        let (pipe, write) = io::pipe().context("pipe")?;
        let dir = dir.to_owned();
        let writer = std::thread::Builder::new().name("tar".to_owned()).spawn(move || {
            let mut tree = Tree::new(dir, write)?;
            tree.add_directory(Path::new(""))?;
            tree.builder.into_inner()?.flush().context("write")
        })?;
        Ok(Tarring { pipe, writer: Some(writer) })
    }
}

impl Read for Tarring {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.pipe.read(buffer)?;
        if n == 0
            && !buffer.is_empty()
            && let Some(writer) = self.writer.take()
        {
            let written = writer.join().unwrap_or_else(|_panic| Err(anyhow!("a thread panicked")));
            written.map_err(|error| io::Error::other(format!("{error:#}")))?;
        }
        Ok(n)
    }
}

struct Tree {
    dir: PathBuf,
    device: u64,
    builder: Builder<PipeWriter>,
    /// Files of several names, by inode: the first name that was written.
    linked: HashMap<u64, PathBuf>,
}

impl Tree {
    fn new(dir: PathBuf, write: PipeWriter) -> Result<Tree> {
        let device = fs::metadata(&dir)?.dev();
        let mut builder = Builder::new(write);
        builder.sparse(false);
        Ok(Tree { dir, device, builder, linked: HashMap::new() })
    }

    /// The directory itself and what is in it, in the order of names. Mount points stay empty.
    fn add_directory(&mut self, path: &Path) -> Result<()> {
        let full = self.dir.join(path);
        let meta =
            fs::symlink_metadata(if path.as_os_str().is_empty() { full.join(".") } else { full.clone() })?;
        self.add(path, &meta)?;
        if meta.dev() != self.device {
            return Ok(());
        }
        if unpack::is_opaque(&full)? {
            self.hide(&path.join(".wh..wh..opq"))?;
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&full).with_context(|| format!("cannot list {}", full.display()))? {
            names.push(entry?.file_name());
        }
        names.sort_unstable();
        for name in names {
            if name.as_bytes().starts_with(b".wh.") {
                bail!(
                    "cannot add {}: in a layer, a name that begins with .wh. hides another",
                    full.join(name).display()
                );
            }
            let path = path.join(name);
            let meta = fs::symlink_metadata(self.dir.join(&path))?;
            if meta.is_dir() {
                self.add_directory(&path)?;
            } else if meta.file_type().is_char_device() && meta.rdev() == 0 {
                self.hide(&whiteout(&path))?;
            } else {
                self.add(&path, &meta)?;
            }
        }
        Ok(())
    }

    /// What overlayfs has as a device 0/0, or as an attribute of the directory, is a name in a layer (OCI image-spec,
    /// layer.md). Nothing but the name means anything, so the same tree is the same stream.
    fn hide(&mut self, path: &Path) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(0);
        header.set_mode(0);
        Ok(self.builder.append_data(&mut header, Path::new("./").join(path), io::empty())?)
    }

    fn add(&mut self, path: &Path, meta: &Metadata) -> Result<()> {
        // A socket has no meaning without the process that listens on it; tar(1) leaves it out, too.
        if meta.file_type().is_socket() {
            return Ok(());
        }
        self.append(path, meta).with_context(|| format!("cannot read {}", self.dir.join(path).display()))
    }

    fn append(&mut self, path: &Path, meta: &Metadata) -> Result<()> {
        let full = self.dir.join(path);
        let name = Path::new("./").join(path);
        let link = match self.linked.get(&meta.ino()) {
            Some(first) if meta.nlink() > 1 && !meta.is_dir() => Some(first.clone()),
            _ => None,
        };
        let mut header = header(meta)?;
        if let Some(first) = link {
            header.set_entry_type(EntryType::Link);
            return Ok(self.builder.append_link(&mut header, name, first)?);
        }
        if meta.nlink() > 1 && !meta.is_dir() {
            self.linked.insert(meta.ino(), name.clone());
        }
        self.extensions(&full, meta)?;
        if meta.is_symlink() {
            return Ok(self.builder.append_link(&mut header, name, fs::read_link(&full)?)?);
        }
        if meta.is_file() {
            header.set_size(meta.len());
            // A file that grows meanwhile must not put the entries behind it out of place.
            return Ok(self.builder.append_data(&mut header, name, File::open(&full)?.take(meta.len()))?);
        }
        Ok(self.builder.append_data(&mut header, name, io::empty())?)
    }

    /// What a header has no room for: the fraction of a second, large numbers, extended attributes.
    fn extensions(&mut self, full: &Path, meta: &Metadata) -> Result<()> {
        let mut records: Vec<(String, Vec<u8>)> = Vec::new();
        if meta.mtime_nsec() != 0 || meta.mtime() < 0 {
            records.push(("mtime".to_owned(), decimal(meta.mtime(), meta.mtime_nsec()).into_bytes()));
        }
        for name in xattr_names(full)? {
            let text = name.to_str().context("an extended attribute's name is not UTF-8")?;
            // The kernel's own notes on a writable layer.
            if text.starts_with("trusted.overlay.") {
                continue;
            }
            let value = xattr_value(full, text).with_context(|| format!("getxattr {text}"))?;
            records.push((format!("SCHILY.xattr.{text}"), value));
        }
        if records.is_empty() {
            return Ok(());
        }
        let records = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        Ok(self.builder.append_pax_extensions(records)?)
    }
}

/// The name that hides `path` in a layer.
fn whiteout(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".wh.");
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

fn header(meta: &Metadata) -> Result<Header> {
    let mut header = Header::new_gnu();
    header.set_mode(meta.mode() & 0o7777);
    header.set_uid(u64::from(meta.uid()));
    header.set_gid(u64::from(meta.gid()));
    header.set_mtime(meta.mtime().try_into().unwrap_or(0));
    header.set_size(0);
    let kind = meta.file_type();
    header.set_entry_type(match () {
        () if kind.is_dir() => EntryType::Directory,
        () if kind.is_symlink() => EntryType::Symlink,
        () if kind.is_char_device() => EntryType::Char,
        () if kind.is_block_device() => EntryType::Block,
        () if kind.is_fifo() => EntryType::Fifo,
        () => EntryType::Regular,
    });
    if kind.is_char_device() || kind.is_block_device() {
        header.set_device_major(rustix::fs::major(meta.rdev()))?;
        header.set_device_minor(rustix::fs::minor(meta.rdev()))?;
    }
    Ok(header)
}

/// Seconds as PAX writes them.
fn decimal(seconds: i64, nanoseconds: i64) -> String {
    if seconds >= 0 || nanoseconds == 0 {
        return format!("{seconds}.{nanoseconds:09}");
    }
    format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds)
}

fn xattr_names(path: &Path) -> Result<Vec<std::ffi::CString>> {
    let mut list = vec![0u8; 64 << 10];
    let length = match rustix::fs::llistxattr(path, &mut list) {
        // A file system without any.
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        listed => listed.context("listxattr")?,
    };
    list.truncate(length);
    list.split(|c| *c == 0)
        .filter(|name| !name.is_empty())
        .map(|name| Ok(std::ffi::CString::new(name)?))
        .collect()
}

fn xattr_value(path: &Path, name: &str) -> Result<Vec<u8>> {
    let mut value = vec![0u8; 64 << 10];
    let length = rustix::fs::lgetxattr(path, name, &mut value)?;
    value.truncate(length);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_decimal_on_both_sides_of_1970() {
        assert_eq!(decimal(5, 250_000_000), "5.250000000");
        assert_eq!(decimal(-2, 750_000_000), "-1.250000000");
        assert_eq!(decimal(-3, 0), "-3.000000000");
    }
}
