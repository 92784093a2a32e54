//! `pull fsck`: looks whether everything in the store is what it was when it was put there, and fetches again what is
//! not.
//!
//! A layer is unpacked a second time, beside the first, and the two are compared; where they differ the new one takes
//! the place of the old.

mod compare;

use std::collections::BTreeMap;
use std::fs::File;

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use serde_json::Value;

use crate::blob::{Stream, Verified};
use crate::cli::{Network, Telling, Terms};
use crate::digest::Digest;
use crate::fetch::{Blobs, Job};
use crate::garbage::Garbage;
use crate::image::Layer;
use crate::manifest::Descriptor;
use crate::obtain;
use crate::reference::Reference;
use crate::registry::Access;
use crate::report::Report;
use crate::source::registry::Repository;
use crate::source::rootfs::Tarring;
use crate::store::{Store, remove_file};

/// Whether what is wrong is put right.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Repair,
    Show,
}

/// What was found.
#[derive(Default, Serialize)]
struct Findings {
    images: usize,
    layers: usize,
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct Problem {
    kind: &'static str,
    /// An id, a name, a digest or a diffID.
    what: String,
    problem: String,
    repaired: bool,
    /// Why it could not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Looks at everything, and prints a JSON object. 1 if something wrong is left.
pub fn run(store: &Store, mode: Mode, terms: &Terms, (telling, network): (&Telling, &Network)) -> Result<u8> {
    let mut findings = Findings::default();
    if store.images().exists() {
        let report = telling.report();
        let check = Check { store, mode, rules: terms.rules(), access: network.access(), report };
        obtain::at_work(store, || check.everything(&mut findings))?;
    }
    stage::print_json(&findings)?;
    Ok(u8::from(findings.problems.iter().any(|problem| !problem.repaired)))
}

struct Check<'a> {
    store: &'a Store,
    mode: Mode,
    rules: crate::layer::Rules,
    access: Access,
    report: Report,
}

impl Check<'_> {
    fn everything(&self, findings: &mut Findings) -> Result<()> {
        let mut layers: BTreeMap<Digest, (Layer, Vec<Reference>)> = BTreeMap::new();
        for id in self.store.ids()? {
            findings.images += 1;
            let names = self.store.names_of(&id)?;
            self.image(&id, &names, findings)?;
            // One that is still broken has been told of.
            let Ok(Some(record)) = self.store.record(&id) else { continue };
            for layer in record.layers {
                let known = layers.entry(layer.diff_id.clone()).or_insert_with(|| (layer, Vec::new()));
                known.1.extend(names.iter().cloned());
            }
        }
        self.names(findings)?;
        for (layer, names) in layers.values() {
            findings.layers += 1;
            self.report.say(&format!("{}: checking", layer.diff_id.short()));
            self.layer(layer, names, findings)?;
        }
        Ok(())
    }

    /// Record, manifest and configuration.
    fn image(&self, id: &Digest, names: &[Reference], findings: &mut Findings) -> Result<()> {
        let Err(error) = self.record(id) else { return Ok(()) };
        let repaired = self.repair(|| self.image_again(id, names));
        findings.add("image", id.to_string(), &error, repaired.as_ref());
        Ok(())
    }

    fn record(&self, id: &Digest) -> Result<()> {
        let Some(record) = self.store.record(id)? else { bail!("its record is gone") };
        for what in [&record.manifest, &record.config] {
            self.blob(what)?;
        }
        // The record has the configuration on one line; the blob is the original.
        let original: Value = serde_json::from_slice(&std::fs::read(self.store.blob(id))?)?;
        if record.config.digest != *id || serde_json::from_str::<Value>(record.spec.get())? != original {
            bail!("its record is not that of the configuration");
        }
        Ok(())
    }

    /// A blob's digest and size.
    fn blob(&self, what: &Descriptor) -> Result<()> {
        let path = self.store.blob(&what.digest);
        let file = File::open(&path).with_context(|| format!("blob {}: open", what.digest))?;
        let checked = Verified::new(Box::new(file), Some(what.clone())).finish();
        checked.with_context(|| format!("blob {}", what.digest))
    }

