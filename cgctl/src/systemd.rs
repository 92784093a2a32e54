//! A host whose cgroups systemd manages: containers' groups are made inside one unit of it that is delegated to us.
//!
//!     /system.slice/gocker.service              the unit, with Delegate=yes
//!     /system.slice/gocker.service/keeper       its own process
//!     /system.slice/gocker.service/ID           a container
//!
//! systemd is the one writer of every other group (CGROUP_DELEGATION of systemd's documents). It delegates scopes and
//! services, never slices. A scope lives as long as there is a process in it, and its first would be a child of ours; a
//! service has its own, in a clean environment, so that a group may be made before anybody is in it. One unit for all
//! containers: a job of systemd for each would cost more than all the rest of a start.
//!
//! systemd is asked with systemd-run and systemctl, which every such host has: no D-Bus library for two calls.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{FlockOperation, flock};
use stage::Explain;

use crate::dirs;
use crate::group::CgroupPath;
use crate::hierarchy::{self, Hierarchy, Version};
use crate::processes;

pub const UNIT: &str = "gocker.service";
const PARENT: &str = "/system.slice/gocker.service";
const KEEPER: &str = "keeper";

/// Who makes a group holds it shared, who starts or stops the unit alone. The host's, whatever the run root is: there
/// is one unit.
const LOCK: &str = "/run/gocker-unit.lock";

/// What is asked for: an OOM kill in one container is no failure of the unit, and the unit has no limit of its own.
const START: &[&str] = &[
    "systemd-run",
    "--quiet",
    "--collect",
    "--unit=gocker.service",
    "--slice=system.slice",
    "--description=containers of gocker",
    "--property=Delegate=yes",
    "--property=OOMPolicy=continue",
    "--property=TasksMax=infinity",
    "sleep",
    "infinity",
];
const STOP: &[&str] = &["systemctl", "stop", "--quiet", "gocker.service"];

/// The group in which those of containers are made, if systemd manages this host's cgroups.
pub fn parent() -> Option<CgroupPath> {
    let booted = Path::new("/run/systemd/system").is_dir();
    // A container with the host's /run, but with cgroups of its own, is not what systemd manages.
    let manages = || hierarchy::ours().is_ok_and(|(_, all)| all.iter().any(has_init_scope));
    if booted && manages() { PARENT.parse().ok() } else { None }
}

fn has_init_scope(hierarchy: &Hierarchy) -> bool {
    hierarchy.root == "/" && hierarchy.mount.join("init.scope").is_dir()
}

/// Whether `group` is inside the unit.
pub fn is_delegated(group: &CgroupPath) -> bool {
    group.as_str().strip_prefix(PARENT).is_some_and(|below| below.starts_with('/'))
}

/// The groups above `group` that are ours to write: none of systemd's.
pub fn ours_above(group: &CgroupPath) -> Vec<CgroupPath> {
    let all = group.above().into_iter();
    all.filter(|one| one.as_str() == PARENT || is_delegated(one)).collect()
}

/// Those of them that are ours to make.
pub fn inside_above(group: &CgroupPath) -> Vec<CgroupPath> {
    ours_above(group).into_iter().filter(is_delegated).collect()
}

/// The unit runs for as long as the answer is held, and then while there is a group in it.
pub fn hold(hierarchies: &[Hierarchy]) -> Result<File> {
    let unit = dir(hierarchies)?;
    let lock = lock_file()?;
    loop {
        lock_it(&lock, FlockOperation::LockShared)?;
        if is_ready(hierarchies, &unit) {
            return Ok(lock);
        }
        lock_it(&lock, FlockOperation::LockExclusive)?;
        if !is_ready(hierarchies, &unit) {
            start(hierarchies, &unit)?;
        }
    }
}

/// Stops the unit if no container's group is left in it. Who is making one meanwhile does it when he fails.
pub fn release(hierarchies: &[Hierarchy]) -> Result<()> {
    let Ok(unit) = dir(hierarchies) else { return Ok(()) };
    if !unit.exists() {
        return Ok(());
    }
    let lock = lock_file()?;
    let alone = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
    if !alone || dirs::nested(&unit).iter().any(|one| *one != unit.join(KEEPER)) {
        return Ok(());
    }
    ask(STOP).with_context(|| format!("cannot stop {UNIT}"))
}

/// Where systemd has the unit: in the hierarchy of memory as in each that it uses.
fn dir(hierarchies: &[Hierarchy]) -> Result<PathBuf> {
    let parent: CgroupPath = PARENT.parse()?;
    let used = hierarchies.iter().find(|one| has_init_scope(one));
    used.map(|one| parent.below(&one.mount))
        .ok_or_else(|| anyhow!("cannot use {UNIT}: no hierarchy of systemd is mounted"))
}

fn is_ready(hierarchies: &[Hierarchy], unit: &Path) -> bool {
    match is_v2(hierarchies) {
        true => !processes::of(&unit.join(KEEPER)).is_empty(),
        false => unit.is_dir(),
    }
}

fn is_v2(hierarchies: &[Hierarchy]) -> bool {
    hierarchies.iter().any(|one| one.version == Version::V2)
}

fn start(hierarchies: &[Hierarchy], unit: &Path) -> Result<()> {
    if !unit.is_dir() {
        ask(START).with_context(|| format!("cannot start {UNIT}"))?;
    }
    if !unit.is_dir() {
        bail!("cannot use {UNIT}: systemd has started it, but there is no {}", unit.display());
    }
    if is_v2(hierarchies) { make_room(unit) } else { Ok(()) }
}

/// A v2 group with processes of its own hands down nothing ("no internal processes", cgroup-v2.rst). `DelegateSubgroup=`
/// does this from systemd 254 on.
fn make_room(unit: &Path) -> Result<()> {
    let keeper = unit.join(KEEPER);
    stage::shell(&["mkdir", &keeper.to_string_lossy()]);
    match DirBuilder::new().mode(0o755).create(&keeper) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot make cgroup {}: mkdir", keeper.display()));
        }
        _ => {}
    }
    let file = keeper.join("cgroup.procs");
    let own = std::fs::read_to_string(unit.join("cgroup.procs"))
        .with_context(|| format!("cannot read {}/cgroup.procs", unit.display()))?;
    for pid in own.lines() {
        stage::shell(&["echo", pid, ">", &file.to_string_lossy()]);
        std::fs::write(&file, pid).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn lock_file() -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(LOCK)
        .with_context(|| format!("cannot open {LOCK}"))
}

fn lock_it(lock: &File, how: FlockOperation) -> Result<()> {
    flock(lock, how).with_context(|| format!("cannot lock {LOCK}"))
}

/// stdout is the document's.
fn ask(words: &[&str]) -> Result<()> {
    stage::shell(words);
    let asked = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output();
    let asked = asked.with_context(|| format!("execve {}", words[0]))?;
    if asked.status.success() {
        return Ok(());
    }
    Err(anyhow!("{}: {}", words[0], String::from_utf8_lossy(&asked.stderr).trim()))
        .hint("--cgroup-parent names a group elsewhere that is yours to write")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> CgroupPath {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_inside_the_unit_is_ours_and_nothing_above_it() {
        assert!(is_delegated(&path("/system.slice/gocker.service/x")));
        for others in ["/system.slice/gocker.service", "/system.slice/gocker.service2/x", "/gocker/x"] {
            assert!(!is_delegated(&path(others)), "{others}");
        }
        let above = ours_above(&path("/system.slice/gocker.service/x/y"));
        assert_eq!(above, [path(PARENT), path("/system.slice/gocker.service/x")]);
    }
}
