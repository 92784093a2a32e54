//! `pull ls`: the images that are here.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::image::Record;
use crate::reference::Reference;
use crate::store::Store;

/// An image by one of its tags, or one that has none.
#[derive(Clone, Serialize)]
struct Entry {
    id: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    /// The names with a digest that lead to the image.
    digests: Vec<String>,
    /// Of the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Value>,
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
    let mut entries = Vec::new();
    for id in store.ids()? {
        let own = names.iter().filter(|(_, of)| *of == id).map(|(name, _)| name);
        let (tags, digests): (Vec<&Reference>, Vec<&Reference>) = own.partition(|name| name.has_tag());
        let entry = entry(store, id, &digests);
        if tags.is_empty() {
            entries.push(entry.clone());
        }
        let named = |tag: &&Reference| Entry { reference: Some(tag.to_string()), ..entry.clone() };
        entries.extend(tags.iter().map(named));
    }
    stage::print_json(&entries)?;
    Ok(0)
}

/// What can be said of an image: one whose record cannot be read is listed with that.
fn entry(store: &Store, id: Digest, digests: &[&Reference]) -> Entry {
    let (record, error) = match store.record(&id) {
        Ok(record) => (record, None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    let layers: Vec<Digest> =
        record.iter().flat_map(|r| r.layers.iter().map(|l| l.diff_id.clone())).collect();
    let spec = record.as_ref().map(of_spec).unwrap_or_default();
    Entry {
        reference: None,
        digests: digests.iter().map(|name| name.to_string()).collect(),
        digest: record.as_ref().map(|record| record.manifest.digest.clone()),
        created: spec.created,
        platform: record.as_ref().and_then(|record| Some(record.platform().ok()?.to_string())),
        labels: spec.config.labels,
        size: layers.iter().map(|layer| store.layer_size(layer)).sum(),
        layers,
        error,
        id,
    }
}

/// What a listing tells of the configuration.
#[derive(Default, Deserialize)]
struct Spec {
    created: Option<Value>,
    #[serde(default)]
    config: Config,
}

#[derive(Default, Deserialize)]
struct Config {
    #[serde(rename = "Labels")]
    labels: Option<Value>,
}

fn of_spec(record: &Record) -> Spec {
    serde_json::from_str(record.spec.get()).unwrap_or_default()
}
