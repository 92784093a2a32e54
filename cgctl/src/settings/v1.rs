//! The files of cgroup v1.

use anyhow::Result;

use super::{Setting, Settings};
use crate::device::{Kind, Rule};
use crate::limits::SwapIs;
use crate::resources::{BlockIo, Cpu, Memory, Resources, Throttle};

pub fn settings(resources: &Resources, swap_is: SwapIs) -> Result<Settings> {
    let mut files = Vec::new();
    if let Some(memory) = &resources.memory {
        files.extend(self::memory(memory, swap_is));
    }
    if let Some(cpu) = &resources.cpu {
        files.extend(self::cpu(cpu));
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        let value = if limit < 0 { "max".to_owned() } else { limit.to_string() };
        files.push(Setting::new("processes", "pids.max", &value));
    }
    if let Some(block_io) = &resources.block_io {
        files.extend(self::block_io(block_io));
    }
    for page in resources.hugepage_limits.iter().flatten() {
        let file = |kind: &str| format!("hugetlb.{}.{kind}limit_in_bytes", page.page_size);
        files.push(Setting::new("huge pages", file(""), &page.limit));
        // KERNEL(5.7): reservations count.
        files.push(Setting::new("huge pages", file("rsvd."), &page.limit).unless_missing());
    }
    files.extend(resources.devices.iter().flatten().flat_map(device));
    Ok(Settings { files, devices: None })
}

fn memory(memory: &Memory, swap_is: SwapIs) -> Vec<Setting> {
    let mut files = Vec::new();
    // The limit first: it must never be above the one of memory and swap together, which a new group has at no
    // limit.
    if let Some(limit) = memory.limit {
        files.push(Setting::new("memory", "memory.limit_in_bytes", &limit));
    }
    let swap = |total: i64| Setting::new("swap", "memory.memsw.limit_in_bytes", &total);
    match (memory.swap, memory.limit) {
        // Where swap is not accounted for there is no limit on it.
        (Some(-1), _) | (None, Some(-1)) => files.push(swap(-1).unless_missing()),
        (Some(total), _) if swap_is == SwapIs::Implied => files.push(swap(total).unless_missing()),
        (Some(total), _) => files.push(swap(total)),
        (None, _) => {}
    }
    if let Some(reservation) = memory.reservation {
        files.push(Setting::new("reserved memory", "memory.soft_limit_in_bytes", &reservation));
    }
    if let Some(bytes) = memory.kernel_tcp {
        files.push(Setting::new("memory of TCP", "memory.kmem.tcp.limit_in_bytes", &bytes));
    }
    if let Some(swappiness) = memory.swappiness {
        files.push(Setting::new("swappiness", "memory.swappiness", &swappiness));
    }
    if memory.disable_oom_killer == Some(true) {
        files.push(Setting::new("the OOM killer", "memory.oom_control", &1));
    }
    files
}

fn cpu(cpu: &Cpu) -> Vec<Setting> {
    let mut files = Vec::new();
    let mut set = |what, file: &'static str, value: Option<String>| {
        files.extend(value.map(|value| Setting::new(what, file, &value)));
    };
    set("cpu shares", "cpu.shares", cpu.shares.map(|n| n.to_string()));
    set("cpu time", "cpu.cfs_period_us", cpu.period.map(|n| n.to_string()));
    set("cpu time", "cpu.cfs_quota_us", cpu.quota.map(|n| n.to_string()));
    set("cpu bursts", "cpu.cfs_burst_us", cpu.burst.map(|n| n.to_string()));
    set("realtime cpu time", "cpu.rt_period_us", cpu.realtime_period.map(|n| n.to_string()));
    set("realtime cpu time", "cpu.rt_runtime_us", cpu.realtime_runtime.map(|n| n.to_string()));
    set("cpus", "cpuset.cpus", cpu.cpus.clone());
    set("memory nodes", "cpuset.mems", cpu.mems.clone());
    // An idle group takes no shares any more: they come first.
    set("idle cpu time", "cpu.idle", cpu.idle.map(|n| n.to_string()));
    files
}

