//! An image of a registry (distribution-spec, pull), or of a mirror of it.

use anyhow::{Context, Result, bail};

use crate::blob::{self, Stream};
use crate::digest::Digest;
use crate::fetch::{self, Blobs, Part};
use crate::image::Image;
use crate::manifest::{self, ACCEPTED, Descriptor};
use crate::platform::Platform;
use crate::reference::{Reference, Version};
use crate::registry::{Access, Answer, Places, Resource};
use crate::report::Report;
use crate::store::Store;

/// One repository, wherever it is to be had.
pub struct Repository {
    places: Places,
    /// Keeps what is small, so that it is fetched once.
    store: Option<Store>,
}

/// What a reference led to.
pub struct Resolved {
    pub image: Image,
    /// Of the manifest or the index that the reference itself names.
    pub digest: Digest,
}

impl Blobs for Repository {
    fn blob(&self, what: &Descriptor, from: u64) -> Result<Stream> {
        let resource = Resource { name: format!("blobs/{}", what.digest), accept: String::new() };
        Ok(Box::new(self.places.stream(resource, from, what.size)))
    }

    fn manifest(&self, what: &Descriptor) -> Result<Stream> {
        Ok(Box::new(self.places.stream(manifest_of(&what.digest), 0, what.size)))
    }

    fn small(&self, what: &Descriptor, part: Part) -> Result<Vec<u8>> {
        let fetch = || {
            let stream = match part {
                Part::Manifest => self.manifest(what)?,
                Part::Config => self.blob(what, 0)?,
            };
            blob::read_small(stream, what, manifest::MAX_BYTES)
        };
        match &self.store {
            Some(store) => store.small_blob(what, fetch),
            None => fetch(),
        }
    }

    fn resumes(&self) -> bool {
        true
    }
}

impl Repository {
    /// Connects to nothing yet.
    pub fn of(reference: &Reference, access: &Access, report: &Report) -> Result<Repository> {
        Ok(Repository { places: Places::of(reference, access, report)?, store: None })
    }

    /// Of several processes that want the same image one fetches its configuration, as with layers.
    pub fn keeping_in(self, store: &Store) -> Repository {
        Repository { store: Some(store.clone()), ..self }
    }

    /// The image that the reference names.
    pub fn image(&self, reference: &Reference, wanted: Option<&Platform>) -> Result<Resolved> {
        let (top, answer) = self.top(reference)?;
        let digest = top.digest.clone();
        Ok(Resolved { image: fetch::resolve(self, top, answer.bytes, wanted)?, digest })
    }

    /// The digest that the reference leads to now.
    pub fn digest(&self, reference: &Reference) -> Result<Digest> {
        Ok(self.top(reference)?.0.digest)
    }

    /// The manifest or the index that the reference itself names.
    fn top(&self, reference: &Reference) -> Result<(Descriptor, Answer)> {
        let answer = self.places.small(&manifest_of(&reference.version.bare()), manifest::MAX_BYTES)?;
        let top = Descriptor::of(answer.media_type.as_deref().unwrap_or_default(), &answer.bytes);
        if let Version::Digest(digest) = &reference.version {
            blob::check_digest(digest, &top.digest).context("manifest")?;
        }
        // A proxy that has its own idea of the content must not go unnoticed.
        if let Some(announced) = &answer.digest
            && announced.starts_with("sha256:")
            && *announced != top.digest.to_string()
        {
            bail!("manifest: digest mismatch: content is {}, announced as {announced}", top.digest);
        }
        Ok((top, answer))
    }
}

fn manifest_of(version: &dyn std::fmt::Display) -> Resource {
    Resource { name: format!("manifests/{version}"), accept: ACCEPTED.join(", ") }
}
