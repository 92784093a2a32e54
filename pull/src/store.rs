//! Where things are on disk, and how layers get there.
//!
//!     ROOT/pull/lock                    held while names, records and layers change; never while something is fetched
//!     ROOT/pull/layers/sha256/HEX/      one unpacked layer, by diffID; there by rename, when it is whole
//!     ROOT/pull/layers/sha256/.X.partial  one that is being made or removed, by whoever holds locks/X.lock
//!     ROOT/pull/sizes/HEX               the size of all files in the layer, and the length of its tar stream
//!     ROOT/pull/images/HEX.json         one image, by the digest of its configuration (image.rs)
//!     ROOT/pull/names/...               a symbolic link for each reference, to its image
//!     ROOT/pull/blobs/sha256/HEX        manifests, configurations and layers, as they came
//!     ROOT/pull/partial/HEX             a blob that is being fetched, by whoever holds locks/blob-HEX.lock, or was

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use stage::{Durability, Id, Lock, make_private_dir, remove_tree, replace_file};

use crate::digest::Digest;
use crate::interrupt;
use crate::layer::Unpacked;
use crate::manifest::Descriptor;

/// How often a lock that somebody else has is tried again: in between it is looked whether to end.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// The directory that pull keeps everything in.
#[derive(Clone)]
pub struct Store {
    dir: PathBuf,
}

/// Whether a layer had to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    Now,
    Before,
}

impl Store {
    /// In this directory, which need not be there.
    pub fn new(dir: PathBuf) -> Store {
        Store { dir }
    }

