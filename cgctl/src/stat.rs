//! `stat`: the kernel's figures of a group, as one JSON object of the same shape on v1 and v2.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use serde::Serialize;
use stage::{Explain, Id};

use crate::dirs;
use crate::group::CgroupPath;
use crate::hierarchy::{self, Hierarchy, Version};
use crate::record::Records;
use crate::target::Target;

/// What the kernel does not tell is absent; a limit that is not set is absent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Id>,
    cgroups_path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<Cpu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pids: Option<Pids>,
    /// How many of its processes were killed because memory ran out.
    #[serde(skip_serializing_if = "Option::is_none")]
    oom_kills: Option<u64>,
}

/// Bytes.
#[derive(Debug, Serialize)]
struct Memory {
    current: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    /// Microseconds.
    usage_usec: u64,
}

#[derive(Debug, Serialize)]
struct Pids {
    current: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

pub fn command(records: &Records, target: &Target) -> Result<()> {
    let (_, hierarchies) = hierarchy::ours()?;
    let group = records.target(target)?;
    match figures(&hierarchies, &group, target.id.as_ref()) {
        Some(figures) => stage::print_json(&figures),
        None => Err(anyhow!("cannot read the figures of {group}: there is no such cgroup"))
            .hint("cgctl ls lists what there is"),
    }
}

/// `None` if there is no such group.
pub fn figures(hierarchies: &[Hierarchy], group: &CgroupPath, id: Option<&Id>) -> Option<Figures> {
    let files = Files { hierarchies, group };
    if !hierarchies.iter().any(|one| group.below(&one.mount).exists()) {
        return None;
    }
    Some(Figures {
        id: id.cloned(),
        cgroups_path: group.to_string(),
        memory: files.memory(),
        cpu: files.cpu(),
        pids: files.pids(),
        oom_kills: files.oom_kills(),
    })
}

/// The files of a group, each in the hierarchy that has its controller.
struct Files<'a> {
    hierarchies: &'a [Hierarchy],
    group: &'a CgroupPath,
}

impl Files<'_> {
    fn dir(&self, controller: &str) -> Option<(Version, PathBuf)> {
        let has = |one: &&Hierarchy| one.version == Version::V2 || one.has(controller);
        self.hierarchies.iter().find(has).map(|one| (one.version, self.group.below(&one.mount)))
    }

    fn memory(&self) -> Option<Memory> {
        let (version, dir) = self.dir("memory")?;
        let [current, peak, limit] = match version {
            Version::V1 => ["memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.limit_in_bytes"],
            Version::V2 => ["memory.current", "memory.peak", "memory.max"],
        };
        Some(Memory {
            current: number(&dir, current)?,
            peak: number(&dir, peak),
            limit: number(&dir, limit).filter(is_limit),
        })
    }

    fn cpu(&self) -> Option<Cpu> {
        let (version, dir) = self.dir("cpuacct")?;
        let usage_usec = match version {
            Version::V1 => number(&dir, "cpuacct.usage")? / 1000,
            Version::V2 => keyed(&read(&dir, "cpu.stat")?, "usage_usec")?,
        };
        Some(Cpu { usage_usec })
    }

    fn pids(&self) -> Option<Pids> {
        let (_, dir) = self.dir("pids")?;
        Some(Pids { current: number(&dir, "pids.current")?, limit: number(&dir, "pids.max") })
    }

    fn oom_kills(&self) -> Option<u64> {
        let (version, dir) = self.dir("memory")?;
        if version == Version::V2 {
            return keyed(&read(&dir, "memory.events")?, "oom_kill");
        }
        // v1 counts where it happens, v2 in the groups above, too.
        let of = |dir: &Path| keyed(&read(dir, "memory.oom_control")?, "oom_kill");
        let nested: u64 = dirs::nested(&dir).iter().filter_map(|dir| of(dir)).sum();
        Some(of(&dir)? + nested)
    }
}

fn read(dir: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(dir.join(file)).ok()
}

/// `max` is no number.
fn number(dir: &Path, file: &str) -> Option<u64> {
    read(dir, file)?.trim_end().parse().ok()
}

/// v1 writes "no limit" as the largest number of whole pages that it can count.
fn is_limit(bytes: &u64) -> bool {
    *bytes < 1 << 62
}

/// The value in a line `key value`.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_whole_word() {
        let text = "oom_kill_disable 0\nunder_oom 1\noom_kill 3\n";
        assert_eq!(keyed(text, "oom_kill"), Some(3));
        assert_eq!(keyed(text, "oom"), None);
    }

    #[test]
    fn no_limit_is_none() {
        assert!(!is_limit(&9_223_372_036_854_771_712));
        assert!(is_limit(&(64 << 20)));
    }
}
