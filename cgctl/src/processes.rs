//! Who is in a group.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, anyhow};
use stage::Explain;

use crate::dirs;
use crate::group::CgroupPath;
use crate::hierarchy::Hierarchy;

/// The processes in `dir` and in the groups inside it. 0 stands for one of another pid namespace.
pub fn of(dir: &Path) -> BTreeSet<i32> {
    let mut all = in_one(dir);
    for nested in dirs::nested(dir) {
        all.extend(in_one(&nested));
    }
    all
}

/// # Errors
/// cgctl itself is in the group: frozen by its own hand it would thaw nobody.
pub fn spare_ourselves(hierarchies: &[Hierarchy], group: &CgroupPath, verb: &str) -> Result<()> {
    let ourselves = rustix::process::getpid().as_raw_nonzero().get();
    if hierarchies.iter().any(|one| of(&group.below(&one.mount)).contains(&ourselves)) {
        return Err(anyhow!("cannot {verb} what is in cgroup {group}: cgctl itself is in it"))
            .hint("call it from outside of the group");
    }
    Ok(())
}

fn in_one(dir: &Path) -> BTreeSet<i32> {
    let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// `2 processes are in it: 17 (sh), 18 (sleep)`
pub fn hint(dir: &Path) -> String {
    describe(&of(dir))
}

/// The same of processes that are known.
pub fn describe(pids: &BTreeSet<i32>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<String> = pids.iter().take(SHOWN).map(|pid| named(*pid)).collect();
    let more = if pids.len() > SHOWN { ", ..." } else { "" };
    match pids.len() {
        0 => "groups are in it, or a process that is just ending".to_owned(),
        1 => format!("a process is in it: {}", names[0]),
        many => format!("{many} processes are in it: {}{more}", names.join(", ")),
    }
}

fn named(pid: i32) -> String {
    if pid == 0 {
        return "one of another pid namespace".to_owned();
    }
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("{pid} ({})", name.trim_end()),
        Err(_) => pid.to_string(),
    }
}
