//! What the document says of the image, as far as a container's record and the listings need it.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;
use serde::de::IgnoredAny;
use stage::Document;

use crate::record::Record;

/// The document's `image` section.
#[derive(Debug, Deserialize)]
pub struct Image {
    /// The whole reference, `docker.io/library/busybox:latest`.
    pub reference: String,
    /// Its digest is what docker calls the image's id.
    pub config: Descriptor,
    #[serde(default)]
    spec: Spec,
}

/// An OCI descriptor.
#[derive(Debug, Deserialize)]
pub struct Descriptor {
    pub digest: String,
}

/// The OCI image configuration.
#[derive(Debug, Default, Deserialize)]
struct Spec {
    config: Option<Config>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    stop_signal: Option<String>,
    exposed_ports: Option<BTreeMap<String, IgnoredAny>>,
    volumes: Option<BTreeMap<String, IgnoredAny>>,
}

impl Image {
    /// `None` for a container that was made of a directory.
    pub fn of(document: &Document) -> Result<Option<Image>> {
        document.get("image")
    }

    /// `80/tcp`, ...
    pub fn exposed(&self) -> Vec<String> {
        let config = self.spec.config.as_ref();
        config.and_then(|config| config.exposed_ports.as_ref()).map(keys).unwrap_or_default()
    }

    /// The directories that are to be volumes.
    pub fn volumes(&self) -> Vec<String> {
        let config = self.spec.config.as_ref();
        config.and_then(|config| config.volumes.as_ref()).map(keys).unwrap_or_default()
    }

    /// Adds to the record what the image makes of what was typed: the whole command, and its labels.
    pub fn tell(self, record: &mut Record) {
        let Config { entrypoint, cmd, labels, stop_signal, .. } = self.spec.config.unwrap_or_default();
        // A container that is started again has heard all of it.
        if record.image_id.is_some() {
            return;
        }
        // --entrypoint drops both; its own word stands in the record already.
        if !record.plan.has_entrypoint() {
            let arguments = if record.command.is_empty() {
                cmd.unwrap_or_default()
            } else {
                std::mem::take(&mut record.command)
            };
            record.command = [entrypoint.unwrap_or_default(), arguments].concat();
        }
        for (key, value) in labels.unwrap_or_default() {
            let is_set = |label: &String| label.split('=').next() == Some(&key);
            if !record.labels.iter().any(is_set) {
                record.labels.push(format!("{key}={value}"));
            }
        }
        record.stop_signal = stop_signal;
        record.image_id = Some(self.config.digest);
    }
}

fn keys(map: &BTreeMap<String, IgnoredAny>) -> Vec<String> {
    map.keys().cloned().collect()
}
