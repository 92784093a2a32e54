//! From `linux.resources` to the values of the kernel's files, on cgroup v1 and v2. Pure.

use crate::hierarchy::Version;
use crate::limits::SwapIs;
use crate::resources::Resources;

/// One value for one file of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// What it limits, in the words of an error.
    pub what: &'static str,
    pub controller: &'static str,
    pub file: &'static str,
    pub value: String,
    /// That the kernel has no such file is an error.
    pub needed: bool,
}

/// The values, in the order in which they must be written.
pub fn settings(version: Version, resources: &Resources, swap_is: SwapIs) -> Vec<Setting> {
    let mut all = Settings(Vec::new());
    match version {
        Version::V1 => all.v1(resources, swap_is),
        Version::V2 => all.v2(resources, swap_is),
    }
    all.0
}

struct Settings(Vec<Setting>);

impl Settings {
    fn set(&mut self, what: &'static str, file: &'static str, value: &impl ToString) {
        let controller = file.split('.').next().unwrap_or(file);
        self.0.push(Setting { what, controller, file, value: value.to_string(), needed: true });
    }

    /// A limit on swap that only follows from the one on memory may be missing where the kernel does not account
    /// for swap: nobody asked for it.
    fn swap(&mut self, file: &'static str, value: &impl ToString, swap_is: SwapIs) {
        self.set("swap", file, value);
        if let Some(setting) = self.0.last_mut() {
            setting.needed = swap_is == SwapIs::Asked;
        }
    }

    fn v1(&mut self, resources: &Resources, swap_is: SwapIs) {
        if let Some(memory) = &resources.memory {
            // The limit first: it must never be above the one of memory and swap together, which a new group
            // has at no limit.
            if let Some(limit) = memory.limit {
                self.set("memory", "memory.limit_in_bytes", &limit);
            }
            // A new group has no limit.
            if let Some(total @ 0..) = memory.swap {
                self.swap("memory.memsw.limit_in_bytes", &total, swap_is);
            }
        }
        if let Some(cpu) = &resources.cpu {
            if let Some(shares) = cpu.shares {
                self.set("cpu shares", "cpu.shares", &shares);
            }
            if let (Some(quota), Some(period)) = (cpu.quota, cpu.period) {
                self.set("cpu time", "cpu.cfs_period_us", &period);
                self.set("cpu time", "cpu.cfs_quota_us", &quota);
            }
        }
        if let Some(pids) = &resources.pids {
            self.set("processes", "pids.max", &pids.limit);
        }
    }

    fn v2(&mut self, resources: &Resources, swap_is: SwapIs) {
        if let Some(memory) = &resources.memory {
            if let Some(limit) = memory.limit {
                self.set("memory", "memory.max", &limit);
            }
            // v2 counts swap alone; a new group has no limit.
            if let (Some(total @ 0..), Some(limit)) = (memory.swap, memory.limit) {
                self.swap("memory.swap.max", &(total - limit), swap_is);
            }
        }
        if let Some(cpu) = &resources.cpu {
            if let Some(shares) = cpu.shares {
                self.set("cpu shares", "cpu.weight", &weight(shares));
            }
            if let (Some(quota), Some(period)) = (cpu.quota, cpu.period) {
                self.set("cpu time", "cpu.max", &format!("{quota} {period}"));
            }
        }
        if let Some(pids) = &resources.pids {
            self.set("processes", "pids.max", &pids.limit);
        }
    }
}

/// The weight on cgroup v2 of shares on v1, as runc converts it since 1.3.2: the extremes (2 and 1, 262144 and
/// 10000) and the defaults (1024 and 100) of both scales correspond.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "shares are below 2^18, the result is from 1 to 10000"
)]
fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = (shares as f64).log2();
            10f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0).ceil() as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::{Cpu, Memory, Pids};

    fn all(swap: Option<i64>) -> Resources {
        Resources {
            memory: Some(Memory { limit: Some(8192), swap }),
            cpu: Some(Cpu { shares: Some(512), quota: Some(20_000), period: Some(100_000) }),
            pids: Some(Pids { limit: 7 }),
        }
    }

    fn lines(version: Version, resources: &Resources) -> Vec<String> {
        let all = settings(version, resources, SwapIs::Asked);
        all.iter().map(|one| format!("{} {}={}", one.controller, one.file, one.value)).collect()
    }

    #[test]
    fn on_v1_memory_comes_before_memory_and_swap() {
        assert_eq!(
            lines(Version::V1, &all(Some(16384))),
            [
                "memory memory.limit_in_bytes=8192",
                "memory memory.memsw.limit_in_bytes=16384",
                "cpu cpu.shares=512",
                "cpu cpu.cfs_period_us=100000",
                "cpu cpu.cfs_quota_us=20000",
                "pids pids.max=7"
            ]
        );
    }

    #[test]
    fn on_v2_swap_counts_alone() {
        assert_eq!(
            lines(Version::V2, &all(Some(16384))),
            [
                "memory memory.max=8192",
                "memory memory.swap.max=8192",
                "cpu cpu.weight=59",
                "cpu cpu.max=20000 100000",
                "pids pids.max=7"
            ]
        );
        assert!(lines(Version::V2, &all(Some(8192))).contains(&"memory memory.swap.max=0".to_owned()));
    }

    #[test]
    fn unlimited_swap_is_what_a_new_group_has() {
        for version in [Version::V1, Version::V2] {
            assert!(!lines(version, &all(Some(-1))).iter().any(|line| line.contains("sw")), "{version:?}");
        }
    }

    #[test]
    fn swap_that_nobody_asked_for_may_be_missing() {
        let all = settings(Version::V1, &all(Some(16384)), SwapIs::Implied);
        let needed: Vec<_> = all.iter().filter(|one| !one.needed).map(|one| one.file).collect();
        assert_eq!(needed, ["memory.memsw.limit_in_bytes"]);
    }

    #[test]
    fn shares_and_weights_correspond_at_both_ends_and_at_the_default() {
        for (shares, expected) in [(2, 1), (1024, 100), (262_144, 10_000), (262_143, 10_000), (3, 2)] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }
}
