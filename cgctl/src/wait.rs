//! `wait`: until nobody is in a group, nor in the groups inside.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use stage::Explain;

use crate::group::CgroupPath;
use crate::hierarchy::{self, Hierarchy, Version};
use crate::record::Records;
use crate::target::Target;
use crate::{events, kill, processes, stat};

pub fn command(records: &Records, target: &Target) -> Result<()> {
    let group = records.target(target)?;
    let (version, hierarchies) = hierarchy::ours()?;
    if !hierarchies.iter().any(|one| group.below(&one.mount).exists()) {
        return Err(anyhow!("cannot wait for {group}: there is no such cgroup"))
            .hint("cgctl ls lists what there is");
    }
    match version {
        Version::V1 => wait_v1(&hierarchies, &group)?,
        Version::V2 => {
            events::wait_for(&group.below(&hierarchies[0].mount), "populated 0", None).map(drop)?
        }
    }
    // Removed by now, it has no figures any more.
    match stat::figures(&hierarchies, &group, target.id.as_ref()) {
        Some(figures) => stage::print_json(&figures),
        None => Ok(()),
    }
}

/// Without such an event the end of each process is waited for. Those that came meanwhile are waited for next.
fn wait_v1(hierarchies: &[Hierarchy], group: &CgroupPath) -> Result<()> {
    let dirs: Vec<PathBuf> = hierarchies.iter().map(|one| group.below(&one.mount)).collect();
    loop {
        let pids: BTreeSet<i32> = dirs.iter().flat_map(|dir| processes::of(dir)).collect();
        if pids.is_empty() {
            return Ok(());
        }
        let fds =
            pids.into_iter().filter_map(|pid| kill::open(pid).transpose()).collect::<Result<Vec<_>>>()?;
        if fds.is_empty() {
            // Ended, and not yet out of the group.
            events::pause(events::SHORT)?;
        }
        events::wait_for_ends(&fds, None)?;
    }
}
