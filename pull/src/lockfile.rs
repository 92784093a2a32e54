//! `pull lock FILE`: which digest each name led to, so that it leads there for ever; `--locked FILE` reads it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use stage::{Codes, Durability, Explain};

use crate::cli::{Network, Telling};
use crate::digest::Digest;
use crate::interrupt;
use crate::reference::{Reference, Version};
use crate::source::registry::Repository;
use crate::store::Store;

/// The file, as it is on disk: for people to read and to keep under version control.
#[derive(Debug, Serialize, Deserialize)]
pub struct LockFile {
    /// The version of this format.
    #[serde(rename = "gocker-lock")]
    version: u32,
    /// Complete names, each with the digest of its manifest or index.
    images: BTreeMap<String, Digest>,
}

const VERSION: u32 = 1;

/// Asks the registries what each name leads to now, and writes that down. Without names: those in the store.
pub fn run(
    store: &Store,
    file: &Path,
    names: &[String],
    (telling, network): (&Telling, &Network),
) -> Result<u8> {
    let mut references = Vec::new();
    for name in names {
        let parsed = name.parse::<Reference>();
        references.push(parsed.with_context(|| format!("cannot lock {name}")).code(Codes::USAGE)?);
    }
    if names.is_empty() {
        references.extend(store.all_names()?.into_iter().map(|(name, _)| name).filter(Reference::has_tag));
    }
    interrupt::watch()?;
    let report = telling.report();
    let mut lock = LockFile { version: VERSION, images: BTreeMap::new() };
    for reference in references {
        let digest = match &reference.version {
            Version::Digest(digest) => digest.clone(),
            Version::Tag(_) => Repository::of(&reference, &network.access(), &report)
                .and_then(|repository| repository.digest(&reference))
                .with_context(|| format!("cannot lock {}", reference.familiar()))?,
        };
        report.say(&format!("{}: {digest}", reference.familiar()));
        lock.images.insert(reference.to_string(), digest);
    }
    let mut text = serde_json::to_string_pretty(&lock)?;
    text.push('\n');
    std::path::absolute(file)
        .context("cannot find the current directory")
        .and_then(|file| stage::replace_file(&file, text.as_bytes(), Durability::Durable))?;
    Ok(0)
}

impl LockFile {
    pub fn read(file: &Path) -> Result<LockFile> {
        let context = || format!("cannot read lock file {}", file.display());
        let lock: LockFile =
            serde_json::from_slice(&std::fs::read(file).with_context(context)?).with_context(context)?;
        if lock.version != VERSION {
            bail!("cannot read lock file {}: its version is {}, not {VERSION}", file.display(), lock.version);
        }
        Ok(lock)
    }

    /// The same repository at the digest that was written down.
    ///
    /// # Errors
    /// The name is not in the file, or it says another digest itself.
    pub fn pinned(&self, reference: &Reference) -> Result<Reference> {
        let digest = match &reference.version {
            Version::Tag(_) => self.images.get(&reference.to_string()),
            Version::Digest(digest) => self.images.values().find(|known| *known == digest),
        };
        match digest {
            Some(digest) => Ok(reference.at(digest.clone())),
            None => Err(anyhow!("it is not in the lock file")).hint("pull lock FILE NAME... writes one"),
        }
    }
}
