//! Images in the store: a record for each, by id (the digest of its configuration), and the names that lead to it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stage::{Durability, Lock, make_private_dir, replace_file};

use crate::digest::Digest;
use crate::manifest::{Config, Descriptor};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{Store, listing, remove_file};

/// What is kept of an image: everything that the section says, but for paths and the reference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub manifest: Descriptor,
    pub config: Descriptor,
    pub layers: Vec<Layer>,
    /// The configuration, verbatim.
    pub spec: Box<RawValue>,
}

/// One layer of an image: what it travels as, and what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(rename = "diffID")]
    pub diff_id: Digest,
}

impl Layer {
    /// The descriptor that it is fetched by.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor { media_type: self.media_type.clone(), digest: self.digest.clone(), size: self.size }
    }
}

/// An image that is about to be stored.
pub struct Image {
    pub record: Record,
    pub platform: Platform,
    pub manifest_bytes: Vec<u8>,
    pub config_bytes: Vec<u8>,
}

impl Image {
    /// From a manifest's parts.
    pub fn new(
        manifest: (Descriptor, Vec<u8>),
        config: (Descriptor, Vec<u8>),
        layers: Vec<Descriptor>,
        parsed: Config,
    ) -> Image {
        let layer = |(descriptor, diff_id): (Descriptor, Digest)| Layer {
            media_type: descriptor.media_type,
            digest: descriptor.digest,
            size: descriptor.size,
            diff_id,
        };
        let layers = layers.into_iter().zip(parsed.diff_ids).map(layer).collect();
        Image {
            record: Record { manifest: manifest.0, config: config.0, layers, spec: parsed.spec },
            platform: parsed.platform,
            manifest_bytes: manifest.1,
            config_bytes: config.1,
        }
    }
}

/// An image that was found in the store, and what it is called there.
pub struct Found {
    pub record: Record,
    pub reference: String,
}

impl Record {
    /// What the image runs on.
    pub fn platform(&self) -> Result<Platform> {
        #[derive(Deserialize)]
        struct Runs {
            os: String,
            architecture: String,
            variant: Option<String>,
        }
        let runs: Runs = serde_json::from_str(self.spec.get())?;
        Ok(Platform::new(&runs.os, &runs.architecture, runs.variant.as_deref()))
    }
}

impl Store {
    /// The image that a person means: by name, by id, or by the beginning of its id.
    pub fn find(&self, text: &str) -> Result<Option<Found>> {
        if let Ok(id) = text.parse().or_else(|_| Digest::from_hex(text)) {
            return self.found_by_id(&id);
        }
        if let Ok(reference) = text.parse::<Reference>()
            && let Some(record) = read_record(&self.name_path(&reference))?
        {
            return Ok(Some(Found { record, reference: reference.to_string() }));
        }
        match self.id_of_prefix(text)? {
            Some(id) => self.found_by_id(&id),
            None => Ok(None),
        }
    }

    fn found_by_id(&self, id: &Digest) -> Result<Option<Found>> {
        let Some(record) = self.record(id)? else { return Ok(None) };
        let name = self.names_of(id)?.first().map(Reference::to_string);
        Ok(Some(Found { record, reference: name.unwrap_or_else(|| id.to_string()) }))
    }

    /// The image with this id.
    pub fn record(&self, id: &Digest) -> Result<Option<Record>> {
        read_record(&self.record_path(id))
    }

    /// The record's file.
    pub fn record_path(&self, id: &Digest) -> PathBuf {
        self.images().join(format!("{}.json", id.hex()))
    }

    fn name_path(&self, reference: &Reference) -> PathBuf {
        self.names().join(reference.to_string())
    }

