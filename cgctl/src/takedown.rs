//! `undo`: removes a group from every hierarchy, whatever of it is there.

use anyhow::{Result, anyhow};
use clap::Args;
use stage::{Explain, Id};

use crate::group::CgroupPath;
use crate::hierarchy::{self, Hierarchy};
use crate::record::Records;
use crate::target::Target;
use crate::{dirs, kill, processes, stat, systemd};

#[derive(Args, Clone, Copy, Debug)]
pub struct How {
    /// Kill the processes in it first
    #[arg(long)]
    pub kill: bool,
    /// Print its last figures, as `stat` does
    #[arg(long)]
    pub stat: bool,
}

pub fn command(records: &Records, target: &Target, how: How) -> Result<()> {
    stage::need_root()?;
    // Not only those in which a group would be made now: what is mounted may have changed.
    let hierarchies = hierarchy::all()?;
    let group = records.target(target)?;
    stage::signals::hold()?;
    if how.kill {
        kill::kill(&hierarchies, &group)?;
    } else {
        vacant(&hierarchies, &group)?;
    }
    // As late as possible, so that nothing of its life is missing.
    let figures = if how.stat { stat::figures(&hierarchies, &group, target.id.as_ref()) } else { None };
    remove(&hierarchies, &group)?;
    if let Some(id) = &target.id {
        records.remove(id)?;
    }
    figures.map_or(Ok(()), |figures| stage::print_json(&figures))
}

/// Removes a group in which nobody is, and its record.
pub fn take_down(records: &Records, hierarchies: &[Hierarchy], id: &Id) -> Result<()> {
    remove(hierarchies, &records.group(id))?;
    records.remove(id)
}

/// # Errors
/// Somebody is in the group, in any hierarchy.
fn vacant(hierarchies: &[Hierarchy], group: &CgroupPath) -> Result<()> {
    for hierarchy in hierarchies {
        let dir = group.below(&hierarchy.mount);
        let pids = processes::of(&dir);
        if !pids.is_empty() {
            return Err(anyhow!("cannot remove cgroup {}: {}", dir.display(), processes::describe(&pids)))
                .hint("cgctl undo --kill kills them first");
        }
    }
    Ok(())
}

/// Goes on in the other hierarchies when one fails.
fn remove(hierarchies: &[Hierarchy], group: &CgroupPath) -> Result<()> {
    let mut failures =
        hierarchies.iter().filter_map(|one| dirs::remove(one, group).err()).collect::<Vec<_>>().into_iter();
    match failures.next() {
        None if systemd::is_delegated(group) => systemd::release(hierarchies),
        None => Ok(()),
        Some(first) => Err(first).left(failures.map(|error| format!("{error:#}")).collect()),
    }
}
