//! From a source to the store: which image, then its layers, side by side, then its record and names.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::blob::{self, Stream};
use crate::image::{Image, Layer};
use crate::interrupt;
use crate::layer;
use crate::manifest::{self, Descriptor, Node};
use crate::platform::Platform;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::store::{Made, Store};
use crate::unpack;

/// Layers fetched and unpacked side by side, as docker does: each has its own connection.
const SIDE_BY_SIDE: usize = 3;
/// How many indexes may lead to each other.
const MAX_DEPTH: usize = 4;

/// Where blobs come from.
pub trait Blobs: Sync {
    /// The bytes of a configuration or a layer.
    fn blob(&self, what: &Descriptor) -> Result<Stream>;

    /// The bytes of a manifest or an index.
    fn manifest(&self, what: &Descriptor) -> Result<Stream> {
        self.blob(what)
    }
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
        let stream = blobs.manifest(&descriptor)?;
        bytes = blob::read_small(stream, &descriptor, manifest::MAX_BYTES)
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
    let stream = blobs.blob(&manifest.config).with_context(context)?;
    let bytes = blob::read_small(stream, &manifest.config, manifest::MAX_BYTES).with_context(context)?;
    let parsed = manifest::config(&bytes, manifest.layers.len())?;
    let image = Image::new(own, (manifest.config, bytes), manifest.layers, parsed);
    match wanted {
        Some(wanted) if wanted.distance(&image.platform).is_none() => {
            bail!("its platform is {}, not {wanted}", image.platform)
        }
        _ => Ok(image),
    }
}

/// Stores the image and its layers under these names.
pub fn store(
    store: &Store,
    blobs: &dyn Blobs,
    image: &Image,
    names: &[Reference],
    progress: Progress,
) -> Result<()> {
    let layers = &image.record.layers;
    loop {
        fetch_layers(store, blobs, layers, progress)?;
        let _lock = store.lock()?;
        // Until now somebody may have removed a layer that no image had.
        if layers.iter().all(|layer| store.layer(&layer.diff_id).exists()) {
            layers.iter().skip(1).try_for_each(|layer| check_root(store, layer))?;
            interrupt::check()?;
            return store.save(image, names);
        }
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

fn fetch_layers(store: &Store, blobs: &dyn Blobs, layers: &[Layer], progress: Progress) -> Result<()> {
    let mut queue: VecDeque<&Layer> = VecDeque::new();
    for layer in layers {
        if queue.iter().all(|queued| queued.diff_id != layer.diff_id) {
            queue.push_back(layer);
        }
    }
    let workers =
        SIDE_BY_SIDE.min(queue.iter().filter(|layer| !store.layer(&layer.diff_id).exists()).count());
    let (queue, failure) = (Mutex::new(queue), Mutex::new(None));
    let work = || {
        while let Some(layer) = pop(&queue) {
            if let Err(error) = fetch_layer(store, blobs, layer, progress) {
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

fn pop<'a>(queue: &Mutex<VecDeque<&'a Layer>>) -> Option<&'a Layer> {
    interrupt::check().ok().and_then(|()| queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front())
}

fn fetch_layer(store: &Store, blobs: &dyn Blobs, layer: &Layer, progress: Progress) -> Result<()> {
    let descriptor = layer.descriptor();
    let made = store.ensure_layer(&layer.diff_id, |directory| {
        stage::shell(&["tar", "--extract", "--xattrs", "--directory", &directory.to_string_lossy()]);
        layer::unpack(blobs.blob(&descriptor)?, Some(descriptor.clone()), directory)
    });
    let made = made.with_context(|| format!("layer {}", layer.digest))?;
    let word = if made == Made::Now { "Pull complete" } else { "Already exists" };
    progress.say(&format!("{}: {word}", layer.digest.short()));
    Ok(())
}
