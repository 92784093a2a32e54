//! `pause` and `resume`: the container's cgroup is frozen, and thawed.

use anyhow::{Context, Result, bail};

use super::cgroup::{self, Ask};
use super::find;
use crate::record::{State, StateRoot};
use crate::status::{self, Status};

pub fn pause(roots: &StateRoot, id: &str) -> Result<()> {
    let (record, state) = find(roots, id, "pause")?;
    match Status::of(&record, &state)? {
        Status::Created | Status::Running => cgroup::ask(cgroups_path(&state)?, Ask::Freeze).map(drop),
        status => bail!("cannot pause container {id}: it is {status}"),
    }
}

pub fn resume(roots: &StateRoot, id: &str) -> Result<()> {
    let (record, state) = find(roots, id, "resume")?;
    match Status::of(&record, &state)? {
        // A created one does not say whether it is frozen.
        Status::Paused | Status::Created => cgroup::ask(cgroups_path(&state)?, Ask::Thaw).map(drop),
        status => bail!("cannot resume container {id}: it is {status}"),
    }
}

/// Where the cgroup is that goes with the container.
pub fn cgroups_path(state: &State) -> Result<&std::path::Path> {
    let own = state.bundle.as_ref().map(|bundle| bundle.cgroups_path.as_path());
    own.or(state.cgroup.as_ref().map(|cgroup| cgroup.cgroups_path.as_path()))
        .with_context(|| format!("container {} has no cgroup of its own", state.id))
}

/// What has been killed while it was frozen dies when it is thawed (on v1; on v2 it needs no help).
pub fn thaw_to_die(state: &State) -> Result<()> {
    match state.cgroup.as_ref().is_some_and(status::is_frozen) {
        true => cgroup::ask(cgroups_path(state)?, Ask::Thaw).map(drop),
        false => Ok(()),
    }
}
