//! CpuLimits that limit cpu time.

use anyhow::{Result, bail};
use clap::Args;

use super::signed;
use crate::amount::{Cpus, PERIOD, Shares};
use crate::resources::Resources;

#[derive(Args, Debug, Default, PartialEq, Eq)]
pub struct CpuLimits {
    /// Cpu time, in cpus
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    cpus: Option<Cpus>,
    /// Cpu time in each period, in microseconds; -1 for no limit
    #[arg(long, value_name = "USEC", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    /// That period, in microseconds
    #[arg(long, value_name = "USEC")]
    cpu_period: Option<u64>,
    /// Cpu time that may be saved up for a later period, in microseconds
    #[arg(long, value_name = "USEC")]
    cpu_burst: Option<u64>,
    /// Weight against other groups when cpu time is short, from 2 to 262144; a group without has 1024
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    cpu_shares: Option<Shares>,
    /// Run only when nobody else wants to
    #[arg(long)]
    cpu_idle: bool,
    /// Run on these cpus alone, such as 0-2,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Take memory from these nodes alone
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
}

impl CpuLimits {
    pub fn add_to(&self, resources: &mut Resources) -> Result<()> {
        if self.cpus.is_some() && (self.cpu_quota.is_some() || self.cpu_period.is_some()) {
            bail!("cannot use --cpus with --cpu-quota or --cpu-period");
        }
        let cpus = self.cpus.and_then(|cpus| cpus.0);
        let cpu = resources.cpu.get_or_insert_default();
        cpu.shares = self.cpu_shares.and_then(|shares| shares.0).or(cpu.shares);
        cpu.quota = cpus.map(signed).or(self.cpu_quota).or(cpu.quota);
        cpu.period = cpus.map(|_| PERIOD).or(self.cpu_period).or(cpu.period);
        cpu.burst = self.cpu_burst.or(cpu.burst);
        cpu.cpus = self.cpuset_cpus.clone().or(cpu.cpus.take());
        cpu.mems = self.cpuset_mems.clone().or(cpu.mems.take());
        cpu.idle = self.cpu_idle.then_some(1).or(cpu.idle);
        Ok(())
    }
}
