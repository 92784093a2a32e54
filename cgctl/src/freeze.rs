//! `freeze` and `thaw`: stops every process of a group where it is, and lets it go on.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use stage::Explain;

use crate::group::CgroupPath;
use crate::hierarchy::{self, Hierarchy, Version};
use crate::{events, processes};

/// A process that does not stop in this time waits for hardware.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Frozen,
    Thawed,
}

pub fn command(group: &CgroupPath, state: State) -> Result<()> {
    stage::need_root()?;
    let (_, hierarchies) = hierarchy::ours()?;
    let freezes = |one: &&Hierarchy| one.version == Version::V2 || one.has("freezer");
    let Some(hierarchy) = hierarchies.iter().find(freezes) else {
        return Err(anyhow!("cannot freeze {group}: cgroup v1: there is no freezer controller"))
            .hint("mount -t cgroup -o freezer cgroup /sys/fs/cgroup/freezer, once that directory is there");
    };
    let dir = group.below(&hierarchy.mount);
    if !dir.exists() {
        return Err(anyhow!("cannot freeze {group}: there is no such cgroup"))
            .hint("cgctl ls lists what there is");
    }
    if state == State::Frozen {
        processes::spare_ourselves(&hierarchies, group, "freeze")?;
    }
    match hierarchy.version {
        Version::V1 => set_v1(&dir, state),
        Version::V2 => set_v2(&dir, state),
    }
}

/// cgroup.events tells when the last process has stopped (cgroup-v2.rst, cgroup.freeze).
fn set_v2(dir: &Path, state: State) -> Result<()> {
    let (value, line) = match state {
        State::Frozen => ("1", "frozen 1"),
        State::Thawed => ("0", "frozen 0"),
    };
    write(&dir.join("cgroup.freeze"), value)?;
    if events::wait_for(dir, line, Some(PATIENCE))? {
        return Ok(());
    }
    write(&dir.join("cgroup.freeze"), "0")?;
    bail!("{}", stubborn(dir))
}

/// freezer.state is FREEZING until the last process has stopped, and no event tells; reading it makes the kernel look
/// again (cgroup-v1/freezer-subsystem.rst).
fn set_v1(dir: &Path, state: State) -> Result<()> {
    let file = dir.join("freezer.state");
    let value = match state {
        State::Frozen => "FROZEN",
        State::Thawed => "THAWED",
    };
    let deadline = Instant::now() + PATIENCE;
    write(&file, value)?;
    loop {
        let now =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        if now.trim_end() == value {
            return Ok(());
        }
        if Instant::now() > deadline {
            write(&file, "THAWED")?;
            bail!("{}", stubborn(dir));
        }
        events::pause(events::SHORT)?;
        // One that was forked meanwhile is frozen by writing once more.
        std::fs::write(&file, value).with_context(|| format!("cannot write {}", file.display()))?;
    }
}

fn write(file: &Path, value: &str) -> Result<()> {
    stage::shell(&["echo", value, ">", &file.to_string_lossy()]);
    std::fs::write(file, value).with_context(|| format!("cannot set {} to {value}: write", file.display()))
}

fn stubborn(dir: &Path) -> String {
    let pids = processes::of(dir);
    format!(
        "cannot freeze {}: {} after {} s, not all of which can be stopped",
        dir.display(),
        processes::describe(&pids),
        PATIENCE.as_secs()
    )
}
