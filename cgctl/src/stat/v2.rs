//! Figures from the files of cgroup v2.

use std::path::Path;

use super::oom::{self, Kills};
use super::{Cpu, Memory, Pids, keyed, number, read};
use crate::group::CgroupPath;

pub fn memory(dir: &Path) -> Option<Memory> {
    Some(Memory {
        current: number(dir, "memory.current")?,
        // KERNEL(5.19): memory.peak.
        peak: number(dir, "memory.peak"),
        limit: number(dir, "memory.max"),
    })
}

pub fn cpu(dir: &Path) -> Option<Cpu> {
    Some(Cpu { usage_usec: keyed(&read(dir, "cpu.stat")?, "usage_usec")? })
}

pub fn pids(dir: &Path) -> Option<Pids> {
    Some(Pids { current: number(dir, "pids.current")?, limit: number(dir, "pids.max") })
}

/// v2 counts in the groups above, too: what happened in this one itself is the rest. A group inside that has gone is
/// then counted here.
pub fn oom_kills(dir: &Path, group: &CgroupPath) -> Option<Vec<Kills>> {
    let of = |dir: &Path, file| keyed(&read(dir, file)?, "oom_kill");
    let total = of(dir, "memory.events")?;
    let inside =
        if total == 0 { Vec::new() } else { oom::inside(dir, group, |dir| of(dir, "memory.events.local")) };
    let elsewhere: u64 = inside.iter().map(|one| one.kills).sum();
    let own = Kills { cgroups_path: group.to_string(), kills: total.saturating_sub(elsewhere) };
    Some(std::iter::once(own).chain(inside).collect())
}
