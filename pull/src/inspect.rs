//! `pull inspect`: an image's manifest, configuration and layers.

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::{Network, Telling, Terms};
use crate::digest::Digest;
use crate::image::{self, Record};
use crate::interrupt;
use crate::manifest::Descriptor;
use crate::reference::Reference;
use crate::source::registry::Repository;
use crate::store::Store;

#[derive(Serialize)]
struct Inspected<'a> {
    id: &'a Digest,
    /// All of them; none of an image that is not here.
    names: Vec<String>,
    /// Whether it is in the store.
    here: bool,
    descriptor: &'a Descriptor,
    /// Verbatim.
    manifest: &'a RawValue,
    /// Verbatim.
    config: &'a RawValue,
    layers: Vec<Layer<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Layer<'a> {
    media_type: &'a str,
    digest: &'a Digest,
    /// As it travels.
    size: u64,
    #[serde(rename = "diffID")]
    diff_id: &'a Digest,
    /// Of all its files, if it is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    unpacked: Option<u64>,
}

impl<'a> Layer<'a> {
    fn of(store: &Store, layer: &'a image::Layer) -> Layer<'a> {
        Layer {
            media_type: &layer.media_type,
            digest: &layer.digest,
            size: layer.size,
            diff_id: &layer.diff_id,
            unpacked: store.layer_size(&layer.diff_id),
        }
    }
}

/// Prints what is known of the image: of the one that is here, else of the registry's, which is not fetched.
pub fn run(store: &Store, name: &str, terms: &Terms, telling: &Telling, network: &Network) -> Result<u8> {
    let context = || format!("cannot inspect image {name}");
    if let Some(found) = store.find(name)? {
        let manifest = std::fs::read(store.blob(&found.record.manifest.digest)).with_context(context)?;
        return print(store, &found.record, &manifest);
    }
    let reference: Reference = name.parse().with_context(context)?;
    interrupt::watch()?;
    let repository = Repository::of(&reference, &network.access(), &telling.report())?;
    let resolved = repository.image(&reference, terms.platform()?.as_ref()).with_context(context)?;
    print(store, &resolved.image.record, &resolved.image.manifest_bytes)
}

fn print(store: &Store, record: &Record, manifest: &[u8]) -> Result<u8> {
    let manifest: Box<RawValue> = serde_json::from_slice(manifest).context("malformed manifest")?;
    let id = &record.config.digest;
    let inspected = Inspected {
        id,
        names: store.names_of(id)?.iter().map(Reference::to_string).collect(),
        here: store.record(id)?.is_some(),
        descriptor: &record.manifest,
        manifest: &manifest,
        config: &record.spec,
        layers: record.layers.iter().map(|layer| Layer::of(store, layer)).collect(),
    };
    stage::print_json(&inspected)?;
    Ok(0)
}