fn block_io(block_io: &BlockIo) -> Vec<Setting> {
    let mut files = Vec::new();
    // The scheduler that weighs is bfq since CFQ, which had blkio.weight, is gone.
    if let Some(weight) = block_io.weight {
        files.push(Setting::new("io weight", "blkio.bfq.weight", &weight));
    }
    if let Some(weight) = block_io.leaf_weight {
        files.push(Setting::new("io leaf weight", "blkio.leaf_weight", &weight));
    }
    for device in &block_io.weight_device {
        let line = |weight| format!("{}:{} {weight}", device.major, device.minor);
        if let Some(weight) = device.weight {
            files.push(Setting::new("io weight", "blkio.bfq.weight_device", &line(weight)));
        }
        if let Some(weight) = device.leaf_weight {
            files.push(Setting::new("io leaf weight", "blkio.leaf_weight_device", &line(weight)));
        }
    }
    let throttles: [(_, &[Throttle]); 4] = [
        ("blkio.throttle.read_bps_device", &block_io.throttle_read_bps_device),
        ("blkio.throttle.write_bps_device", &block_io.throttle_write_bps_device),
        ("blkio.throttle.read_iops_device", &block_io.throttle_read_iops_device),
        ("blkio.throttle.write_iops_device", &block_io.throttle_write_iops_device),
    ];
    for (file, devices) in throttles {
        files.extend(devices.iter().map(|Throttle { major, minor, rate }| {
            Setting::new("io", file, &format!("{major}:{minor} {rate}"))
        }));
    }
    files
}

/// The kernel takes `a` for everything, whatever stands behind it.
fn device(rule: &Rule) -> Vec<Setting> {
    let file = if rule.allow { "devices.allow" } else { "devices.deny" };
    let setting = |rule: &Rule| Setting::new("devices", file, rule);
    if rule.kind() != Kind::All || rule.is_whole() {
        return vec![setting(rule)];
    }
    [Kind::Character, Kind::Block].map(|kind| setting(&Rule { kind: Some(kind), ..rule.clone() })).to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines;
    use crate::hierarchy::Version;

    #[test]
    fn each_limit_has_its_file() {
        let cases = [
            (
                r#"{"memory":{"limit":8192,"swap":16384,"reservation":4096,"kernelTCP":5,"swappiness":0,"disableOOMKiller":true}}"#,
                "memory.limit_in_bytes=8192 memory.memsw.limit_in_bytes=16384 memory.soft_limit_in_bytes=4096 memory.kmem.tcp.limit_in_bytes=5 memory.swappiness=0 memory.oom_control=1",
            ),
            (
                r#"{"cpu":{"shares":512,"quota":20000,"period":100000,"burst":5000,"cpus":"0-1","mems":"0","idle":1}}"#,
                "cpu.shares=512 cpu.cfs_period_us=100000 cpu.cfs_quota_us=20000 cpu.cfs_burst_us=5000 cpuset.cpus=0-1 cpuset.mems=0 cpu.idle=1",
            ),
            (
                r#"{"pids":{"limit":-1},"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#,
                "pids.max=max hugetlb.2MB.limit_in_bytes=0 hugetlb.2MB.rsvd.limit_in_bytes=0",
            ),
            (r#"{"memory":{"limit":-1}}"#, "memory.limit_in_bytes=-1 memory.memsw.limit_in_bytes=-1"),
        ];
        for (json, expected) in cases {
            assert_eq!(lines(Version::V1, json).join(" "), expected);
        }
    }

    #[test]
    fn io_is_limited_by_device() {
        let json = r#"{"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":10}],
            "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],"throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":0}]}}"#;
        assert_eq!(
            lines(Version::V1, json),
            [
                "blkio.bfq.weight=500",
                "blkio.bfq.weight_device=8:0 10",
                "blkio.throttle.read_bps_device=8:0 1",
                "blkio.throttle.write_iops_device=8:16 0",
            ]
        );
    }

    #[test]
    fn device_rules_keep_their_order() {
        let json = r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},{"allow":true,"access":"m"}]}"#;
        assert_eq!(
            lines(Version::V1, json),
            ["devices.deny=a", "devices.allow=c 1:3 rwm", "devices.allow=c *:* m", "devices.allow=b *:* m"]
        );
    }
}
