//! The limits that were asked for, and what they mean together. Touches the host only to find out a device's numbers.

mod cpu;
mod io;
mod memory;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use stage::{Codes, Explain};

use crate::amount::{Huge, Pids, Raw};
use crate::device::{self, Rule};
use crate::resources::{self, Resources};
use crate::source::Source;

/// What a limit on memory alone means for swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapFollows {
    /// A new group may have as much swap as memory, as with docker.
    Memory,
    /// A group that is there keeps what it has.
    Nothing,
}

/// Whether a limit on swap was typed, or only follows from the one on memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapIs {
    Asked,
    Implied,
}

// The options; where docker has them, with docker's names and meanings.
#[derive(Args, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    #[command(flatten)]
    memory: memory::MemoryLimits,
    #[command(flatten)]
    cpu: cpu::CpuLimits,
    /// Processes and threads, -1 for no limit
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pids_limit: Option<Pids>,
    #[command(flatten)]
    io: io::IoLimits,
    /// Huge pages: their size and how many bytes of them, such as 2MB=64m
    #[arg(long, value_name = "SIZE=BYTES")]
    hugetlb: Vec<Huge>,
    /// Allow the devices that every container may use, and no others
    #[arg(long)]
    default_devices: bool,
    /// Allow these devices, too: a, b or c, MAJOR:MINOR (* for any), and of r, w and m what may be done
    #[arg(long, value_name = "RULE")]
    device_cgroup_rule: Vec<Rule>,
    /// A raw value, by the name of the kernel's file
    #[arg(long, value_name = "FILE=VALUE")]
    set: Vec<Raw>,
    /// A file (- for stdin) with linux.resources of the OCI runtime specification; the other options change it
    #[arg(long, value_name = "FILE")]
    resources: Option<Source>,
}

impl Limits {
    /// What is to be set, in whole pages of memory, as the kernel counts it.
    ///
    /// # Errors
    /// Limits that contradict each other, or a file that is no such object (code 2).
    pub fn resources(&self, page: u64, follows: SwapFollows) -> Result<(Resources, SwapIs)> {
        let mut resources = match &self.resources {
            Some(source) => from_json(source)?,
            None => Resources::default(),
        };
        let swap_is = self.memory.add_to(&mut resources, page, follows).code(Codes::USAGE)?;
        self.cpu.add_to(&mut resources).code(Codes::USAGE)?;
        self.io.add_to(&mut resources)?;
        if let Some(count) = self.pids_limit.and_then(|pids| pids.0) {
            resources.pids = Some(resources::Pids { limit: Some(signed(count)) });
        }
        let pages = self.hugetlb.iter().map(|huge| huge.0.clone());
        resources.hugepage_limits.get_or_insert_default().extend(pages);
        self.devices(&mut resources);
        let raw = self.set.iter().map(|Raw(file, value)| (file.clone(), value.clone()));
        resources.unified.get_or_insert_default().extend(raw);
        Ok((resources.normalized(page), swap_is))
    }

    /// stdin is not for a document.
    pub fn reads_stdin(&self) -> bool {
        matches!(self.resources, Some(Source::Stdin))
    }

    fn devices(&self, resources: &mut Resources) {
        let rules = resources.devices.take().map(device::with_defaults);
        let asked = self.default_devices || !self.device_cgroup_rule.is_empty();
        let mut rules = rules.or_else(|| asked.then(device::only)).unwrap_or_default();
        rules.extend_from_slice(&self.device_cgroup_rule);
        resources.devices = Some(rules);
    }
}

/// # Errors
/// The file cannot be read; it is no such object (code 2).
fn from_json(source: &Source) -> Result<Resources> {
    let text = source.read().with_context(|| format!("cannot read the limits in {source}"))?;
    let parsed = if text.trim_start().starts_with('[') {
        // serde would take a list for an object without names.
        Err(anyhow!("this is no JSON object"))
    } else {
        serde_json::from_str(&text).map_err(anyhow::Error::from)
    };
    parsed.with_context(|| format!("cannot read the limits in {source}")).code(Codes::USAGE)
}

/// All amounts are below 2^63.
fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        limits: Limits,
    }

    fn resources(words: &str) -> Result<Resources> {
        let line = Line::try_parse_from(std::iter::once("x").chain(words.split_whitespace()))?;
        Ok(line.limits.resources(4096, SwapFollows::Memory)?.0)
    }

    fn json(words: &str) -> String {
        serde_json::to_string(&resources(words).unwrap()).unwrap()
    }

    #[test]
    fn each_option_has_its_place_in_the_specification() {
        for (words, expected) in [
            ("", "{}"),
            ("--pids-limit=-1 --cpus=0 -m0 -c0 --blkio-weight=0", "{}"),
            ("-m 8m --memory-swap=-1", r#"{"memory":{"limit":8388608,"swap":-1}}"#),
            (
                "-m 8m --memory-reservation 1m --memory-swappiness=0 --oom-kill-disable",
                r#"{"memory":{"limit":8388608,"reservation":1048576,"swap":16777216,"swappiness":0,"disableOOMKiller":true}}"#,
            ),
            (
                "--memory-high=1m --oom-group --set cpu.max.burst=7",
                r#"{"unified":{"cpu.max.burst":"7","memory.high":"1048576","memory.oom.group":"1"}}"#,
            ),
            ("--cpus 0.5 -c 512", r#"{"cpu":{"shares":512,"quota":50000,"period":100000}}"#),
            (
                "--cpu-quota=20000 --cpu-period=50000 --cpu-burst=1000 --cpuset-cpus=0-1 --cpuset-mems=0 --cpu-idle",
                r#"{"cpu":{"quota":20000,"burst":1000,"period":50000,"cpus":"0-1","mems":"0","idle":1}}"#,
            ),
            ("--hugetlb 2MB=4m", r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#),
            ("--blkio-weight=300", r#"{"blockIO":{"weight":300}}"#),
        ] {
            assert_eq!(json(words), expected, "{words}");
        }
    }

    #[test]
    fn device_rules_come_behind_the_default_ones() {
        assert_eq!(
            resources("--default-devices").unwrap().devices.unwrap().len(),
            1 + device::defaults().len()
        );
        let line = Line::try_parse_from(["x", "--device-cgroup-rule", "c 10:200 rwm"]).unwrap();
        let rules = line.limits.resources(4096, SwapFollows::Memory).unwrap().0.devices.unwrap();
        assert_eq!(
            (rules[0].to_string(), rules.last().unwrap().to_string()),
            ("a".into(), "c 10:200 rwm".into())
        );
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        for (words, expected) in [
            ("--cpus=1 --cpu-quota=5000", "cannot use --cpus with --cpu-quota or --cpu-period"),
            ("--cpus=1 --cpu-period=5000", "cannot use --cpus with --cpu-quota or --cpu-period"),
            (
                "--memory-swap=8m",
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ),
            (
                "-m8m --memory-swap=7m",
                "Minimum memoryswap limit should be larger than memory limit, see usage",
            ),
        ] {
            assert_eq!(resources(words).unwrap_err().to_string(), expected, "{words}");
        }
    }
}
