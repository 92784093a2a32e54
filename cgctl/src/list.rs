//! `ls`: the groups on this host now.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Serialize;
use stage::Id;

use crate::group::CgroupPath;
use crate::hierarchy::{self, Hierarchy};
use crate::processes;
use crate::record::Records;
use crate::target::Target;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Id>,
    cgroups_path: String,
    /// How many processes are in it. A broken or half-made group has none.
    processes: usize,
    pids: BTreeSet<i32>,
}

pub fn command(records: &Records, target: Option<&Target>) -> Result<()> {
    let hierarchies = hierarchy::all().unwrap_or_default();
    if let Some(target) = target {
        let group = records.target(target)?;
        let there = hierarchies.iter().any(|one| group.below(&one.mount).exists());
        let entries = there.then(|| entry(&group, target.id.clone(), &hierarchies));
        return stage::print_json(&entries.into_iter().collect::<Vec<_>>());
    }
    let entries: Vec<Entry> = ids(records, &hierarchies)
        .into_iter()
        .map(|id| entry(&records.group(&id), Some(id), &hierarchies))
        .collect();
    stage::print_json(&entries)
}

/// Those that are written down, and those below today's parent.
pub fn ids(records: &Records, hierarchies: &[Hierarchy]) -> BTreeSet<Id> {
    let mut ids = records.ids();
    ids.extend(hierarchies.iter().flat_map(|one| unrecorded(one, records.parent())));
    ids
}

/// Groups that are named after an id.
fn unrecorded(hierarchy: &Hierarchy, parent: &CgroupPath) -> impl Iterator<Item = Id> {
    let entries = std::fs::read_dir(parent.below(&hierarchy.mount)).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn entry(group: &CgroupPath, id: Option<Id>, hierarchies: &[Hierarchy]) -> Entry {
    let pids: BTreeSet<i32> =
        hierarchies.iter().flat_map(|one| processes::of(&group.below(&one.mount))).collect();
    Entry { id, cgroups_path: group.to_string(), processes: pids.len(), pids }
}
