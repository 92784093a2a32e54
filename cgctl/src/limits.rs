//! The limits that were asked for, and what they mean together. Pure.

use anyhow::{Context, Result, anyhow};
use clap::Args;
use stage::{Codes, Explain};

use crate::amount::{Cpus, Memory, PERIOD, Pids, Shares, Swap};
use crate::device::{self, Rule};
use crate::resources::{self, Resources};
use crate::source::Source;

/// The options, as docker has them.
#[derive(Args, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory, in bytes or with a unit (b, k, m, g)
    #[arg(short, long, value_name = "BYTES", allow_hyphen_values = true)]
    pub memory: Option<Memory>,
    /// Memory and swap together, -1 for no limit [default: twice the memory]
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub memory_swap: Option<Swap>,
    /// Cpu time, in cpus
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub cpus: Option<Cpus>,
    /// Weight against other groups when cpu time is short, from 2 to 262144; a group without has 1024
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    pub cpu_shares: Option<Shares>,
    /// Processes and threads, -1 for no limit
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub pids_limit: Option<Pids>,
    /// Allow the devices that every container may use, and no others
    #[arg(long)]
    pub default_devices: bool,
    /// Allow these devices, too: a, b or c, MAJOR:MINOR (* for any), and of r, w and m what may be done
    #[arg(long, value_name = "RULE")]
    pub device_cgroup_rule: Vec<Rule>,
    /// A file (- for stdin) with linux.resources of the OCI runtime specification; the other options change it
    #[arg(long, value_name = "FILE")]
    pub resources: Option<Source>,
}

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

impl Limits {
    /// What is to be set, in whole pages of memory, as the kernel counts it.
    ///
    /// # Errors
    /// Limits that contradict each other (code 2).
    pub fn resources(&self, page: u64, follows: SwapFollows) -> Result<(Resources, SwapIs)> {
        let mut resources = match &self.resources {
            Some(source) => from_json(source)?,
            None => Resources::default(),
        };
        let swap_is = self.memory(&mut resources, page, follows).code(Codes::USAGE)?;
        self.cpu(&mut resources);
        if let Some(count) = self.pids_limit.and_then(|pids| pids.0) {
            resources.pids = Some(resources::Pids { limit: Some(signed(count)) });
        }
        self.devices(&mut resources);
        Ok((resources.normalized(page), swap_is))
    }

    fn devices(&self, resources: &mut Resources) {
        let rules = resources.devices.take().map(device::with_defaults);
        let asked = self.default_devices || !self.device_cgroup_rule.is_empty();
        let mut rules = rules.or_else(|| asked.then(device::only)).unwrap_or_default();
        rules.extend_from_slice(&self.device_cgroup_rule);
        resources.devices = Some(rules);
    }

    /// stdin is not for a document.
    pub fn reads_stdin(&self) -> bool {
        matches!(self.resources, Some(Source::Stdin))
    }

    fn memory(&self, resources: &mut Resources, page: u64, follows: SwapFollows) -> Result<SwapIs> {
        let limit = self.memory.and_then(|memory| memory.0).map(|bytes| bytes - bytes % page);
        let (swap, swap_is) = self.swap(limit, page, follows)?;
        if limit.is_some() || swap.is_some() {
            let memory = resources.memory.get_or_insert_default();
            memory.limit = limit.map(signed).or(memory.limit);
            memory.swap = swap.or(memory.swap);
        }
        // What the file asks for was asked for.
        Ok(if self.memory.is_some() { swap_is } else { SwapIs::Asked })
    }

    fn cpu(&self, resources: &mut Resources) {
        let quota = self.cpus.and_then(|cpus| cpus.0);
        let shares = self.cpu_shares.and_then(|shares| shares.0);
        if quota.is_some() || shares.is_some() {
            let cpu = resources.cpu.get_or_insert_default();
            cpu.shares = shares.or(cpu.shares);
            cpu.quota = quota.map(signed).or(cpu.quota);
            cpu.period = quota.is_some().then_some(PERIOD).or(cpu.period);
        }
    }

    /// Memory and swap together.
    fn swap(&self, memory: Option<u64>, page: u64, follows: SwapFollows) -> Result<(Option<i64>, SwapIs)> {
        match (self.memory_swap.unwrap_or(Swap::Default), memory) {
            (Swap::Default, Some(memory)) if follows == SwapFollows::Memory => {
                Ok((Some(signed(memory.saturating_mul(2))), SwapIs::Implied))
            }
            (Swap::Default, _) => Ok((None, SwapIs::Implied)),
            (Swap::Unlimited, _) => Ok((Some(-1), SwapIs::Asked)),
            (Swap::Bytes(_), None) => {
                Err(anyhow!("You should always set the Memory limit when using Memoryswap limit, see usage"))
            }
            (Swap::Bytes(total), Some(memory)) if total - total % page < memory => {
                Err(anyhow!("Minimum memoryswap limit should be larger than memory limit, see usage"))
            }
            (Swap::Bytes(total), Some(_)) => Ok((Some(signed(total - total % page)), SwapIs::Asked)),
        }
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

    fn memory(memory: &str, swap: Option<&str>) -> Result<(i64, Option<i64>)> {
        let limits = Limits {
            memory: Some(memory.parse()?),
            memory_swap: swap.map(str::parse).transpose()?,
            ..Limits::default()
        };
        let memory = limits.resources(4096, SwapFollows::Memory)?.0.memory.unwrap();
        Ok((memory.limit.unwrap(), memory.swap))
    }

    #[test]
    fn swap_defaults_to_as_much_as_memory() {
        assert_eq!(memory("8m", None).unwrap(), (8 << 20, Some(16 << 20)));
        assert_eq!(memory("8m", Some("0")).unwrap(), (8 << 20, Some(16 << 20)));
        assert_eq!(memory("8m", Some("8m")).unwrap(), (8 << 20, Some(8 << 20)));
        assert_eq!(memory("8m", Some("-1")).unwrap(), (8 << 20, Some(-1)));
    }

    #[test]
    fn memory_is_counted_in_whole_pages() {
        assert_eq!(memory("6291457", Some("6291458")).unwrap(), (6 << 20, Some(6 << 20)));
    }

    #[test]
    fn what_contradicts_itself_is_refused_in_dockers_words() {
        assert_eq!(
            memory("8m", Some("7m")).unwrap_err().to_string(),
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        );
        let limits = Limits { memory_swap: Some(Swap::Bytes(1)), ..Limits::default() };
        assert_eq!(
            limits.resources(4096, SwapFollows::Memory).unwrap_err().to_string(),
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        );
    }

    #[test]
    fn nothing_asked_is_nothing_set() {
        assert_eq!(Limits::default().resources(4096, SwapFollows::Memory).unwrap().0, Resources::default());
        let limits = Limits { pids_limit: Some(Pids(None)), cpus: Some(Cpus(None)), ..Limits::default() };
        assert_eq!(limits.resources(4096, SwapFollows::Memory).unwrap().0, Resources::default());
    }
}
