//! From a source to the store: which image, then its layers, side by side, then its record and names.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use stage::Explain;

use crate::blob::{self, Stream, Verified, Wrong};
use crate::download::Download;
use crate::image::{Image, Layer};
use crate::interrupt;
use crate::layer::{self, Rules, Unpacked};
use crate::manifest::{self, Descriptor, Node};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::report::{Phase, Report, State};
use crate::store::{Made, Store};
use crate::unpack;

/// Layers fetched and unpacked side by side, as docker does: each has its own connection.
const SIDE_BY_SIDE: usize = 3;
/// How many indexes may lead to each other.
const MAX_DEPTH: usize = 4;

/// Where blobs come from.
pub trait Blobs: Sync {
    /// The bytes of a configuration or a layer, from byte `from` on.
    fn blob(&self, what: &Descriptor, from: u64) -> Result<Stream>;

    /// The bytes of a manifest or an index.
    fn manifest(&self, what: &Descriptor) -> Result<Stream> {
        self.blob(what, 0)
    }

    /// All of a manifest, an index or a configuration.
    fn small(&self, what: &Descriptor, part: Part) -> Result<Vec<u8>> {
        let stream = match part {
            Part::Manifest => self.manifest(what)?,
            Part::Config => self.blob(what, 0)?,
        };
        blob::read_small(stream, what, manifest::MAX_BYTES)
    }

    /// Whether layers have blobs at all: what was made here, of a directory, has none.
    fn has_layers(&self) -> bool {
        true
    }

    /// Whether half of a blob is worth keeping: the other half may be fetched later.
    fn resumes(&self) -> bool {
        false
    }
}

/// What a small blob is: registries have manifests in another place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Manifest,
    Config,
}

/// The image that a manifest or an index leads to.
pub fn resolve(
    blobs: &dyn Blobs,
    top: Descriptor,
    bytes: Vec<u8>,
    wanted: Option<&Platform>,
) -> Result<Image> {
    let (mut descriptor, mut bytes) = (top, bytes);
    // Whoever has chosen by an index need not look at what the configuration says.
    let mut unchecked = wanted;
    for _ in 0..MAX_DEPTH {
        let (node, media_type) = manifest::parse(&bytes, Some(&descriptor.media_type))?;
        descriptor.media_type = media_type;
        let entries = match node {
            Node::Manifest(manifest) => return of_manifest(blobs, (descriptor, bytes), manifest, unchecked),
            Node::Index(entries) => entries,
        };
        unchecked = None;
        descriptor = manifest::choose(&entries, wanted.unwrap_or(&Platform::host()))?.clone();
        bytes = blobs
            .small(&descriptor, Part::Manifest)
            .with_context(|| format!("manifest {}", descriptor.digest))?;
    }
    bail!("malformed index: more than {MAX_DEPTH} of them lead to each other")
}

fn of_manifest(
    blobs: &dyn Blobs,
    own: (Descriptor, Vec<u8>),
    manifest: manifest::Manifest,
    wanted: Option<&Platform>,
) -> Result<Image> {
    let context = || format!("configuration {}", manifest.config.digest);
    let bytes = blobs.small(&manifest.config, Part::Config).with_context(context)?;
    let parsed = manifest::config(&bytes, manifest.layers.len())?;
    let image = Image::new(own, (manifest.config, bytes), manifest.layers, parsed);
    match wanted {
        Some(wanted) if wanted.distance(&image.platform).is_none() => {
            bail!("its platform is {}, not {wanted}", image.platform)
        }
        _ => Ok(image),
    }
}

/// Layers on their way into the store.
pub struct Job<'a> {
    pub store: &'a Store,
    pub blobs: &'a dyn Blobs,
    pub rules: &'a Rules,
    pub report: &'a Report,
}

