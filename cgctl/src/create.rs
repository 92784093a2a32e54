//! No verb: makes the group and sets its limits.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;
use stage::{Document, Section, Undo};

use crate::cli::Create;
use crate::group::CgroupPath;
use crate::hierarchy::{self, Hierarchy, Version};
use crate::limits::SwapIs;
use crate::record::Records;
use crate::resources::Resources;
use crate::settings::{Setting, settings};
use crate::{apply, dirs, missing};

/// The section "cgroup".
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup<'a> {
    version: u8,
    cgroups_path: &'a str,
    /// By controller; `""` on v2.
    paths: BTreeMap<&'a str, PathBuf>,
    resources: &'a Resources,
}

pub fn command(records: &Records, wanted: &Create) -> Result<()> {
    let (mut resources, swap_is) = wanted.limits.resources(rustix::param::page_size() as u64)?;
    let mut document = Document::from_stdin()?;
    document.vacant(Section::Cgroup)?;
    let id = document.identify(wanted.id.clone())?;
    stage::need_root()?;
    let (version, hierarchies) = hierarchy::ours()?;
    let settings = settings(version, &resources, swap_is);
    let controllers = missing::controllers(version, &hierarchies, &settings)?;
    stage::signals::hold()?;
    stage::undoable(|undo: &mut Undo| {
        let group = records.claim(&id, undo)?;
        for hierarchy in &hierarchies {
            dirs::make(hierarchy, &group, &controllers, undo)?;
        }
        if !limit(version, &hierarchies, &group, &settings)? && swap_is == SwapIs::Implied {
            forget_swap(&mut resources);
        }
        let paths = paths(&hierarchies, &group);
        let section =
            Cgroup { version: version.number(), cgroups_path: group.as_str(), paths, resources: &resources };
        document.add(Section::Cgroup, &section)?;
        document.write()
    })
}

/// Sets each limit in the hierarchy that has its controller. Whether all could be set.
fn limit(
    version: Version,
    hierarchies: &[Hierarchy],
    group: &CgroupPath,
    settings: &[Setting],
) -> Result<bool> {
    let mut all = true;
    for setting in settings {
        let has = |one: &&Hierarchy| version == Version::V2 || one.has(setting.controller);
        match hierarchies.iter().find(has) {
            Some(hierarchy) => all &= apply::apply(&group.below(&hierarchy.mount), setting)?,
            None => all = false,
        }
    }
    Ok(all)
}

/// The document holds facts: this limit was not set.
fn forget_swap(resources: &mut Resources) {
    if let Some(memory) = &mut resources.memory {
        memory.swap = None;
    }
}

fn paths<'a>(hierarchies: &'a [Hierarchy], group: &CgroupPath) -> BTreeMap<&'a str, PathBuf> {
    let all =
        hierarchies.iter().flat_map(|one| one.keys().into_iter().map(|key| (key, group.below(&one.mount))));
    all.collect()
}
