//! `create`, and no verb: makes the group and sets its limits.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;
use stage::{Document, Id, Section, Undo};

use crate::cli::Create;
use crate::dirs::{self, Existing};
use crate::group::CgroupPath;
use crate::hierarchy::{self, Hierarchy};
use crate::limits::{SwapFollows, SwapIs};
use crate::record::Records;
use crate::resources::Resources;
use crate::settings::{Settings, settings};
use crate::target::CgroupsPath;
use crate::{limit, missing, systemd};

/// The section "cgroup".
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup<'a> {
    version: u8,
    cgroups_path: &'a str,
    /// By controller; `""` on v2.
    paths: BTreeMap<&'a str, PathBuf>,
    /// Where systemd manages the cgroups: its unit in which the group is.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    resources: &'a Resources,
}

/// What the new group is named after.
enum Name {
    Id(Id),
    Path(CgroupPath),
}

pub fn command(records: &Records, wanted: &Create) -> Result<()> {
    let (mut resources, swap_is) =
        wanted.limits.resources(rustix::param::page_size() as u64, SwapFollows::Memory)?;
    let mut document = if wanted.limits.reads_stdin() { Document::new()? } else { Document::from_stdin()? };
    document.vacant(Section::Cgroup)?;
    let name = name(&mut document, wanted.id.as_ref(), wanted.cgroups_path.as_ref())?;
    stage::need_root()?;
    let (version, hierarchies) = hierarchy::ours()?;
    let settings = settings(version, &resources, swap_is)?;
    let controllers = missing::controllers(version, &hierarchies, &settings)?;
    let hierarchies = joined(hierarchies, &name, &settings);
    stage::signals::hold()?;
    stage::undoable(|undo: &mut Undo| {
        let (claim, group, existing) = match &name {
            Name::Id(id) => {
                let claim = records.claim(id, undo)?;
                let group = claim.group.clone();
                (Some(claim), group, Existing::Refused)
            }
            Name::Path(path) => (None, path.clone(), Existing::TakenIfEmpty),
        };
        let delegated = systemd::is_delegated(&group);
        let _unit_stays = if delegated { Some(hold_unit(&hierarchies, undo)?) } else { None };
        for hierarchy in &hierarchies {
            dirs::make(hierarchy, &group, &controllers, existing, undo)?;
        }
        let all = limit::limit(&hierarchies, &group, &settings)?;
        if !all && swap_is == SwapIs::Implied {
            forget_swap(&mut resources);
        }
        let paths = paths(&hierarchies, &group);
        let section = Cgroup {
            version: version.number(),
            cgroups_path: group.as_str(),
            paths,
            unit: delegated.then_some(systemd::UNIT),
            resources: &resources,
        };
        document.add(Section::Cgroup, &section)?;
        claim.map_or(Ok(()), |claim| claim.complete(undo))?;
        document.write()
    })
}

/// The unit stops again when the group that it was started for is not made after all.
fn hold_unit(hierarchies: &[Hierarchy], undo: &mut Undo) -> Result<File> {
    let of = hierarchies.to_vec();
    undo.push(move || systemd::release(&of));
    systemd::hold(hierarchies)
}

fn name(document: &mut Document, id: Option<&Id>, path: Option<&CgroupsPath>) -> Result<Name> {
    match path {
        Some(path) => Ok(Name::Path(path.resolve()?)),
        None => Ok(Name::Id(document.identify(id.cloned())?)),
    }
}

/// The hierarchies that the group shall be in: an engine's group in all, as it may be told to change any limit later.
fn joined(hierarchies: Vec<Hierarchy>, name: &Name, settings: &Settings) -> Vec<Hierarchy> {
    let joined =
        |one: &Hierarchy| matches!(name, Name::Path(_)) || one.is_always_used() || settings.need(one);
    hierarchies.into_iter().filter(joined).collect()
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
