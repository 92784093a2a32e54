//! `stat`: the kernel's figures of a group, as one JSON object of the same shape on v1 and v2.

mod files;
mod oom;
mod v1;
mod v2;

use std::path::Path;

use anyhow::{Result, anyhow};
use serde::Serialize;
use stage::{Explain, Id};

use crate::group::CgroupPath;
use crate::hierarchy::{self, Hierarchy, Version};
use crate::record::Records;
use crate::target::Target;
use files::Files;
use oom::Oom;

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
    /// Where, and whom, when there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    oom: Option<Oom>,
    /// Every figure that the kernel has of the group, by the names of its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Files>,
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
        Some(mut figures) => {
            figures.files = Some(files::read(&hierarchies, &group));
            stage::print_json(&figures)
        }
        None => Err(anyhow!("cannot read the figures of {group}: there is no such cgroup"))
            .hint("cgctl ls lists what there is"),
    }
}

/// The figures that a container's end is told with. `None` if there is no such group.
pub fn figures(hierarchies: &[Hierarchy], group: &CgroupPath, id: Option<&Id>) -> Option<Figures> {
    if !hierarchies.iter().any(|one| group.below(&one.mount).exists()) {
        return None;
    }
    let has_v1 = hierarchies.iter().any(|one| one.version == Version::V1);
    let (memory, cpu, pids, kills) = if has_v1 {
        let files = v1::Files { hierarchies, group };
        (files.memory(), files.cpu(), files.pids(), files.oom_kills())
    } else {
        let dir = group.below(&hierarchies[0].mount);
        (v2::memory(&dir), v2::cpu(&dir), v2::pids(&dir), v2::oom_kills(&dir, group))
    };
    let oom_kills = kills.as_ref().map(|kills| kills.iter().map(|one| one.kills).sum());
    Some(Figures {
        id: id.cloned(),
        cgroups_path: group.to_string(),
        memory,
        cpu,
        pids,
        oom_kills,
        oom: kills.and_then(|kills| oom::of(group, kills)),
        files: None,
    })
}

impl Figures {
    /// Microseconds.
    pub fn cpu_usec(&self) -> u64 {
        self.cpu.as_ref().map_or(0, |cpu| cpu.usage_usec)
    }

    /// What is used, and the limit.
    pub fn memory_figures(&self) -> [Option<u64>; 2] {
        self.memory.as_ref().map_or([None; 2], |memory| [Some(memory.current), memory.limit])
    }

    /// How many there are, and the limit.
    pub fn pids_figures(&self) -> [Option<u64>; 2] {
        self.pids.as_ref().map_or([None; 2], |pids| [Some(pids.current), pids.limit])
    }

    pub fn oom_kills(&self) -> Option<u64> {
        self.oom_kills
    }

    /// What a person calls the group.
    pub fn short_name(&self) -> &str {
        match &self.id {
            Some(id) => id.short(),
            None => self.cgroups_path.rsplit('/').next().unwrap_or_default(),
        }
    }
}

fn read(dir: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(dir.join(file)).ok()
}

/// `max` is no number.
fn number(dir: &Path, file: &str) -> Option<u64> {
    read(dir, file)?.trim_end().parse().ok()
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
}