    /// All of it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of a layer.
    pub fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex())
    }

    /// The directory of the images' records.
    pub fn images(&self) -> PathBuf {
        self.dir.join("images")
    }

    /// The directory of the names.
    pub fn names(&self) -> PathBuf {
        self.dir.join("names")
    }

    fn layers(&self) -> PathBuf {
        self.dir.join("layers/sha256")
    }

    fn partial(&self, name: &str) -> PathBuf {
        self.layers().join(format!(".{name}.partial"))
    }

    fn lock_of(&self, name: &str) -> PathBuf {
        self.dir.join("locks").join(format!("{name}.lock"))
    }

    fn size_file(&self, diff_id: &Digest) -> PathBuf {
        self.dir.join("sizes").join(diff_id.hex())
    }

    /// The directory of manifests and configurations.
    pub fn blobs(&self) -> PathBuf {
        self.dir.join("blobs/sha256")
    }

    /// A manifest or a configuration, verbatim.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// What has come of a blob so far.
    pub fn partial_blob(&self, digest: &Digest) -> PathBuf {
        self.partial_blobs().join(digest.hex())
    }

    /// The directory of blobs that are not whole.
    pub fn partial_blobs(&self) -> PathBuf {
        self.dir.join("partial")
    }

    /// A file on the store's file system that is gone when it is closed, unless it gets a name.
    pub fn nameless(&self) -> Result<File> {
        let dir = self.partial_blobs();
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let made = rustix::fs::open(&dir, flags, Mode::from_raw_mode(0o600));
        Ok(File::from(made.with_context(|| format!("cannot write below {}: open", dir.display()))?))
    }

    /// Makes such a file a blob.
    pub fn name_blob(&self, file: &File, digest: &Digest) -> Result<()> {
        let path = self.blob(digest);
        let from = format!("/proc/self/fd/{}", file.as_raw_fd());
        match rustix::fs::linkat(CWD, from.as_str(), CWD, &path, AtFlags::SYMLINK_FOLLOW) {
            Err(Errno::EXIST) => Ok(()),
            linked => linked.with_context(|| format!("cannot make {}: linkat", path.display())),
        }
    }

    /// A manifest or a configuration: the one that is here, if it is right, else what `fetch` brings.
    pub fn small_blob(&self, what: &Descriptor, fetch: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        let (lock, path) = (self.lock_blob(&what.digest)?, self.blob(&what.digest));
        let bytes = match std::fs::read(&path) {
            Ok(bytes) if Digest::of(&bytes) == what.digest && bytes.len() as u64 == what.size => Ok(bytes),
            _ => fetch().and_then(|bytes| {
                replace_file(&path, &bytes, Durability::UntilReboot)?;
                Ok(bytes)
            }),
        };
        let removed = lock.remove();
        bytes.and_then(|bytes| removed.map(|()| bytes))
    }

    /// The right to fetch a blob.
    pub fn lock_blob(&self, digest: &Digest) -> Result<Lock> {
        wait_for(&self.lock_of(&format!("blob-{}", digest.hex())))
    }

    /// The same, or `None` if somebody fetches it now.
    pub fn try_lock_blob(&self, digest: &Digest) -> Result<Option<Lock>> {
        Lock::try_take(&self.lock_of(&format!("blob-{}", digest.hex())))
    }

    /// Makes the directories, and removes what killed pulls have left.
    pub fn prepare(&self) -> Result<()> {
        // From here on what is made has the mode that it is made with.
        nix::sys::stat::umask(nix::sys::stat::Mode::empty());
        for dir in ["layers/sha256", "locks", "sizes", "images", "names", "blobs/sha256", "partial"] {
            make_private_dir(&self.dir.join(dir))?;
        }
        self.sweep()
    }

    /// The lock on names, records and which layers there are.
    pub fn lock(&self) -> Result<Lock> {
        Lock::take(&self.lock_file())
    }

    fn lock_file(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// To be held from before the first layer is there until the image is stored: [`Store::is_busy`] then.
    pub fn announce(&self) -> Result<Lock> {
        wait_for(&self.lock_of(&format!("pull-{}", Id::mint()?.short())))
    }

    /// Whether a pull is going on, whose layers no image has yet.
    pub fn is_busy(&self) -> Result<bool> {
        for file in listing(&self.dir.join("locks"))? {
            if file.starts_with("pull-") && Lock::try_take(&self.dir.join("locks").join(file))?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn sweep(&self) -> Result<()> {
        for file in listing(&self.dir.join("locks"))? {
            let Some(name) = file.strip_suffix(".lock") else { continue };
            // Whoever still works under it has it.
            if let Some(lock) = Lock::try_take(&self.lock_of(name))? {
                remove_tree(&self.partial(name))?;
                self.remove_temporary_sizes(name)?;
                lock.remove()?;
            }
        }
        match Lock::try_take(&self.lock_file())? {
            Some(_lock) => self.remove_temporary(),
            None => Ok(()),
        }
    }

    /// Removes what a killed pull was about to put in the place of a layer's size. With the layer's lock held.
    fn remove_temporary_sizes(&self, name: &str) -> Result<()> {
        let dir = self.dir.join("sizes");
        let of_layer = |file: &&String| file.starts_with(name) && file.ends_with(".tmp");
        listing(&dir)?.iter().filter(of_layer).try_for_each(|file| remove_file(&dir.join(file)))
    }

    /// The layer `diff_id`, made by `unpack` unless it is there. Of several processes one makes it, the others wait.
    ///
    /// # Errors
    /// It cannot be made, or what was made is another layer. Nothing is left of it then.
    pub fn ensure_layer(
        &self,
        diff_id: &Digest,
        unpack: impl FnOnce(&Path) -> Result<Unpacked>,
    ) -> Result<Made> {
        if self.layer(diff_id).exists() {
            return Ok(Made::Before);
        }
        let lock = wait_for(&self.lock_of(diff_id.hex()))?;
        if self.layer(diff_id).exists() {
            lock.remove()?;
            return Ok(Made::Before);
        }
        let partial = self.partial(diff_id.hex());
        let made = self.fill(&partial, unpack).and_then(|unpacked| {
            if unpacked.diff_id != *diff_id {
                bail!("diffID mismatch: content is {}, not {diff_id}", unpacked.diff_id);
            }
            self.publish(&partial, &unpacked)
        });
        settle(made, &partial, lock)?;
        Ok(Made::Now)
    }

    /// A layer whose diffID is known only when it is made.
    pub fn new_layer(&self, unpack: impl FnOnce(&Path) -> Result<Unpacked>) -> Result<Unpacked> {
        let name = format!("new-{}", Id::mint()?.short());
        let lock = wait_for(&self.lock_of(&name))?;
        let partial = self.partial(&name);
        let made = self.fill(&partial, unpack).and_then(|unpacked| {
            let own = wait_for(&self.lock_of(unpacked.diff_id.hex()))?;
            if !self.layer(&unpacked.diff_id).exists() {
                self.publish(&partial, &unpacked)?;
            }
            own.remove()?;
            Ok(unpacked)
        });
        let unpacked = settle(made, &partial, lock)?;
        Ok(unpacked)
    }

    /// Makes the layer once more, in a place of its own, and looks at it there.
    pub fn rehearse<T>(&self, diff_id: &Digest, look: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let lock = wait_for(&self.lock_of(diff_id.hex()))?;
        let partial = self.partial(diff_id.hex());
        let seen = new_directory(&partial).and_then(|()| look(&partial));
        settle(seen, &partial, lock)
    }

    /// Makes a layer, and puts it in the place of the one that is there.
    pub fn replace_layer(
        &self,
        diff_id: &Digest,
        unpack: impl FnOnce(&Path) -> Result<Unpacked>,
    ) -> Result<()> {
        let lock = wait_for(&self.lock_of(diff_id.hex()))?;
        let partial = self.partial(diff_id.hex());
        let made = self.fill(&partial, unpack).and_then(|unpacked| {
            let layer = self.layer(diff_id);
            if layer.exists() {
                to_disk(&partial)?;
                // One step: nobody finds no layer, and what was there is then removed as what is half done.
                rustix::fs::renameat_with(CWD, &partial, CWD, &layer, RenameFlags::EXCHANGE)
                    .with_context(|| format!("cannot replace {}: renameat2", layer.display()))
            } else {
                self.publish(&partial, &unpacked)
            }
        });
        settle(made, &partial, lock)
    }

    fn fill(&self, partial: &Path, unpack: impl FnOnce(&Path) -> Result<Unpacked>) -> Result<Unpacked> {
        new_directory(partial)?;
        unpack(partial)
    }

    fn publish(&self, partial: &Path, unpacked: &Unpacked) -> Result<()> {
        to_disk(partial)?;
        let size = format!("{} {}", unpacked.size, unpacked.length);
        replace_file(&self.size_file(&unpacked.diff_id), size.as_bytes(), Durability::UntilReboot)?;
        let layer = self.layer(&unpacked.diff_id);
        std::fs::rename(partial, &layer).with_context(|| format!("cannot make {}: rename", layer.display()))
    }

    /// The size of all files in a layer, in bytes.
    pub fn layer_size(&self, diff_id: &Digest) -> Option<u64> {
        self.size_word(diff_id, 0)
    }

    /// The length of a layer's tar stream, in bytes; earlier versions did not keep it.
    pub fn layer_length(&self, diff_id: &Digest) -> Option<u64> {
        self.size_word(diff_id, 1)
    }

    fn size_word(&self, diff_id: &Digest, n: usize) -> Option<u64> {
        std::fs::read_to_string(self.size_file(diff_id)).ok()?.split(' ').nth(n)?.parse().ok()
    }

    /// Every layer that there is.
    pub fn all_layers(&self) -> Result<Vec<Digest>> {
        Ok(listing(&self.layers())?.iter().filter_map(|name| Digest::from_hex(name).ok()).collect())
    }

    /// Every whole blob that there is.
    pub fn all_blobs(&self) -> Result<Vec<Digest>> {
        Ok(listing(&self.blobs())?.iter().filter_map(|name| Digest::from_hex(name).ok()).collect())
    }

    /// Takes a layer away from where it is found: it is gone for everybody but whoever removes it. To be called with
    /// the store's lock held.
    pub fn retire(&self, diff_id: &Digest) -> Result<Retired> {
        let lock = Lock::take(&self.lock_of(diff_id.hex()))?;
        let (layer, partial) = (self.layer(diff_id), self.partial(diff_id.hex()));
        remove_tree(&partial)?;
        match std::fs::rename(&layer, &partial) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}: rename", layer.display()));
            }
            _ => {}
        }
        remove_file(&self.size_file(diff_id))?;
        Ok(Retired { partial, lock })
    }
}

