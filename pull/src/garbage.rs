//! What in the store no image needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Result, anyhow};
use stage::{Explain, Lock};

use crate::digest::Digest;
use crate::image::Record;
use crate::store::{Retired, Store, listing, remove_file};

/// Layers by diffID, blobs by digest.
#[derive(Debug, Default)]
pub struct Garbage {
    pub layers: Vec<Digest>,
    pub blobs: Vec<Digest>,
}

impl Garbage {
    /// Once the images `going` have gone. What no image has may belong to a pull that goes on, so then it is only
    /// what those images had. With the store's lock held.
    pub fn without(store: &Store, going: &[Record]) -> Result<Garbage> {
        let (mut layers, mut blobs) = (BTreeSet::new(), BTreeSet::new());
        let gone: BTreeSet<&Digest> = going.iter().map(|record| &record.config.digest).collect();
        for id in store.ids()?.iter().filter(|id| !gone.contains(id)) {
            let Some(record) = store.record(id)? else { continue };
            note(&record, &mut layers, &mut blobs);
        }
        let (mut own_layers, mut own_blobs) = (BTreeSet::new(), BTreeSet::new());
        going.iter().for_each(|record| note(record, &mut own_layers, &mut own_blobs));
        let busy = store.is_busy()?;
        let mut garbage = Garbage { layers: store.all_layers()?, blobs: store.all_blobs()? };
        garbage.layers.retain(|layer| !layers.contains(layer) && (!busy || own_layers.contains(layer)));
        garbage.blobs.retain(|blob| !blobs.contains(blob) && (!busy || own_blobs.contains(blob)));
        Ok(garbage)
    }

    /// # Errors
    /// One of the layers is mounted.
    pub fn check_unused(&self) -> Result<()> {
        not_mounted(&self.layers, Path::new("/proc"))
    }

    /// Takes it all away from where it is found. The layers that are still to be removed come out.
    pub fn retire(&self, store: &Store) -> Result<Vec<Retired>> {
        for blob in &self.blobs {
            stage::shell(&["rm", &store.blob(blob).to_string_lossy()]);
            remove_file(&store.blob(blob))?;
        }
        let retire = |layer: &Digest| {
            stage::shell(&["rm", "-r", &store.layer(layer).to_string_lossy()]);
            store.retire(layer)
        };
        self.layers.iter().map(retire).collect()
    }
}

fn note(record: &Record, layers: &mut BTreeSet<Digest>, blobs: &mut BTreeSet<Digest>) {
    layers.extend(record.layers.iter().map(|layer| layer.diff_id.clone()));
    blobs.extend(record.layers.iter().map(|layer| layer.digest.clone()));
    blobs.extend([record.manifest.digest.clone(), record.config.digest.clone()]);
}

/// Parts of blobs that nobody is fetching, each with the right to remove it.
pub fn abandoned(store: &Store) -> Result<Vec<(Digest, Lock)>> {
    let mut found = Vec::new();
    for name in listing(&store.partial_blobs())? {
        let Ok(digest) = Digest::from_hex(&name) else { continue };
        found.extend(store.try_lock_blob(&digest)?.map(|lock| (digest, lock)));
    }
    Ok(found)
}

/// # Errors
/// A layer is mounted in the mount namespace of a process that can be seen here.
fn not_mounted(layers: &[Digest], proc: &Path) -> Result<()> {
    if layers.is_empty() {
        return Ok(());
    }
    let mut seen = BTreeSet::new();
    for process in fs::read_dir(proc)?.flatten() {
        let dir = process.path();
        // A process that ends meanwhile, or is none.
        let Ok(namespace) = fs::read_link(dir.join("ns/mnt")) else { continue };
        let Ok(mounts) = fs::read(dir.join("mountinfo")) else { continue };
        if !seen.insert(namespace) {
            continue;
        }
        let mounts = String::from_utf8_lossy(&mounts);
        for line in mounts.lines().filter(|line| line.contains(" overlay ")) {
            if let Some(layer) = layers.iter().find(|layer| line.contains(layer.hex())) {
                let at = line.split(' ').nth(4).unwrap_or("?");
                return Err(anyhow!("cannot remove layer {}: it is mounted at {at}", layer.short()))
                    .hint("remove the containers that use it first");
            }
        }
    }
    Ok(())
}
