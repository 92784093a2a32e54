//! `pull gc`: removes layers and blobs that no image has, and downloads that nobody goes on with.

use anyhow::Result;
use serde::Serialize;
use stage::Lock;

use crate::digest::Digest;
use crate::disk;
use crate::garbage::{self, Garbage};
use crate::store::{Retired, Store, remove_file};

/// Whether something is removed, or only listed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Remove,
    Show,
}

#[derive(Serialize)]
struct Item<'a> {
    kind: &'static str,
    digest: &'a Digest,
    /// On disk.
    bytes: u64,
}

/// Prints a JSON array of what went, or would go.
pub fn run(store: &Store, mode: Mode) -> Result<u8> {
    if !store.images().exists() {
        stage::print_json(&[(); 0])?;
        return Ok(0);
    }
    store.prepare()?;
    let lock = store.lock()?;
    let garbage = Garbage::without(store, &[])?;
    let abandoned = garbage::abandoned(store)?;
    stage::print_json(&items(store, &garbage, &abandoned)?)?;
    if mode == Mode::Remove {
        garbage.check_unused()?;
        let retired = garbage.retire(store)?;
        drop(lock);
        retired.into_iter().try_for_each(Retired::remove)?;
        for (digest, _lock) in &abandoned {
            stage::shell(&["rm", &store.partial_blob(digest).to_string_lossy()]);
            remove_file(&store.partial_blob(digest))?;
        }
    }
    abandoned.into_iter().try_for_each(|(_, lock)| lock.remove())?;
    Ok(0)
}

fn items<'a>(store: &Store, garbage: &'a Garbage, abandoned: &'a [(Digest, Lock)]) -> Result<Vec<Item<'a>>> {
    let mut items = Vec::new();
    for layer in &garbage.layers {
        items.push(Item { kind: "layer", digest: layer, bytes: disk::usage(&store.layer(layer))? });
    }
    for blob in &garbage.blobs {
        items.push(Item { kind: "blob", digest: blob, bytes: disk::usage(&store.blob(blob))? });
    }
    for (digest, _) in abandoned {
        items.push(Item { kind: "partial", digest, bytes: disk::usage(&store.partial_blob(digest))? });
    }
    Ok(items)
}
