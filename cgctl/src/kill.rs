//! `kill`: kills everything in a group and waits until nothing is left; or sends another signal.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::group::CgroupPath;
use crate::hierarchy::{self, Hierarchy, Version};
use crate::{events, processes};

/// A process that SIGKILL does not end in this time waits for hardware.
const PATIENCE: Duration = Duration::from_secs(10);

/// Of a group that is not there nobody is left, either.
pub fn command(group: &CgroupPath, signal: Signal) -> Result<()> {
    stage::need_root()?;
    let hierarchies = hierarchy::all()?;
    if signal == Signal::KILL {
        return kill(&hierarchies, group);
    }
    let dirs: Vec<PathBuf> = hierarchies.iter().map(|one| group.below(&one.mount)).collect();
    send(&all(&dirs), signal).map(drop)
}

/// Kills what is in `group`, in any of the hierarchies.
pub fn kill(hierarchies: &[Hierarchy], group: &CgroupPath) -> Result<()> {
    processes::spare_ourselves(hierarchies, group, "kill")?;
    let deadline = Instant::now() + PATIENCE;
    for hierarchy in hierarchies.iter().filter(|one| one.version == Version::V2) {
        kill_v2(&group.below(&hierarchy.mount), deadline)?;
    }
    let v1: Vec<&Hierarchy> = hierarchies.iter().filter(|one| one.version == Version::V1).collect();
    let dirs: Vec<PathBuf> = v1.iter().map(|one| group.below(&one.mount)).collect();
    let freezer = v1.iter().find(|one| one.has("freezer")).map(|one| group.below(&one.mount));
    kill_v1(&dirs, freezer.as_deref(), deadline)
}

/// One write kills all, also what is forked meanwhile (cgroup-v2.rst, cgroup.kill).
fn kill_v2(dir: &Path, deadline: Instant) -> Result<()> {
    let file = dir.join("cgroup.kill");
    match std::fs::metadata(&file) {
        // KERNEL(5.14): cgroup.kill.
        Err(_) => return kill_v1(&[dir.to_owned()], None, deadline),
        Ok(_) if processes::of(dir).is_empty() => return Ok(()),
        Ok(_) => {}
    }
    stage::shell(&["echo", "1", ">", &file.to_string_lossy()]);
    match std::fs::write(&file, "1") {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        written => written.with_context(|| format!("cannot kill: write {}", file.display()))?,
    }
    if events::wait_for(dir, "populated 0", Some(PATIENCE))? {
        return Ok(());
    }
    Err(immortal(&processes::of(dir)))
}

/// Without such an event each process is waited for. Frozen, none of them can fork away; a frozen process takes
/// SIGKILL when it is thawed. What came in between two looks is killed in the next round.
fn kill_v1(dirs: &[PathBuf], freezer: Option<&Path>, deadline: Instant) -> Result<()> {
    loop {
        if all(dirs).is_empty() {
            return Ok(());
        }
        freeze(freezer, "FROZEN")?;
        let pids = all(dirs);
        let killed = send(&pids, Signal::KILL);
        freeze(freezer, "THAWED")?;
        events::wait_for_ends(&killed?, Some(deadline))?;
        if Instant::now() >= deadline {
            return Err(immortal(&all(dirs)));
        }
    }
}

fn all(dirs: &[PathBuf]) -> BTreeSet<i32> {
    dirs.iter().flat_map(|dir| processes::of(dir)).collect()
}

/// Not waited for: it is enough that a process which has just been forked cannot go on.
fn freeze(freezer: Option<&Path>, state: &str) -> Result<()> {
    let Some(dir) = freezer else { return Ok(()) };
    let file = dir.join("freezer.state");
    match std::fs::write(&file, state) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot set {} to {state}: write", file.display()))
        }
        _ => {
            stage::shell(&["echo", state, ">", &file.to_string_lossy()]);
            Ok(())
        }
    }
}

/// A pid that was read is a process's only while a descriptor holds it: its number may be another's by the time
/// the signal is sent, so that the number itself is never signalled. The descriptors of those that were reached.
fn send(pids: &BTreeSet<i32>, signal: Signal) -> Result<Vec<OwnedFd>> {
    let mut reached = Vec::new();
    for number in pids {
        let Some(fd) = open(*number)? else { continue };
        match pidfd_send_signal(&fd, signal) {
            Ok(()) => stage::shell(&["kill", &format!("-{}", signal.as_raw()), &number.to_string()]),
            Err(Errno::SRCH) => continue,
            Err(errno) => return Err(errno).with_context(|| format!("cannot kill process {number}: kill")),
        }
        reached.push(fd);
    }
    Ok(reached)
}

/// A descriptor of a process, if it is still there.
pub fn open(number: i32) -> Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(number) else {
        bail!("cannot reach a process of another pid namespace: run cgctl in the host's");
    };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => Ok(None),
        opened => opened.map(Some).with_context(|| format!("cannot open process {number}: pidfd_open")),
    }
}

fn immortal(pids: &BTreeSet<i32>) -> anyhow::Error {
    anyhow!("cannot kill what is in the cgroup: {} after {} s", processes::describe(pids), PATIENCE.as_secs())
}
