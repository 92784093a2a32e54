//! `pull ls --disk`: what takes room on disk, as du(1) counts it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::digest::Digest;
use crate::store::{Store, listing};

/// A file's blocks are counted in this unit, whatever the file system's own is (stat(2)).
const BLOCK: u64 = 512;

/// One thing that takes room. The bytes of all of them are what du(1) says of the store.
#[derive(Serialize)]
struct Item {
    kind: Kind,
    /// A diffID or a digest; records, names and directories are one item without.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    bytes: u64,
    /// The ids of the images that have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Digest>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Layer,
    Blob,
    Partial,
    Other,
}

/// Prints a JSON array.
pub fn run(store: &Store) -> Result<u8> {
    let mut users: HashMap<(Kind, Digest), Vec<Digest>> = HashMap::new();
    for id in store.ids()? {
        // One that cannot be read has nothing that could be told.
        let Ok(Some(record)) = store.record(&id) else { continue };
        let layers = record.layers.iter().map(|layer| (Kind::Layer, layer.diff_id.clone()));
        let blobs = record.layers.iter().map(|layer| layer.digest.clone());
        let blobs =
            blobs.chain([record.manifest.digest, record.config.digest]).map(|blob| (Kind::Blob, blob));
        layers.chain(blobs).for_each(|what| users.entry(what).or_default().push(id.clone()));
    }
    let mut items = Vec::new();
    let partial = listing(&store.partial_blobs())?;
    let partial = partial.iter().filter_map(|name| Digest::from_hex(name).ok());
    let layers = store.all_layers()?.into_iter().map(|digest| (Kind::Layer, store.layer(&digest), digest));
    let blobs = store.all_blobs()?.into_iter().map(|digest| (Kind::Blob, store.blob(&digest), digest));
    let partial = partial.map(|digest| (Kind::Partial, store.partial_blob(&digest), digest));
    for (kind, path, digest) in layers.chain(blobs).chain(partial) {
        let images = users.remove(&(kind, digest.clone())).unwrap_or_default();
        items.push(Item { kind, digest: Some(digest), bytes: usage(&path)?, images });
    }
    let told: u64 = items.iter().map(|item| item.bytes).sum();
    let bytes = usage(store.dir())?.saturating_sub(told);
    items.push(Item { kind: Kind::Other, digest: None, bytes, images: Vec::new() });
    stage::print_json(&items)?;
    Ok(0)
}

/// Of a file, or of a directory with all that is in it, in bytes. A file of several names counts once.
pub fn usage(path: &Path) -> Result<u64> {
    let mut seen = HashSet::new();
    let mut total = 0;
    let mut queue = vec![path.to_owned()];
    while let Some(path) = queue.pop() {
        let context = || format!("cannot read {}", path.display());
        let meta = match fs::symlink_metadata(&path) {
            // Somebody else has removed it meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            meta => meta.with_context(context)?,
        };
        if meta.is_dir() {
            for entry in fs::read_dir(&path).with_context(context)? {
                queue.push(entry.with_context(context)?.path());
            }
        } else if meta.nlink() > 1 && !seen.insert((meta.dev(), meta.ino())) {
            continue;
        }
        total += meta.blocks() * BLOCK;
    }
    Ok(total)
}
