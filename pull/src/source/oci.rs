//! `oci:DIR[:TAG]` and `oci-archive:FILE[:TAG]`: an OCI image layout (image-spec, image-layout.md).

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, bail};
use oci_spec::image::ImageIndex;
use stage::Explain;

use super::files::Files;
use super::open;
use crate::blob::{self, Stream};
use crate::fetch::{self, Blobs};
use crate::image::Image;
use crate::layer::Rules;
use crate::manifest::{self, ACCEPTED, Descriptor};
use crate::platform::Platform;
use crate::store::Store;

/// What an image is called in a layout (image-spec, annotations.md).
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Where a layout's files are.
pub enum Layout<'a> {
    Dir(&'a Path),
    Archive(Files),
}

impl Blobs for Layout<'_> {
    fn blob(&self, what: &Descriptor, from: u64) -> Result<Stream> {
        let name = format!("blobs/sha256/{}", what.digest.hex());
        match self {
            Layout::Dir(dir) => {
                let mut file = open(&dir.join(name))?;
                file.seek(SeekFrom::Start(from))?;
                Ok(Box::new(file))
            }
            Layout::Archive(files) => Ok(Box::new(files.read(files.range(&name)?.from(from)))),
        }
    }
}

impl<'a> Layout<'a> {
    /// An archive's.
    pub fn in_archive(path: &Path, store: &Store, rules: &Rules) -> Result<Layout<'a>> {
        Ok(Layout::Archive(Files::open_at(path, store, rules)?))
    }

    /// The image with this tag, or the only one.
    pub fn image(&self, tag: Option<&str>, wanted: Option<&Platform>) -> Result<Image> {
        let top = self.entry(tag)?;
        let bytes = blob::read_small(self.manifest(&top)?, &top, manifest::MAX_BYTES)
            .with_context(|| format!("manifest {}", top.digest))?;
        fetch::resolve(self, top, bytes, wanted)
    }

    fn entry(&self, tag: Option<&str>) -> Result<Descriptor> {
        let bytes = match self {
            Layout::Dir(dir) => {
                let mut bytes = Vec::new();
                open(&dir.join("index.json"))?.take(manifest::MAX_BYTES).read_to_end(&mut bytes)?;
                bytes
            }
            Layout::Archive(files) => files.small("index.json")?,
        };
        let index: ImageIndex = serde_json::from_slice(&bytes).context("malformed index.json")?;
        let name = |entry: &oci_spec::image::Descriptor| entry.annotations().as_ref()?.get(REF_NAME).cloned();
        let matching: Vec<_> = index
            .manifests()
            .iter()
            .filter(|entry| ACCEPTED.contains(&entry.media_type().to_string().as_str()))
            .filter(|entry| tag.is_none() || name(entry).as_deref() == tag)
            .collect();
        match matching[..] {
            [entry] => Ok(Descriptor {
                media_type: entry.media_type().to_string(),
                digest: entry.digest().to_string().parse()?,
                size: entry.size(),
            }),
            [] => {
                let tags: Vec<String> = index.manifests().iter().filter_map(name).collect();
                let error = anyhow::anyhow!("no image with tag {:?} in it", tag.unwrap_or_default());
                Err(error).hint(format!("its tags: {}", tags.join(", ")))
            }
            _ => bail!("{} images in it: give a tag, oci:DIR:TAG", matching.len()),
        }
    }
}
