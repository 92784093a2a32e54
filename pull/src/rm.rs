//! `pull rm`: removes names, and with its last name an image and the layers that no other image has.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use stage::Explain;

use crate::digest::Digest;
use crate::garbage::Garbage;
use crate::image::Record;
use crate::reference::Reference;
use crate::store::{Retired, Store};

/// What was done, in the words of docker.
#[derive(Default, Serialize)]
struct Done {
    untagged: Vec<String>,
    /// Ids of images and diffIDs of layers.
    deleted: Vec<String>,
}

/// How much goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Names, and images that have none then.
    Image,
    /// As before, also every name of an image that is given by its id.
    AllNames,
    /// Names alone.
    Names,
}

/// What is to be done: decided for all operands before anything is removed.
#[derive(Default)]
struct Plan {
    names: BTreeSet<Reference>,
    images: Vec<Record>,
}

/// Removes what the operands name, and prints what that was.
pub fn run(store: &Store, operands: &[String], extent: Extent) -> Result<u8> {
    if !store.images().exists() {
        bail!("cannot remove image {}: no such image", operands.join(", "));
    }
    let lock = store.lock()?;
    let mut plan = Plan::default();
    for operand in operands {
        plan.add(store, operand, extent).with_context(|| format!("cannot remove image {operand}"))?;
    }
    if extent == Extent::Names {
        plan.images.clear();
    }
    let garbage = match &plan.images[..] {
        [] => Garbage::default(),
        images => Garbage::without(store, images)?,
    };
    garbage.check_unused()?;
    let mut done = Done::default();
    let retired = plan.carry_out(store, &garbage, &mut done)?;
    drop(lock);
    retired.into_iter().try_for_each(Retired::remove)?;
    stage::print_json(&done)?;
    Ok(0)
}

impl Plan {
    /// Names first: what is left if this is cut short is an image that can be removed by its id, then layers that
    /// the next image with them takes over.
    fn carry_out(&self, store: &Store, garbage: &Garbage, done: &mut Done) -> Result<Vec<Retired>> {
        for name in &self.names {
            stage::shell(&["rm", &store.names().join(name.to_string()).to_string_lossy()]);
            store.remove_name(name)?;
            done.untagged.push(name.to_string());
        }
        for record in &self.images {
            store.remove_record(record)?;
            done.deleted.push(record.config.digest.to_string());
        }
        let retired = garbage.retire(store)?;
        done.deleted.extend(garbage.layers.iter().map(Digest::to_string));
        Ok(retired)
    }

    fn add(&mut self, store: &Store, operand: &str, extent: Extent) -> Result<()> {
        let Some(found) = store.find(operand)? else { bail!("no such image") };
        let names = store.names_of(&found.record.config.digest)?;
        let named = operand.parse::<Reference>().ok().filter(|name| names.contains(name));
        let going = match named {
            Some(name) => going_with(&name, &names, &self.names),
            None if extent == Extent::Image && names.iter().filter(|name| name.has_tag()).count() > 1 => {
                let all: Vec<String> =
                    names.iter().filter(|n| n.has_tag()).map(Reference::familiar).collect();
                return Err(anyhow!("it has several names: {}", all.join(", ")))
                    .hint("remove the names one by one, or all with --force");
            }
            None => names.clone(),
        };
        self.names.extend(going);
        let last = names.iter().all(|name| self.names.contains(name));
        if last && self.images.iter().all(|other| other.config.digest != found.record.config.digest) {
            self.images.push(found.record);
        }
        Ok(())
    }
}

/// The name, and with the last tag of a repository its digests: nobody would see them any more.
fn going_with(name: &Reference, names: &[Reference], gone: &BTreeSet<Reference>) -> Vec<Reference> {
    let same = |other: &&Reference| other.name() == name.name();
    let tag_left = |other: &Reference| other.has_tag() && other != name && !gone.contains(other);
    if !name.has_tag() || names.iter().filter(same).any(tag_left) {
        return vec![name.clone()];
    }
    names.iter().filter(same).cloned().collect()
}
