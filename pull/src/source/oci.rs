//! `oci:DIR[:TAG]`: an OCI image layout (image-spec, image-layout.md).

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use oci_spec::image::ImageIndex;
use stage::Explain;

use super::{Source, open};
use crate::blob::{self, Stream};
use crate::fetch::{self, Blobs};
use crate::image::Image;
use crate::manifest::{self, ACCEPTED, Descriptor};
use crate::platform::Platform;

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The directory may have a colon in its name, if it is there.
pub fn parse(rest: &str) -> Source {
    match rest.rsplit_once(':') {
        Some((dir, tag)) if !tag.contains('/') && !Path::new(rest).is_dir() => {
            Source::Oci { dir: PathBuf::from(dir), tag: Some(tag.to_owned()) }
        }
        _ => Source::Oci { dir: PathBuf::from(rest), tag: None },
    }
}

/// A layout's directory.
pub struct Layout<'a> {
    pub dir: &'a Path,
}

impl Blobs for Layout<'_> {
    fn blob(&self, what: &Descriptor) -> Result<Stream> {
        Ok(Box::new(open(&self.dir.join("blobs/sha256").join(what.digest.hex()))?))
    }
}

impl Layout<'_> {
    /// The image with this tag, or the only one.
    pub fn image(&self, tag: Option<&str>, wanted: Option<&Platform>) -> Result<Image> {
        let top = self.entry(tag)?;
        let bytes = blob::read_small(self.manifest(&top)?, &top, manifest::MAX_BYTES)
            .with_context(|| format!("manifest {}", top.digest))?;
        fetch::resolve(self, top, bytes, wanted)
    }

    fn entry(&self, tag: Option<&str>) -> Result<Descriptor> {
        let mut bytes = Vec::new();
        open(&self.dir.join("index.json"))?.take(manifest::MAX_BYTES).read_to_end(&mut bytes)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_stands_behind_the_last_colon() {
        let oci = |dir: &str, tag: Option<&str>| Source::Oci { dir: dir.into(), tag: tag.map(str::to_owned) };
        assert_eq!(parse("/a/b:1"), oci("/a/b", Some("1")));
        assert_eq!(parse("/a:b/c"), oci("/a:b/c", None));
        assert_eq!(parse("/a"), oci("/a", None));
    }
}
