//! The files of cgroup v2, with the values of v1 converted as runc and crun do.

use anyhow::{Result, anyhow, bail};

use super::{KEPT, Setting, Settings, unsupported};
use crate::limits::SwapIs;
use crate::resources::{BlockIo, Cpu, Memory, Resources, Throttle};

pub fn settings(resources: &Resources, swap_is: SwapIs) -> Result<Settings> {
    let mut files = Vec::new();
    if let Some(memory) = &resources.memory {
        files.extend(self::memory(memory, swap_is)?);
    }
    if let Some(cpu) = &resources.cpu {
        files.extend(self::cpu(cpu)?);
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        files.push(Setting::new("processes", "pids.max", &or_max(limit)));
    }
    if let Some(block_io) = &resources.block_io {
        files.extend(self::block_io(block_io)?);
    }
    for page in resources.hugepage_limits.iter().flatten() {
        let file = |kind: &str| format!("hugetlb.{}.{kind}max", page.page_size);
        files.push(Setting::new("huge pages", file(""), &page.limit));
        // KERNEL(5.7): reservations count.
        files.push(Setting::new("huge pages", file("rsvd."), &page.limit).unless_missing());
    }
    Ok(Settings { files, devices: resources.devices.clone() })
}

fn or_max(amount: i64) -> String {
    if amount < 0 { "max".to_owned() } else { amount.to_string() }
}

fn memory(memory: &Memory, swap_is: SwapIs) -> Result<Vec<Setting>> {
    if memory.swappiness.is_some() {
        return Err(unsupported("swappiness", 2, "only /proc/sys/vm/swappiness, for the whole host"));
    }
    if memory.disable_oom_killer == Some(true) {
        return Err(unsupported(
            "the OOM killer off",
            2,
            "memory.high throttles a group instead of killing in it",
        ));
    }
    if memory.kernel_tcp.is_some() {
        return Err(unsupported("a limit on the memory of TCP", 2, "it counts as memory"));
    }
    let mut files = Vec::new();
    if let Some(limit) = memory.limit {
        files.push(Setting::new("memory", "memory.max", &or_max(limit)));
    }
    if let Some(swap) = swap(memory)? {
        let setting = Setting::new("swap", "memory.swap.max", &or_max(swap));
        // Where swap is not accounted for there is no limit on it.
        let implied = swap_is == SwapIs::Implied || swap < 0;
        files.push(if implied { setting.unless_missing() } else { setting });
    }
    if let Some(reservation) = memory.reservation {
        files.push(Setting::new("reserved memory", "memory.low", &or_max(reservation)));
    }
    Ok(files)
}

/// v2 counts swap alone, v1 together with memory.
fn swap(memory: &Memory) -> Result<Option<i64>> {
    match (memory.swap, memory.limit) {
        (None, Some(-1)) | (Some(-1), _) => Ok(Some(-1)),
        (None, _) => Ok(None),
        (Some(_), None | Some(-1)) => bail!("cannot limit swap: there is no limit on memory"),
        (Some(total), Some(limit)) if total < limit => {
            bail!("cannot limit swap: memory and swap together are less than memory")
        }
        (Some(total), Some(limit)) => Ok(Some(total - limit)),
    }
}

fn cpu(cpu: &Cpu) -> Result<Vec<Setting>> {
    if cpu.realtime_period.is_some() || cpu.realtime_runtime.is_some() {
        return Err(unsupported("realtime cpu time", 2, "realtime processes are not limited"));
    }
    let mut files = Vec::new();
    if let Some(shares) = cpu.shares {
        files.push(Setting::new("cpu shares", "cpu.weight", &weight(shares)));
    }
    match (cpu.quota, cpu.period) {
        (None, None) => {}
        // The kernel keeps a period that is not there (cpu_period_quota_parse, kernel/sched/core.c), but not a quota.
        (Some(quota), None) => files.push(Setting::new("cpu time", "cpu.max", &or_max(quota))),
        (quota, Some(period)) => {
            let quota = quota.map_or(KEPT.to_owned(), or_max);
            files.push(Setting::new("cpu time", "cpu.max", &format!("{quota} {period}")));
        }
    }
    if let Some(burst) = cpu.burst {
        files.push(Setting::new("cpu bursts", "cpu.max.burst", &burst));
    }
    if let Some(cpus) = &cpu.cpus {
        files.push(Setting::new("cpus", "cpuset.cpus", cpus));
    }
    if let Some(mems) = &cpu.mems {
        files.push(Setting::new("memory nodes", "cpuset.mems", mems));
    }
    // An idle group takes no weight any more: it comes first.
    if let Some(idle) = cpu.idle {
        files.push(Setting::new("idle cpu time", "cpu.idle", &idle));
    }
    Ok(files)
}

