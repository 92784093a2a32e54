//! Kills everything in a group, and waits until nothing is left.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use stage::Explain;

use crate::group::CgroupPath;
use crate::hierarchy::{Hierarchy, Version};
use crate::processes;

/// A process that SIGKILL does not end in this time waits for hardware.
const PATIENCE: Duration = Duration::from_secs(10);

/// Kills what is in `group`, in any of the hierarchies.
pub fn kill(hierarchies: &[Hierarchy], group: &CgroupPath) -> Result<()> {
    spare_ourselves(hierarchies, group)?;
    let deadline = Instant::now() + PATIENCE;
    for hierarchy in hierarchies.iter().filter(|one| one.version == Version::V2) {
        kill_v2(&group.below(&hierarchy.mount), deadline)?;
    }
    let v1: Vec<&Hierarchy> = hierarchies.iter().filter(|one| one.version == Version::V1).collect();
    let dirs: Vec<PathBuf> = v1.iter().map(|one| group.below(&one.mount)).collect();
    let freezer = v1.iter().find(|one| one.has("freezer")).map(|one| group.below(&one.mount));
    kill_v1(&dirs, freezer.as_deref(), deadline)
}

/// Frozen by its own hand, cgctl would thaw nobody.
fn spare_ourselves(hierarchies: &[Hierarchy], group: &CgroupPath) -> Result<()> {
    let ourselves = rustix::process::getpid().as_raw_nonzero().get();
    if hierarchies.iter().any(|one| processes::of(&group.below(&one.mount)).contains(&ourselves)) {
        return Err(anyhow!("cannot kill what is in cgroup {group}: cgctl itself is in it"))
            .hint("call it from outside of the group");
    }
    Ok(())
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
    wait_empty(dir, deadline)
}

/// cgroup.events tells when nobody is left, here and in the groups inside.
fn wait_empty(dir: &Path, deadline: Instant) -> Result<()> {
    let path = dir.join("cgroup.events");
    let context = || format!("cannot wait for {}", path.display());
    let mut file = File::open(&path).with_context(context)?;
    loop {
        let mut text = String::new();
        file.rewind().and_then(|()| file.read_to_string(&mut text)).with_context(context)?;
        if text.lines().any(|line| line == "populated 0") {
            return Ok(());
        }
        let Some(left) = deadline.checked_duration_since(Instant::now()) else {
            return Err(immortal(&processes::of(dir)));
        };
        wait(&mut [PollFd::new(&file, PollFlags::PRI)], left).with_context(context)?;
    }
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
        let killed = send_kill(&pids);
        freeze(freezer, "THAWED")?;
        for fd in &killed? {
            let left = deadline.saturating_duration_since(Instant::now());
            wait(&mut [PollFd::new(fd, PollFlags::IN)], left).context("cannot wait for a process: poll")?;
        }
        if Instant::now() >= deadline {
            return Err(immortal(&all(dirs)));
        }
    }
}

fn all(dirs: &[PathBuf]) -> BTreeSet<i32> {
    dirs.iter().flat_map(|dir| processes::of(dir)).collect()
}

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
/// the signal is sent, so that the number itself is never signalled.
fn send_kill(pids: &BTreeSet<i32>) -> Result<Vec<OwnedFd>> {
    let mut killed = Vec::new();
    for number in pids {
        let Some(pid) = Pid::from_raw(*number) else {
            bail!("cannot kill a process of another pid namespace: run cgctl in the host's");
        };
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => continue,
            opened => opened.with_context(|| format!("cannot kill process {number}: pidfd_open"))?,
        };
        match pidfd_send_signal(&fd, Signal::KILL) {
            Ok(()) => stage::shell(&["kill", "-9", &number.to_string()]),
            Err(Errno::SRCH) => continue,
            Err(errno) => return Err(errno).with_context(|| format!("cannot kill process {number}: kill")),
        }
        killed.push(fd);
    }
    Ok(killed)
}

fn wait(fds: &mut [PollFd], left: Duration) -> rustix::io::Result<()> {
    let left = Timespec::try_from(left).ok();
    match poll(fds, left.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn immortal(pids: &BTreeSet<i32>) -> anyhow::Error {
    anyhow!("cannot kill what is in the cgroup: {} after {} s", processes::describe(pids), PATIENCE.as_secs())
}
