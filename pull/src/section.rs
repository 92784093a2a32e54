//! The section "image" of the document.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::value::RawValue;
use stage::{Document, Section};

use crate::digest::Digest;
use crate::image::Found;
use crate::manifest::Descriptor;
use crate::report::Fetched;
use crate::store::Store;

#[derive(Serialize)]
struct Image<'a> {
    reference: &'a str,
    manifest: &'a Descriptor,
    config: &'a Descriptor,
    spec: &'a RawValue,
    layers: Vec<Layer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fetched: Option<Fetched>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Layer<'a> {
    media_type: &'a str,
    digest: &'a Digest,
    size: u64,
    #[serde(rename = "diffID")]
    diff_id: &'a Digest,
    path: PathBuf,
}

/// Prints the document. `fetched`: what it took, if there was something to do.
pub fn write(store: &Store, found: &Found, fetched: Option<Fetched>) -> Result<()> {
    let record = &found.record;
    let layers: Result<Vec<Layer>> = record
        .layers
        .iter()
        .map(|layer| {
            let path = std::path::absolute(store.layer(&layer.diff_id)).context("cannot find the layers")?;
            Ok(Layer {
                media_type: &layer.media_type,
                digest: &layer.digest,
                size: layer.size,
                diff_id: &layer.diff_id,
                path,
            })
        })
        .collect();
    let section = Image {
        reference: &found.reference,
        manifest: &record.manifest,
        config: &record.config,
        spec: &record.spec,
        layers: layers?,
        fetched,
    };
    let mut document = Document::new()?;
    document.add(Section::Image, &section)?;
    document.write()
}
