//! `docker-archive:FILE`: what `docker save` writes, a tar of layers, configurations and `manifest.json`.
//!
//! It has no OCI manifest; one is made of what it has, the same each time.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::json;

use super::open;
use crate::blob::Stream;
use crate::decompress;
use crate::digest::{Digest, Hasher};
use crate::fetch::Blobs;
use crate::image::Image;
use crate::manifest::{self, ACCEPTED, Descriptor};
use crate::platform::Platform;
use crate::tarball::{Archive, Kind};

const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// An archive whose table of contents has been read.
pub struct DockerArchive<'a> {
    path: &'a Path,
    files: HashMap<Vec<u8>, Range>,
    by_digest: HashMap<Digest, Range>,
}

#[derive(Clone, Copy)]
struct Range {
    offset: u64,
    length: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Blobs for DockerArchive<'_> {
    fn blob(&self, what: &Descriptor) -> Result<Stream> {
        let range =
            self.by_digest.get(&what.digest).with_context(|| format!("{} is not in it", what.digest))?;
        Ok(Box::new(self.open(*range)?))
    }
}

impl<'a> DockerArchive<'a> {
    /// Reads which files the archive has.
    pub fn open_at(path: &'a Path) -> Result<DockerArchive<'a>> {
        let mut magic = Vec::new();
        open(path)?.take(4).read_to_end(&mut magic)?;
        if decompress::Kind::of(&magic) != decompress::Kind::Plain {
            return stage::Explain::hint(Err(anyhow!("it is compressed")), "decompress it first");
        }
        let mut archive = Archive::new(Counted { reader: BufReader::new(open(path)?), at: 0 });
        let (mut files, mut links) = (HashMap::new(), Vec::new());
        while let Some(entry) = archive.next()? {
            let name = clean(&entry.path);
            match entry.kind {
                Kind::File => {
                    files.insert(name, Range { offset: archive.get_ref().at, length: entry.size });
                }
                // A layer that two images share is there once.
                Kind::Hardlink(target) => links.push((name, clean(&target))),
                Kind::Symlink(target) => {
                    let parent = name.iter().rposition(|c| *c == b'/').map_or(0, |slash| slash + 1);
                    links.push((name.clone(), clean(&[&name[..parent], &target].concat())));
                }
                _ => {}
            }
        }
        for (name, target) in links {
            if let Some(range) = files.get(&target).copied() {
                files.insert(name, range);
            }
        }
        Ok(DockerArchive { path, files, by_digest: HashMap::new() })
    }

    /// The archive's image, and the names that it has there.
    pub fn image(&mut self, wanted: Option<&Platform>) -> Result<(Image, Vec<String>)> {
        let items: Vec<Item> =
            serde_json::from_slice(&self.small("manifest.json")?).context("malformed manifest.json")?;
        let [item] = &items[..] else { bail!("{} images in it, not one", items.len()) };
        let bytes = self.small(&item.config)?;
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
        Ok((image, item.repo_tags.clone().unwrap_or_default()))
    }

    /// A layer that is not compressed is its own diffID; of another the digest must be computed.
    fn layer(&mut self, name: &str, diff_id: &Digest) -> Result<Descriptor> {
        let range = self.range(name)?;
        let mut magic = Vec::new();
        self.open(range)?.take(4).read_to_end(&mut magic)?;
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
        let range = self.range(name)?;
        let mut hashing = Hashing { reader: self.open(range)?, hasher: Hasher::default() };
        io::copy(&mut hashing, &mut io::sink())?;
        let digest = hashing.hasher.finish();
        self.by_digest.insert(digest.clone(), range);
        Ok(Descriptor { media_type: media_type.to_owned(), digest, size: range.length })
    }

    fn range(&self, name: &str) -> Result<Range> {
        self.files.get(&clean(name.as_bytes())).copied().with_context(|| format!("{name:?} is not in it"))
    }

    fn open(&self, range: Range) -> Result<impl Read + Send + use<>> {
        let mut file = open(self.path)?;
        file.seek(SeekFrom::Start(range.offset))?;
        Ok(file.take(range.length))
    }

    fn small(&self, name: &str) -> Result<Vec<u8>> {
        let range = self.range(name)?;
        if range.length > manifest::MAX_BYTES {
            bail!("{name:?} has {} bytes", range.length);
        }
        let mut bytes = Vec::new();
        self.open(range)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Without `.` and `..`: names are only compared.
fn clean(name: &[u8]) -> Vec<u8> {
    let mut elements: Vec<&[u8]> = Vec::new();
    for element in name.split(|c| *c == b'/') {
        match element {
            b"" | b"." => {}
            b".." => drop(elements.pop()),
            element => elements.push(element),
        }
    }
    elements.join(&b'/')
}

struct Counted {
    reader: BufReader<File>,
    at: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.at += n as u64;
        Ok(n)
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
