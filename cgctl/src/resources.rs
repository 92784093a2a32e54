//! `linux.resources` of the OCI runtime specification: what the document holds and `--resources` reads.
//!
//! Keys that the specification does not know are ignored, as it demands of a runtime.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::device::Rule;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<Pids>,
    #[serde(rename = "blockIO", skip_serializing_if = "Option::is_none")]
    pub block_io: Option<BlockIo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hugepage_limits: Option<Vec<Hugepages>>,
    /// In this order: the last rule that fits a device decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<Rule>>,
    /// Raw values by the names of the kernel's files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unified: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdma: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Bytes; -1 for no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// What is left to the group for longest when memory runs short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<i64>,
    /// Memory and swap together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<i64>,
    #[serde(rename = "kernelTCP", skip_serializing_if = "Option::is_none")]
    pub kernel_tcp: Option<i64>,
    /// 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swappiness: Option<u64>,
    #[serde(rename = "disableOOMKiller", skip_serializing_if = "Option::is_none")]
    pub disable_oom_killer: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cpu {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// Microseconds of cpu time in each period; -1 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<i64>,
    /// Microseconds that may be saved up for a later period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_runtime: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_period: Option<u64>,
    /// A list such as `0-2,7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mems: Option<String>,
    /// 1: runs only when nobody else wants to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pids {
    /// -1 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockIo {
    /// 10 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub weight_device: Vec<WeightDevice>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub throttle_read_bps_device: Vec<Throttle>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub throttle_write_bps_device: Vec<Throttle>,
    #[serde(
        rename = "throttleReadIOPSDevice",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "list"
    )]
    pub throttle_read_iops_device: Vec<Throttle>,
    #[serde(
        rename = "throttleWriteIOPSDevice",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "list"
    )]
    pub throttle_write_iops_device: Vec<Throttle>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightDevice {
    pub major: u32,
    pub minor: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<u16>,
}

/// Bytes or operations in each second; 0 for no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    pub major: u32,
    pub minor: u32,
    pub rate: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hugepages {
    /// As in the kernel's file names: 2MB, 1GB.
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    #[serde(rename = "classID", skip_serializing_if = "Option::is_none")]
    pub class_id: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub priorities: Vec<serde_json::Value>,
}

/// Go writes an empty list as `null`.
fn list<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Resources {
    /// What is to be set: without what means "not set" (0, the empty text, an empty list), and in whole pages of
    /// memory, as the kernel counts it.
    pub fn normalized(mut self, page: u64) -> Resources {
        self.memory = self.memory.map(|memory| memory.normalized(page)).filter(differs);
        self.cpu = self.cpu.map(Cpu::normalized).filter(differs);
        self.pids = self.pids.filter(|pids| pids.limit.is_some_and(|limit| limit != 0));
        self.block_io = self.block_io.map(BlockIo::normalized).filter(differs);
        self.hugepage_limits = self.hugepage_limits.filter(|list| !list.is_empty());
        self.devices = self.devices.filter(|list| !list.is_empty());
        self.unified = self.unified.filter(|map| !map.is_empty());
        self.network = self.network.map(Network::normalized).filter(differs);
        self.rdma = self.rdma.filter(|map| !map.is_empty());
        self
    }
}

fn differs<T: Default + PartialEq>(value: &T) -> bool {
    *value != T::default()
}

fn set<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(differs)
}

impl Memory {
    fn normalized(self, page: u64) -> Memory {
        let page = i64::try_from(page).unwrap_or(1);
        let pages =
            |bytes: Option<i64>| set(bytes).map(|bytes| if bytes < 0 { -1 } else { bytes - bytes % page });
        Memory {
            limit: pages(self.limit),
            reservation: pages(self.reservation),
            swap: pages(self.swap),
            kernel: set(self.kernel).filter(|bytes| *bytes > 0),
            kernel_tcp: set(self.kernel_tcp).filter(|bytes| *bytes > 0),
            // docker's -1, as an unsigned number.
            swappiness: self.swappiness.filter(|value| *value != u64::MAX),
            disable_oom_killer: set(self.disable_oom_killer),
        }
    }
}

impl Cpu {
    fn normalized(self) -> Cpu {
        Cpu {
            shares: set(self.shares),
            quota: set(self.quota),
            burst: self.burst,
            period: set(self.period),
            realtime_runtime: set(self.realtime_runtime),
            realtime_period: set(self.realtime_period),
            cpus: set(self.cpus),
            mems: set(self.mems),
            idle: self.idle,
        }
    }
}

impl BlockIo {
    fn normalized(self) -> BlockIo {
        BlockIo { weight: set(self.weight), leaf_weight: set(self.leaf_weight), ..self }
    }
}

impl Network {
    fn normalized(self) -> Network {
        Network { class_id: set(self.class_id), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(json: &str) -> String {
        let resources: Resources = serde_json::from_str(json).unwrap();
        serde_json::to_string(&resources.normalized(4096)).unwrap()
    }

    #[test]
    fn what_engines_send_for_not_set_is_not_set() {
        for json in [
            "{}",
            r#"{"cpu":{"shares":0,"quota":0,"period":0,"cpus":"","mems":""},"memory":{"limit":0,"swap":0},"pids":{"limit":0}}"#,
            r#"{"blockIO":{"weight":0,"weightDevice":null,"throttleReadBpsDevice":[]},"devices":null,"unified":{}}"#,
            r#"{"memory":{"disableOOMKiller":false,"swappiness":18446744073709551615,"useHierarchy":true},"pids":null}"#,
            r#"{"hugepageLimits":[],"network":{"classID":0},"rdma":{},"cpu":{},"somethingNew":1}"#,
        ] {
            assert_eq!(normalized(json), "{}", "{json}");
        }
    }

    #[test]
    fn what_is_set_stays_in_the_specifications_words() {
        let json = r#"{"memory":{"limit":8192,"swap":-1,"swappiness":0},"cpu":{"burst":0,"idle":0},"pids":{"limit":-1},"blockIO":{"throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":10}]},"hugepageLimits":[{"pageSize":"2MB","limit":0}],"devices":[{"allow":false,"access":"rwm"}]}"#;
        assert_eq!(normalized(json), json);
        assert_eq!(normalized(r#"{"memory":{"limit":8193}}"#), r#"{"memory":{"limit":8192}}"#);
    }
}
