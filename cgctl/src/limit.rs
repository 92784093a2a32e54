//! Sets limits of a group that is there.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use stage::{Explain, Undo};

use crate::group::CgroupPath;
use crate::hierarchy::{self, Hierarchy, Version};
use crate::limits::{Limits, SwapFollows};
use crate::settings::Settings;
use crate::settings::{Setting, settings};
use crate::{apply, devices, missing, subtree};

/// `set`: changes limits; those that are not named stay.
pub fn command(group: &CgroupPath, limits: &Limits) -> Result<()> {
    let (resources, swap_is) = limits.resources(rustix::param::page_size() as u64, SwapFollows::Nothing)?;
    stage::need_root()?;
    let (version, all) = hierarchy::ours()?;
    let settings = settings(version, &resources, swap_is)?;
    let controllers = missing::controllers(version, &all, &settings)?;
    let hierarchies: Vec<_> = all.into_iter().filter(|one| group.below(&one.mount).exists()).collect();
    if hierarchies.is_empty() {
        return Err(anyhow!("cannot limit {group}: there is no such cgroup"))
            .hint("cgctl ls lists what there is");
    }
    stage::signals::hold()?;
    if version == Version::V2 {
        subtree::hand_down(&hierarchies[0].mount, group, &controllers)?;
    }
    stage::undoable(|undo: &mut Undo| {
        for (dir, setting) in placed(&hierarchies, group, &settings)? {
            remember(&dir.join(&*setting.file), setting, undo);
        }
        limit(&hierarchies, group, &settings).map(drop)
    })
}

/// Sets each limit in the hierarchy that has its controller. Whether all could be set.
pub fn limit(hierarchies: &[Hierarchy], group: &CgroupPath, settings: &Settings) -> Result<bool> {
    let placed = placed(hierarchies, group, settings)?;
    let all: Vec<_> = placed.iter().map(|(dir, setting)| (dir.as_path(), *setting)).collect();
    let complete = apply::apply_all(&all)? && all.len() == settings.files.len();
    if let Some(rules) = &settings.devices {
        devices::limit(&group.below(&hierarchies[0].mount), rules)?;
    }
    Ok(complete)
}

/// Each value with the directory that has its file. A value that is not needed may have none.
fn placed<'a>(
    hierarchies: &[Hierarchy],
    group: &CgroupPath,
    settings: &'a Settings,
) -> Result<Vec<(PathBuf, &'a Setting)>> {
    let mut placed = Vec::new();
    for setting in &settings.files {
        match hierarchies.iter().find(|one| one.version == Version::V2 || one.has(&setting.controller)) {
            Some(hierarchy) => placed.push((group.below(&hierarchy.mount), setting)),
            // Made in another hierarchy now, it would not be in the document, nor hold what runs already.
            None if setting.needed => {
                let (what, controller) = (setting.what, &setting.controller);
                return Err(anyhow!(
                    "cannot limit {what}: {group} was made without the {controller} controller"
                ))
                .hint("make the group with that limit, any value of it, and change it then");
            }
            None => {}
        }
    }
    Ok(placed)
}

/// The former value comes back if a later one cannot be set. Not so lists of devices, which have no such value: they
/// are set last.
fn remember(file: &std::path::Path, setting: &Setting, undo: &mut Undo) {
    let former = std::fs::read_to_string(file).ok().filter(|text| text.lines().count() == 1);
    let (Some(former), false) = (former, setting.controller == "devices") else { return };
    let file = file.to_owned();
    undo.push(move || {
        std::fs::write(&file, former.trim_end()).with_context(|| format!("cannot restore {}", file.display()))
    });
}