/// A layer that nobody finds any more. If this process ends before it is removed, the next pull does it.
pub struct Retired {
    partial: PathBuf,
    lock: Lock,
}

impl Retired {
    /// Removes it.
    pub fn remove(self) -> Result<()> {
        remove_tree(&self.partial)?;
        self.lock.remove()
    }
}

/// After a power failure a directory that is there must be whole.
fn to_disk(partial: &Path) -> Result<()> {
    let directory = File::open(partial)?;
    rustix::fs::syncfs(&directory).with_context(|| format!("cannot write {}: syncfs", partial.display()))
}

/// An empty directory for a layer, whatever was there before.
fn new_directory(path: &Path) -> Result<()> {
    remove_tree(path)?;
    // A layer need not say anything of its root: this is what docker gives it.
    let made = std::fs::DirBuilder::new().mode(0o755).create(path);
    made.with_context(|| format!("cannot make directory {}: mkdir", path.display()))
}

/// Removes what was being made if that failed, then gives up its lock.
fn settle<T>(made: Result<T>, partial: &Path, lock: Lock) -> Result<T> {
    let removed = remove_tree(partial).and_then(|()| lock.remove());
    match (made, removed) {
        (Ok(made), removed) => removed.map(|()| made),
        (made, Ok(())) => made,
        (made, Err(left)) => stage::Explain::left(made, vec![format!("{left:#}")]),
    }
}

fn wait_for(path: &Path) -> Result<Lock> {
    loop {
        match Lock::try_take(path)? {
            Some(lock) => return Ok(lock),
            None => interrupt::pause(LOCK_INTERVAL)?,
        }
    }
}

/// The names in a directory, sorted; none if it is not there.
pub fn listing(dir: &Path) -> Result<Vec<String>> {
    let context = || format!("cannot list {}", dir.display());
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(context)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.with_context(context)?.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes a file; that it is not there is no error.
pub fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