    fn image_again(&self, id: &Digest, names: &[Reference]) -> Result<()> {
        let mut last = anyhow!("it has no name to fetch it by");
        for name in names {
            // By digest it can only be the same image; a tag may have gone on to another.
            let fetched = Repository::of(name, &self.access, &self.report)
                .and_then(|repository| repository.image(name, None));
            match fetched {
                Ok(found) if found.image.record.config.digest == *id => {
                    let _lock = self.store.lock()?;
                    return self.store.save(&found.image, &[]);
                }
                Ok(_) => last = anyhow!("{} is another image now", name.familiar()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Names that lead nowhere.
    fn names(&self, findings: &mut Findings) -> Result<()> {
        for (name, id) in self.store.all_names()? {
            if std::fs::symlink_metadata(self.store.record_path(&id)).is_err() {
                let repaired = self.repair(|| {
                    let _lock = self.store.lock()?;
                    self.store.remove_name(&name)
                });
                findings.add("name", name.to_string(), &anyhow!("there is no image {id}"), repaired.as_ref());
            }
        }
        Ok(())
    }

    fn layer(&self, layer: &Layer, names: &[Reference], findings: &mut Findings) -> Result<()> {
        let path = self.store.layer(&layer.diff_id);
        let made_here = layer.digest == layer.diff_id && !self.store.blob(&layer.digest).exists();
        if made_here && path.exists() && self.is_own_tar(layer) {
            return Ok(());
        }
        if let Err(error) = self.blob(&layer.descriptor()) {
            let repaired = self.repair(|| self.layer_again(layer, names));
            findings.add("blob", layer.digest.to_string(), &error, repaired.as_ref());
            return Ok(());
        }
        let difference = match path.exists() {
            true => self.store.rehearse(&layer.diff_id, |again| {
                let local = Job { blobs: &Nowhere, ..self.job() };
                local.unpack_again(layer, again)?;
                compare::difference(again, &path)
            })?,
            false => Some("it is gone".to_owned()),
        };
        if let Some(difference) = difference {
            let repaired = self.repair(|| self.layer_again(layer, names));
            findings.add("layer", layer.diff_id.to_string(), &anyhow!(difference), repaired.as_ref());
        }
        Ok(())
    }

    /// Whether a layer that was made of a directory gives the same tar stream still.
    fn is_own_tar(&self, layer: &Layer) -> bool {
        let stream = Tarring::start(&self.store.layer(&layer.diff_id));
        let check = |stream: Tarring| Verified::new(Box::new(stream), Some(layer.descriptor())).finish();
        stream.and_then(check).is_ok()
    }

    fn layer_again(&self, layer: &Layer, names: &[Reference]) -> Result<()> {
        Garbage { layers: vec![layer.diff_id.clone()], blobs: Vec::new() }.check_unused()?;
        let whole = self.blob(&layer.descriptor()).is_ok();
        if !whole {
            remove_file(&self.store.blob(&layer.digest))?;
        }
        let mut last = anyhow!("it has no name to fetch it by");
        let repositories = names.iter().map(|name| Repository::of(name, &self.access, &self.report));
        let sources =
            repositories.map(|repository| repository.map(|found| Box::new(found) as Box<dyn Blobs>));
        let local = whole.then(|| Ok(Box::new(Nowhere) as Box<dyn Blobs>));
        for source in local.into_iter().chain(sources) {
            let source = source?;
            match (Job { blobs: &*source, ..self.job() }).replace(layer) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn job(&self) -> Job<'_> {
        Job { store: self.store, blobs: &Nowhere, rules: &self.rules, report: &self.report }
    }

    /// `None` if nothing is to be put right.
    fn repair(&self, work: impl FnOnce() -> Result<()>) -> Option<Result<()>> {
        (self.mode == Mode::Repair).then(work)
    }
}

impl Findings {
    fn add(
        &mut self,
        kind: &'static str,
        what: String,
        problem: &anyhow::Error,
        repaired: Option<&Result<()>>,
    ) {
        let error = repaired.as_ref().and_then(|done| done.as_ref().err()).map(|error| format!("{error:#}"));
        let repaired = matches!(repaired, Some(Ok(())));
        self.problems.push(Problem { kind, what, problem: format!("{problem:#}"), repaired, error });
    }
}

/// Where nothing is fetched: what is here must do.
struct Nowhere;

impl Blobs for Nowhere {
    fn blob(&self, what: &Descriptor, _from: u64) -> Result<Stream> {
        bail!("blob {} is not here", what.digest)
    }

    /// What is here stays.
    fn resumes(&self) -> bool {
        true
    }
}