fn block_io(block_io: &BlockIo) -> Result<Vec<Setting>> {
    if block_io.leaf_weight.is_some() || block_io.weight_device.iter().any(|one| one.leaf_weight.is_some()) {
        return Err(unsupported("io leaf weight", 2, "a group with groups inside has no processes"));
    }
    let mut files = Vec::new();
    if let Some(weight) = block_io.weight {
        files.push(Setting::new("io weight", "io.weight", &format!("default {}", io_weight(weight)?)));
    }
    for device in &block_io.weight_device {
        if let Some(weight) = device.weight {
            let line = format!("{}:{} {}", device.major, device.minor, io_weight(weight)?);
            files.push(Setting::new("io weight", "io.weight", &line));
        }
    }
    let throttles: [(_, &[Throttle]); 4] = [
        ("rbps", &block_io.throttle_read_bps_device),
        ("wbps", &block_io.throttle_write_bps_device),
        ("riops", &block_io.throttle_read_iops_device),
        ("wiops", &block_io.throttle_write_iops_device),
    ];
    for (key, devices) in throttles {
        files.extend(devices.iter().map(|Throttle { major, minor, rate }| {
            let rate = if *rate == 0 { "max".to_owned() } else { rate.to_string() };
            Setting::new("io", "io.max", &format!("{major}:{minor} {key}={rate}"))
        }));
    }
    Ok(files)
}

/// The weight on cgroup v2 of one on v1: 10 to 1000 become 1 to 10000.
fn io_weight(weight: u16) -> Result<u64> {
    match u64::from(weight) {
        weight @ 10..=1000 => Ok(1 + (weight - 10) * 9999 / 990),
        _ => Err(anyhow!("cannot set io weight: it is a number from 10 to 1000")),
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
    use super::super::tests::lines;
    use super::*;
    use crate::hierarchy::Version;

    #[test]
    fn each_limit_has_its_file() {
        let cases = [
            (
                r#"{"memory":{"limit":8192,"swap":16384,"reservation":4096}}"#,
                "memory.max=8192 memory.swap.max=8192 memory.low=4096",
            ),
            (r#"{"memory":{"limit":8192,"swap":8192}}"#, "memory.max=8192 memory.swap.max=0"),
            (r#"{"memory":{"limit":8192,"swap":-1}}"#, "memory.max=8192 memory.swap.max=max"),
            (r#"{"memory":{"limit":-1}}"#, "memory.max=max memory.swap.max=max"),
            (
                r#"{"cpu":{"shares":512,"quota":20000,"period":50000,"burst":5000,"cpus":"0-1","mems":"0","idle":1}}"#,
                "cpu.weight=59 cpu.max=20000 50000 cpu.max.burst=5000 cpuset.cpus=0-1 cpuset.mems=0 cpu.idle=1",
            ),
            (r#"{"cpu":{"period":50000}}"#, "cpu.max=- 50000"),
            (r#"{"cpu":{"quota":-1}}"#, "cpu.max=max"),
            (
                r#"{"pids":{"limit":-1},"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#,
                "pids.max=max hugetlb.2MB.max=0 hugetlb.2MB.rsvd.max=0",
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(lines(Version::V2, json).join(" "), expected);
        }
    }

    #[test]
    fn io_is_limited_by_device() {
        let json = r#"{"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":10}],
            "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],"throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":0}]}}"#;
        assert_eq!(
            lines(Version::V2, json),
            ["io.weight=default 4950", "io.weight=8:0 1", "io.max=8:0 rbps=1", "io.max=8:16 wiops=max"]
        );
    }

    #[test]
    fn what_version_2_has_not_is_refused_with_what_it_has() {
        for json in [
            r#"{"memory":{"swappiness":0}}"#,
            r#"{"memory":{"disableOOMKiller":true}}"#,
            r#"{"memory":{"kernelTCP":1}}"#,
            r#"{"memory":{"swap":8192}}"#,
            r#"{"memory":{"limit":8192,"swap":4096}}"#,
            r#"{"cpu":{"realtimePeriod":1}}"#,
            r#"{"blockIO":{"leafWeight":10}}"#,
            r#"{"blockIO":{"weight":1001}}"#,
        ] {
            let resources: Resources = serde_json::from_str(json).unwrap();
            assert!(settings(&resources.normalized(4096), SwapIs::Asked).is_err(), "{json}");
        }
    }

    #[test]
    fn shares_and_weights_correspond_at_both_ends_and_at_the_default() {
        for (shares, expected) in [(2, 1), (1024, 100), (262_144, 10_000), (262_143, 10_000), (3, 2)] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }

    #[test]
    fn io_weights_correspond_at_both_ends() {
        for (weight, expected) in [(10, 1), (500, 4950), (1000, 10_000)] {
            assert_eq!(io_weight(weight).unwrap(), expected, "{weight}");
        }
        assert!(io_weight(9).is_err());
    }
}
