//! Figures from the files of cgroup v1, each in the hierarchy that has its controller.

use std::path::{Path, PathBuf};

use super::oom::{self, Kills};
use super::{Cpu, Memory, Pids, keyed, number, read};
use crate::group::CgroupPath;
use crate::hierarchy::Hierarchy;

pub struct Files<'a> {
    pub hierarchies: &'a [Hierarchy],
    pub group: &'a CgroupPath,
}

impl Files<'_> {
    fn dir(&self, controller: &str) -> Option<PathBuf> {
        self.hierarchies.iter().find(|one| one.has(controller)).map(|one| self.group.below(&one.mount))
    }

    pub fn memory(&self) -> Option<Memory> {
        let dir = self.dir("memory")?;
        Some(Memory {
            current: number(&dir, "memory.usage_in_bytes")?,
            peak: number(&dir, "memory.max_usage_in_bytes"),
            limit: number(&dir, "memory.limit_in_bytes").filter(is_limit),
        })
    }

    pub fn cpu(&self) -> Option<Cpu> {
        Some(Cpu { usage_usec: number(&self.dir("cpuacct")?, "cpuacct.usage")? / 1000 })
    }

    pub fn pids(&self) -> Option<Pids> {
        let dir = self.dir("pids")?;
        Some(Pids { current: number(&dir, "pids.current")?, limit: number(&dir, "pids.max") })
    }

    /// v1 counts in the group whose process is killed.
    pub fn oom_kills(&self) -> Option<Vec<Kills>> {
        let top = self.dir("memory")?;
        let of = |dir: &Path| keyed(&read(dir, "memory.oom_control")?, "oom_kill");
        let own = Kills { cgroups_path: self.group.to_string(), kills: of(&top)? };
        Some(std::iter::once(own).chain(oom::inside(&top, self.group, of)).collect())
    }
}

/// v1 writes "no limit" as the largest number of whole pages that it can count.
fn is_limit(bytes: &u64) -> bool {
    *bytes < 1 << 62
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_none() {
        assert!(!is_limit(&9_223_372_036_854_771_712));
        assert!(is_limit(&(64 << 20)));
    }
}
