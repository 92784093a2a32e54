//! `gc`: removes what a cgctl that was killed has left half made or half removed.

use anyhow::Result;
use stage::{Explain, Id};

use crate::hierarchy::{self, Hierarchy};
use crate::processes;
use crate::record::Records;
use crate::takedown;

/// Prints the ids of what was removed. A whole group stays, whether or not somebody is in it: its container may be
/// about to start.
pub fn command(records: &Records) -> Result<()> {
    stage::need_root()?;
    let Some(_nobody_makes_one) = records.lock_alone()? else { return stage::print_json(&[(); 0]) };
    stage::signals::hold()?;
    let hierarchies = hierarchy::all()?;
    let mut removed: Vec<Id> = Vec::new();
    let mut failures = Vec::new();
    for id in records.ids() {
        if !is_left(records, &hierarchies, &id) {
            continue;
        }
        match takedown::take_down(records, &hierarchies, &id) {
            Ok(()) => removed.push(id),
            Err(error) => failures.push(error),
        }
    }
    stage::print_json(&removed)?;
    let mut failures = failures.into_iter();
    match failures.next() {
        None => Ok(()),
        Some(first) => Err(first).left(failures.map(|error| format!("{error:#}")).collect()),
    }
}

/// It was never finished, or is not in every hierarchy any more; and nobody is in it.
fn is_left(records: &Records, hierarchies: &[Hierarchy], id: &Id) -> bool {
    let group = records.group(id);
    let dirs = |one: &Hierarchy| group.below(&one.mount);
    let missing = || match hierarchy::ours() {
        Ok((_, used)) => used.iter().filter(|one| one.is_always_used()).any(|one| !dirs(one).exists()),
        Err(_) => false,
    };
    (!records.is_complete(id) || missing())
        && hierarchies.iter().all(|one| processes::of(&dirs(one)).is_empty())
}
