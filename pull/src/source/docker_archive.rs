//! `docker-archive:FILE`: what `docker save` writes, a tar of layers, configurations and `manifest.json`.
//!
//! It has no OCI manifest; one is made of what it has, the same each time.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::json;
use stage::Explain;

use super::files::{Files, Range};
use crate::blob::Stream;
use crate::decompress;
use crate::digest::{Digest, Hasher};
use crate::fetch::Blobs;
use crate::image::Image;
use crate::layer::Rules;
use crate::manifest::{self, ACCEPTED, Descriptor};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::Store;

const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// The file that says which images it has.
const MANIFEST: &str = "manifest.json";

/// An archive, and which of its files are which blobs.
pub struct DockerArchive {
    files: Files,
    by_digest: HashMap<Digest, Range>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Blobs for DockerArchive {
    fn blob(&self, what: &Descriptor, from: u64) -> Result<Stream> {
        let range = self.by_digest.get(&what.digest);
        let range = range.with_context(|| format!("{} is not in it", what.digest))?;
        Ok(Box::new(self.files.read(range.from(from))))
    }
}

impl DockerArchive {
    /// Reads which files the archive has.
    pub fn open_at(path: &Path, store: &Store, rules: &Rules) -> Result<DockerArchive> {
        Ok(DockerArchive { files: Files::open_at(path, store, rules)?, by_digest: HashMap::new() })
    }

    /// Whether it has what such an archive must have.
    pub fn is_one(&self) -> bool {
        self.files.range(MANIFEST).is_ok()
    }

    /// What it is made of.
    pub fn into_files(self) -> Files {
        self.files
    }

    /// The archive's image with this name, or its only one; and the names that it has there.
    pub fn image(&mut self, tag: Option<&str>, wanted: Option<&Platform>) -> Result<(Image, Vec<String>)> {
        let items = self.items()?;
        self.image_of(item(&items, tag)?, wanted)
    }

    /// All its images, each with its names there.
    pub fn images(&mut self, wanted: Option<&Platform>) -> Result<Vec<(Image, Vec<String>)>> {
        self.items()?.iter().map(|item| self.image_of(item, wanted)).collect()
    }

    fn items(&self) -> Result<Vec<Item>> {
        serde_json::from_slice(&self.files.small(MANIFEST)?).context("malformed manifest.json")
    }

    fn image_of(&mut self, item: &Item, wanted: Option<&Platform>) -> Result<(Image, Vec<String>)> {
        let bytes = self.files.small(&item.config)?;
        let config = self.descriptor(CONFIG_TYPE, &item.config)?;
        let parsed = manifest::config(&bytes, item.layers.len())?;
        let layers: Result<Vec<Descriptor>> = item
            .layers
            .iter()
            .zip(&parsed.diff_ids)
            .map(|(name, diff_id)| self.layer(name, diff_id))
            .collect();
        let layers = layers?;
        let text = serde_json::to_vec(
            &json!({"schemaVersion": 2, "mediaType": ACCEPTED[2], "config": config, "layers": layers}),
        )?;
        let image = Image::new((Descriptor::of(ACCEPTED[2], &text), text), (config, bytes), layers, parsed);
        if let Some(wanted) = wanted
            && wanted.distance(&image.platform).is_none()
        {
            bail!("its platform is {}, not {wanted}", image.platform);
        }
        Ok((image, item.tags().to_vec()))
    }

    /// A layer that is not compressed is its own diffID; of another the digest must be computed.
    fn layer(&mut self, name: &str, diff_id: &Digest) -> Result<Descriptor> {
        let range = self.files.range(name)?;
        let mut magic = Vec::new();
        self.files.read(range).take(4).read_to_end(&mut magic)?;
        let suffix = match decompress::Kind::of(&magic) {
            decompress::Kind::Plain => {
                self.by_digest.insert(diff_id.clone(), range);
                let media_type = LAYER_TYPE.to_owned();
                return Ok(Descriptor { media_type, digest: diff_id.clone(), size: range.length });
            }
            decompress::Kind::Gzip => "+gzip",
            decompress::Kind::Zstd => "+zstd",
        };
        self.descriptor(&format!("{LAYER_TYPE}{suffix}"), name)
    }

    fn descriptor(&mut self, media_type: &str, name: &str) -> Result<Descriptor> {
        let range = self.files.range(name)?;
        let mut hashing = Hashing { reader: self.files.read(range), hasher: Hasher::default() };
        io::copy(&mut hashing, &mut io::sink())?;
        let digest = hashing.hasher.finish();
        self.by_digest.insert(digest.clone(), range);
        Ok(Descriptor { media_type: media_type.to_owned(), digest, size: range.length })
    }
}

/// The item with this name; without one, the only item.
fn item<'a>(items: &'a [Item], tag: Option<&str>) -> Result<&'a Item> {
    let Some(tag) = tag else {
        let [item] = items else {
            let error = anyhow!("{} images in it: give a name, docker-archive:FILE:NAME[:TAG]", items.len());
            return Err(error).hint(format!("its names: {}", names(items).join(", ")));
        };
        return Ok(item);
    };
    let wanted: Reference = tag.parse()?;
    let has =
        |item: &&Item| item.tags().iter().any(|name| name.parse::<Reference>().is_ok_and(|n| n == wanted));
    match items.iter().find(has) {
        Some(item) => Ok(item),
        None => Err(anyhow!("no image {tag} in it")).hint(format!("its names: {}", names(items).join(", "))),
    }
}

fn names(items: &[Item]) -> Vec<String> {
    items.iter().flat_map(|item| item.tags().to_vec()).collect()
}

impl Item {
    fn tags(&self) -> &[String] {
        self.repo_tags.as_deref().unwrap_or_default()
    }
}

struct Hashing<R> {
    reader: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}
