//! An image of a registry (distribution-spec, pull).

use anyhow::{Context, Result, bail};

use crate::blob::{self, Stream};
use crate::digest::Digest;
use crate::fetch::{self, Blobs};
use crate::image::Image;
use crate::manifest::{self, ACCEPTED, Descriptor};
use crate::platform::Platform;
use crate::reference::{Reference, Version};
use crate::registry::{Access, Client};

/// One repository of a registry.
pub struct Repository {
    client: Client,
    path: String,
}

/// What a reference led to.
pub struct Resolved {
    pub image: Image,
    /// Of the manifest or the index that the reference itself names.
    pub digest: Digest,
}

impl Blobs for Repository {
    fn blob(&self, what: &Descriptor) -> Result<Stream> {
        Ok(Box::new(self.client.stream(&format!("/v2/{}/blobs/{}", self.path, what.digest), &[])?))
    }

    fn manifest(&self, what: &Descriptor) -> Result<Stream> {
        Ok(Box::new(self.client.stream(&format!("/v2/{}/manifests/{}", self.path, what.digest), &ACCEPTED)?))
    }
}

impl Repository {
    /// Connects to nothing yet.
    pub fn of(reference: &Reference, access: &Access) -> Result<Repository> {
        Ok(Repository { client: Client::new(reference, access)?, path: reference.path.clone() })
    }

    /// The image that the reference names.
    pub fn image(&self, reference: &Reference, wanted: Option<&Platform>) -> Result<Resolved> {
        let version = match &reference.version {
            Version::Tag(tag) => tag.clone(),
            Version::Digest(digest) => digest.to_string(),
        };
        let path = format!("/v2/{}/manifests/{version}", self.path);
        let answer = self.client.small(&path, &ACCEPTED, manifest::MAX_BYTES)?;
        let top = Descriptor::of(answer.media_type.as_deref().unwrap_or_default(), &answer.bytes);
        if let Version::Digest(digest) = &reference.version {
            blob::check_digest(digest, &top.digest).context("manifest")?;
        }
        // A proxy that has its own idea of the content must not go unnoticed.
        if let Some(announced) = answer.digest
            && announced.starts_with("sha256:")
            && announced != top.digest.to_string()
        {
            bail!("manifest: digest mismatch: content is {}, announced as {announced}", top.digest);
        }
        let digest = top.digest.clone();
        Ok(Resolved { image: fetch::resolve(self, top, answer.bytes, wanted)?, digest })
    }
}
