//! The limits that were asked for, and what they mean together. Pure.

use anyhow::{Result, anyhow};
use clap::Args;
use stage::{Codes, Explain};

use crate::amount::{Cpus, Memory, PERIOD, Pids, Shares, Swap};
use crate::resources::{self, Resources};

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
    pub fn resources(&self, page: u64) -> Result<(Resources, SwapIs)> {
        let memory = self.memory.and_then(|memory| memory.0).map(|bytes| bytes - bytes % page);
        let (swap, swap_is) = self.swap(memory, page).code(Codes::USAGE)?;
        let quota = self.cpus.and_then(|cpus| cpus.0);
        let shares = self.cpu_shares.and_then(|shares| shares.0);
        let pids = self.pids_limit.and_then(|pids| pids.0);
        let resources = Resources {
            memory: (memory.is_some() || swap.is_some())
                .then_some(resources::Memory { limit: memory.map(signed), swap }),
            cpu: (quota.is_some() || shares.is_some()).then_some(resources::Cpu {
                shares,
                quota: quota.map(signed),
                period: quota.is_some().then_some(PERIOD),
            }),
            pids: pids.map(|count| resources::Pids { limit: signed(count) }),
        };
        Ok((resources, swap_is))
    }

    /// Memory and swap together.
    fn swap(&self, memory: Option<u64>, page: u64) -> Result<(Option<i64>, SwapIs)> {
        match (self.memory_swap.unwrap_or(Swap::Default), memory) {
            (Swap::Default, None) => Ok((None, SwapIs::Implied)),
            // As docker does: as much swap as memory.
            (Swap::Default, Some(memory)) => Ok((Some(signed(memory.saturating_mul(2))), SwapIs::Implied)),
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
        let memory = limits.resources(4096)?.0.memory.unwrap();
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
            limits.resources(4096).unwrap_err().to_string(),
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        );
    }

    #[test]
    fn nothing_asked_is_nothing_set() {
        assert_eq!(Limits::default().resources(4096).unwrap().0, Resources::default());
        let limits = Limits { pids_limit: Some(Pids(None)), cpus: Some(Cpus(None)), ..Limits::default() };
        assert_eq!(limits.resources(4096).unwrap().0, Resources::default());
    }
}
