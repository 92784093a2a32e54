//! MemoryLimits that limit memory.

use anyhow::{Result, anyhow};
use clap::Args;

use super::{SwapFollows, SwapIs, signed};
use crate::amount::{Bytes, Memory, Swap};
use crate::resources::Resources;

#[derive(Args, Debug, Default, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Memory, in bytes or with a unit (b, k, m, g)
    #[arg(short, long, value_name = "BYTES", allow_hyphen_values = true)]
    memory: Option<Memory>,
    /// Memory and swap together, -1 for no limit [default: twice the memory]
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_swap: Option<Swap>,
    /// Memory that is left to the group for longest when memory runs short
    #[arg(long, value_name = "BYTES")]
    memory_reservation: Option<Bytes>,
    /// Memory above which the group is slowed down instead of killed (v2)
    #[arg(long, value_name = "BYTES")]
    memory_high: Option<Bytes>,
    /// How readily the group is swapped out, from 0 to 100 (v1)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=100))]
    memory_swappiness: Option<u64>,
    /// Let processes wait instead of killing one when memory runs out (v1)
    #[arg(long)]
    oom_kill_disable: bool,
    /// Kill all processes of the group when memory runs out, not one (v2)
    #[arg(long)]
    oom_group: bool,
}

impl MemoryLimits {
    pub fn add_to(&self, resources: &mut Resources, page: u64, follows: SwapFollows) -> Result<SwapIs> {
        let limit = self.memory.and_then(|memory| memory.0).map(|bytes| bytes - bytes % page);
        let (swap, swap_is) = self.swap(limit, page, follows)?;
        let memory = resources.memory.get_or_insert_default();
        memory.limit = limit.map(signed).or(memory.limit);
        memory.swap = swap.or(memory.swap);
        memory.reservation = self.memory_reservation.map(|bytes| signed(bytes.0)).or(memory.reservation);
        memory.swappiness = self.memory_swappiness.or(memory.swappiness);
        memory.disable_oom_killer = self.oom_kill_disable.then_some(true).or(memory.disable_oom_killer);
        // The specification has no names of its own for these.
        let unified = resources.unified.get_or_insert_default();
        unified.extend(self.memory_high.map(|bytes| ("memory.high".to_owned(), bytes.0.to_string())));
        unified.extend(self.oom_group.then(|| ("memory.oom.group".to_owned(), "1".to_owned())));
        // What a file asks for was asked for.
        Ok(if self.memory.is_some() { swap_is } else { SwapIs::Asked })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(memory: &str, swap: Option<&str>) -> (i64, Option<i64>) {
        let options = MemoryLimits {
            memory: Some(memory.parse().unwrap()),
            memory_swap: swap.map(|swap| swap.parse().unwrap()),
            ..MemoryLimits::default()
        };
        let mut resources = Resources::default();
        options.add_to(&mut resources, 4096, SwapFollows::Memory).unwrap();
        let memory = resources.memory.unwrap();
        (memory.limit.unwrap(), memory.swap)
    }

    #[test]
    fn swap_defaults_to_as_much_as_memory() {
        assert_eq!(memory("8m", None), (8 << 20, Some(16 << 20)));
        assert_eq!(memory("8m", Some("0")), (8 << 20, Some(16 << 20)));
        assert_eq!(memory("8m", Some("8m")), (8 << 20, Some(8 << 20)));
        assert_eq!(memory("8m", Some("-1")), (8 << 20, Some(-1)));
    }

    #[test]
    fn memory_is_counted_in_whole_pages() {
        assert_eq!(memory("6291457", Some("6291458")), (6 << 20, Some(6 << 20)));
    }
}