impl Job<'_> {
    /// Stores the image and its layers under these names.
    pub fn store(&self, image: &Image, names: &[Reference]) -> Result<()> {
        let layers = &image.record.layers;
        loop {
            self.fetch_layers(layers)?;
            let _lock = self.store.lock()?;
            // Until now somebody may have removed a layer that no image had.
            if layers.iter().all(|layer| self.store.layer(&layer.diff_id).exists()) {
                layers.iter().skip(1).try_for_each(|layer| check_root(self.store, layer))?;
                interrupt::check()?;
                return self.store.save(image, names);
            }
        }
    }

    fn fetch_layers(&self, layers: &[Layer]) -> Result<()> {
        let mut queue: VecDeque<&Layer> = VecDeque::new();
        for layer in layers {
            if queue.iter().all(|queued| queued.diff_id != layer.diff_id) {
                queue.push_back(layer);
            }
        }
        let missing = queue.iter().filter(|layer| !self.store.layer(&layer.diff_id).exists());
        let workers = SIDE_BY_SIDE.min(missing.count());
        let (queue, failure) = (Mutex::new(queue), Mutex::new(None));
        let work = || {
            while let Some(layer) = pop(&queue) {
                if let Err(error) = self.fetch_layer(layer) {
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    interrupt::cancel();
                }
            }
        };
        if workers <= 1 {
            work();
        } else {
            std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
        }
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            // A signal leaves the rest of the queue.
            None => interrupt::check(),
        }
    }

    fn fetch_layer(&self, layer: &Layer) -> Result<()> {
        let descriptor = layer.descriptor();
        let made = loop {
            let (mut resumed, mut unpacked) = (0, Instant::now());
            let made = self.store.ensure_layer(&layer.diff_id, |directory| {
                let download = Download::begin(self.store, &descriptor)?;
                resumed = download.resumed;
                let done = self.unpack(&download, layer, directory);
                unpacked = Instant::now();
                download.end(done, self.blobs)
            });
            match made {
                Err(error) if resumed > 0 && error.is::<Wrong>() => {
                    let short = layer.digest.short();
                    self.report
                        .say(&format!("{short}: what was kept of it is wrong; fetching all of it again"));
                }
                Ok(Made::Now) => {
                    self.report.spent(Phase::Sync, unpacked.elapsed(), 0);
                    break made;
                }
                made => break made,
            }
        };
        let context = || format!("layer {}", layer.digest);
        let made = made.with_context(context)?;
        if made == Made::Before && self.blobs.has_layers() && !self.store.blob(&layer.digest).exists() {
            self.fetch_blob(&descriptor).with_context(context)?;
        }
        let state = if made == Made::Now { State::Complete } else { State::Exists };
        self.report.layer(&layer.digest, state, (layer.size, layer.size));
        Ok(())
    }

    /// The blob of a layer that is here from another image, where it was compressed in another way.
    fn fetch_blob(&self, what: &Descriptor) -> Result<()> {
        let download = Download::begin(self.store, what)?;
        let stream = download.stream(self.blobs);
        let done = stream.and_then(|stream| Verified::new(stream, Some(what.clone())).finish());
        download.end(done, self.blobs)
    }

    /// Unpacks a layer whose blob is here into a directory.
    pub fn unpack_again(&self, layer: &Layer, directory: &Path) -> Result<()> {
        let stream = std::fs::File::open(self.store.blob(&layer.digest)).context("open")?;
        let blob = Verified::new(Box::new(stream), Some(layer.descriptor()));
        layer::unpack(blob, directory, self.rules, &self.report.silent()).map(|_| ())
    }

    /// Makes a layer anew, whatever is there in its place.
    pub fn replace(&self, layer: &Layer) -> Result<()> {
        let descriptor = layer.descriptor();
        self.store.replace_layer(&layer.diff_id, |directory| {
            let download = Download::begin(self.store, &descriptor)?;
            let done = self.unpack(&download, layer, directory);
            download.end(done, self.blobs)
        })
    }

    fn unpack(&self, download: &Download, layer: &Layer, directory: &Path) -> Result<Unpacked> {
        if layer.size > self.rules.max_size {
            return Err(anyhow!("{} bytes", layer.size)).hint("--max-size sets the limit");
        }
        let (report, digest, size) = (self.report.clone(), layer.digest.clone(), layer.size);
        if download.resumed > 0 {
            report.say(&format!("{}: resuming at {} of {size} bytes", digest.short(), download.resumed));
        }
        report.layer(&digest, State::Downloading, (0, size));
        stage::shell(&["tar", "--extract", "--xattrs", "--directory", &directory.to_string_lossy()]);
        let blob = Verified::new(download.stream(self.blobs)?, Some(layer.descriptor()));
        let blob = blob.telling(move |read| report.layer(&digest, State::Downloading, (read, size)));
        let unpacked = layer::unpack(blob, directory, self.rules, self.report)?;
        if unpacked.diff_id != layer.diff_id {
            bail!("diffID mismatch: content is {}, not {}", unpacked.diff_id, layer.diff_id);
        }
        Ok(unpacked)
    }
}

/// # Errors
/// The layer hides all those below it, which overlayfs does for every directory but the root.
fn check_root(store: &Store, layer: &Layer) -> Result<()> {
    if unpack::is_opaque(&store.layer(&layer.diff_id))? {
        bail!("layer {}: an opaque root above other layers is not supported", layer.digest);
    }
    Ok(())
}

fn pop<'a>(queue: &Mutex<VecDeque<&'a Layer>>) -> Option<&'a Layer> {
    interrupt::check().ok().and_then(|()| queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front())
}