    fn id_of_prefix(&self, prefix: &str) -> Result<Option<Digest>> {
        let prefix = prefix.strip_prefix("sha256:").unwrap_or(prefix);
        if prefix.is_empty() || !prefix.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(None);
        }
        let mut matching = self.ids()?.into_iter().filter(|id| id.hex().starts_with(prefix));
        match (matching.next(), matching.next()) {
            (Some(_), Some(_)) => bail!("cannot find image {prefix}: it is the beginning of several ids"),
            (id, _) => Ok(id),
        }
    }

    /// The ids of all images.
    pub fn ids(&self) -> Result<Vec<Digest>> {
        let names = listing(&self.images())?;
        Ok(names.iter().filter_map(|name| Digest::from_hex(name.strip_suffix(".json")?).ok()).collect())
    }

    /// All names, sorted, each with the id that it leads to.
    pub fn all_names(&self) -> Result<Vec<(Reference, Digest)>> {
        let mut found = Vec::new();
        walk(&self.names(), "", &mut found)?;
        found.sort_unstable();
        Ok(found)
    }

    /// The names that lead to an image, those with a tag first.
    pub fn names_of(&self, id: &Digest) -> Result<Vec<Reference>> {
        let names = self.all_names()?.into_iter().filter(|(_, of)| of == id).map(|(name, _)| name);
        let (tags, digests): (Vec<_>, Vec<_>) = names.partition(Reference::has_tag);
        Ok([tags, digests].concat())
    }

    /// Stores an image under these names. With the store's lock held, and every layer there.
    pub fn save(&self, image: &Image, names: &[Reference]) -> Result<()> {
        let record = &image.record;
        replace_file(&self.blob(&record.manifest.digest), &image.manifest_bytes, Durability::Durable)?;
        replace_file(&self.blob(&record.config.digest), &image.config_bytes, Durability::Durable)?;
        let json = serde_json::to_vec(record)?;
        replace_file(&self.record_path(&record.config.digest), &json, Durability::Durable)?;
        names.iter().try_for_each(|name| self.point(name, &record.config.digest))
    }

    /// Makes `name` lead to the image `id`, whatever it led to. With the store's lock held.
    pub fn point(&self, name: &Reference, id: &Digest) -> Result<()> {
        let path = self.name_path(name);
        let context = || format!("cannot write {}", path.display());
        let parent = path.parent().unwrap_or(&path);
        make_private_dir(parent)?;
        let up = "../".repeat(name.to_string().split('/').count());
        let target = format!("{up}images/{}.json", id.hex());
        let temporary = parent.join(format!(".{}.tmp", std::process::id()));
        let placed =
            std::os::unix::fs::symlink(target, &temporary).and_then(|()| fs::rename(&temporary, &path));
        if placed.is_err() {
            remove_file(&temporary)?;
        }
        placed.and_then(|()| fs::File::open(parent)?.sync_all()).with_context(context)
    }

    /// Removes what killed processes were about to put in the place of a record, a name or a blob. With the store's lock
    /// held.
    pub fn remove_temporary(&self) -> Result<()> {
        let mut dirs = vec![self.images(), self.names(), self.blobs()];
        while let Some(dir) = dirs.pop() {
            for name in listing(&dir)? {
                let path = dir.join(&name);
                if name.ends_with(".tmp") {
                    self.remove_unless_locked(&path, &name)?;
                } else if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
                    dirs.push(path);
                }
            }
        }
        Ok(())
    }

    /// A manifest or a configuration is fetched under its own lock, not the store's: then the file is no killed process'.
    fn remove_unless_locked(&self, path: &Path, name: &str) -> Result<()> {
        let digest = name.split('.').next().and_then(|hex| Digest::from_hex(hex).ok());
        let lock = match digest.filter(|_| path.starts_with(self.blobs())) {
            Some(digest) => match self.try_lock_blob(&digest)? {
                None => return Ok(()),
                lock => lock,
            },
            None => None,
        };
        remove_file(path)?;
        lock.map_or(Ok(()), Lock::remove)
    }

    /// Removes a name, and the directories that have become empty with it. With the store's lock held.
    pub fn remove_name(&self, name: &Reference) -> Result<()> {
        let path = self.name_path(name);
        remove_file(&path)?;
        let (names, mut dir) = (self.names(), path.parent());
        while let Some(empty) = dir.filter(|dir| *dir != names && fs::remove_dir(dir).is_ok()) {
            dir = empty.parent();
        }
        Ok(())
    }

    /// Removes an image's record, manifest and configuration. With the store's lock held.
    pub fn remove_record(&self, record: &Record) -> Result<()> {
        remove_file(&self.record_path(&record.config.digest))?;
        remove_file(&self.blob(&record.config.digest))?;
        remove_file(&self.blob(&record.manifest.digest))
    }
}

fn read_record(path: &Path) -> Result<Option<Record>> {
    let context = || format!("cannot read {}", path.display());
    let bytes = match fs::read(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        bytes => bytes.with_context(context)?,
    };
    serde_json::from_slice(&bytes).with_context(context).map(Some)
}

fn walk(dir: &Path, prefix: &str, found: &mut Vec<(Reference, Digest)>) -> Result<()> {
    for name in listing(dir)? {
        let (path, full) = (dir.join(&name), format!("{prefix}{name}"));
        match fs::read_link(&path) {
            Ok(target) => found.extend(full.parse().ok().zip(id_of(&target))),
            Err(_) if path.is_dir() => walk(&path, &format!("{full}/"), found)?,
            // What is neither was not put there by pull.
            Err(_) => {}
        }
    }
    Ok(())
}

fn id_of(target: &Path) -> Option<Digest> {
    Digest::from_hex(target.file_name()?.to_str()?.strip_suffix(".json")?).ok()
}
