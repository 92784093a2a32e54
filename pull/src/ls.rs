//! `pull ls`: the images that are here.

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::digest::Digest;
use crate::image::Record;
use crate::reference::Reference;
use crate::store::Store;

#[derive(Serialize)]
struct Entry {
    id: Digest,
    /// Names with a tag, complete.
    names: Vec<String>,
    /// Names with a digest.
    digests: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    /// Of all files in all layers, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// diffIDs, base first.
    layers: Vec<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Prints a JSON array.
pub fn run(store: &Store) -> Result<u8> {
    let names = store.all_names()?;
    let entry = |id: Digest| {
        let own: Vec<&Reference> = names.iter().filter(|(_, of)| *of == id).map(|(name, _)| name).collect();
        entry(store, id, &own)
    };
    let entries: Vec<Entry> = store.ids()?.into_iter().map(entry).collect();
    stage::print_json(&entries)?;
    Ok(0)
}

/// What can be said of an image: one whose record cannot be read is listed with that.
fn entry(store: &Store, id: Digest, names: &[&Reference]) -> Entry {
    let text = |tagged: bool| names.iter().filter(|n| n.has_tag() == tagged).map(|n| n.to_string()).collect();
    let (record, error) = match store.record(&id) {
        Ok(record) => (record, None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    let layers: Vec<Digest> =
        record.iter().flat_map(|r| r.layers.iter().map(|l| l.diff_id.clone())).collect();
    Entry {
        names: text(true),
        digests: text(false),
        digest: record.as_ref().map(|record| record.manifest.digest.clone()),
        created: record.as_ref().and_then(created),
        platform: record.as_ref().and_then(|record| Some(record.platform().ok()?.to_string())),
        size: layers.iter().map(|layer| store.layer_size(layer)).sum(),
        layers,
        error,
        id,
    }
}

fn created(record: &Record) -> Option<Value> {
    let mut spec: serde_json::Map<String, Value> = serde_json::from_str(record.spec.get()).ok()?;
    spec.remove("created").filter(Value::is_string)
}
