//! From `linux.resources` to the values of the kernel's files. Pure; what differs between the versions is in
//! [`v1`] and [`v2`].

mod v1;
mod v2;

use std::borrow::Cow;

use anyhow::{Result, anyhow, bail};

use crate::device::Rule;
use crate::hierarchy::{Hierarchy, Version};
use crate::limits::SwapIs;
use crate::resources::{Network, Resources};

/// In a value: the word that is in the file at this place stays.
pub const KEPT: &str = "-";

/// One value for one file of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// What it limits, in the words of an error.
    pub what: &'static str,
    pub controller: Cow<'static, str>,
    pub file: Cow<'static, str>,
    pub value: String,
    /// That the kernel has no such file is an error.
    pub needed: bool,
}

impl Setting {
    fn new(what: &'static str, file: impl Into<Cow<'static, str>>, value: &impl ToString) -> Setting {
        let file = file.into();
        let controller = file.split('.').next().unwrap_or(&file).to_owned().into();
        Setting { what, controller, file, value: value.to_string(), needed: true }
    }

    /// A value that a new group has anyway, or that nobody asked for: it may be missing.
    fn unless_missing(self) -> Setting {
        Setting { needed: false, ..self }
    }
}

/// All that is to be done to a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// In the order in which they are best written.
    pub files: Vec<Setting>,
    /// v2: the rules of a program, as it has no files for them.
    pub devices: Option<Vec<Rule>>,
}

impl Settings {
    /// A limit is to be set in this hierarchy of cgroup v1.
    pub fn need(&self, hierarchy: &Hierarchy) -> bool {
        self.files.iter().any(|one| one.needed && hierarchy.has(&one.controller))
    }
}

/// # Errors
/// Something that this version cannot limit.
pub fn settings(version: Version, resources: &Resources, swap_is: SwapIs) -> Result<Settings> {
    refuse_strange(resources)?;
    let mut settings = match version {
        Version::V1 => v1::settings(resources, swap_is)?,
        Version::V2 => v2::settings(resources, swap_is)?,
    };
    for (file, value) in resources.unified.iter().flatten() {
        if file.contains('/') || !file.contains('.') {
            bail!("cannot set {file}: this is no file of a cgroup");
        }
        settings.files.push(Setting::new("a raw value", file.clone(), value));
    }
    Ok(settings)
}

/// What no version of cgctl sets.
fn refuse_strange(resources: &Resources) -> Result<()> {
    if let Some(Network { class_id, priorities }) = &resources.network
        && (class_id.is_some() || !priorities.is_empty())
    {
        bail!("cannot limit network: cgctl sets no net_cls class and no net_prio priorities");
    }
    if resources.rdma.is_some() {
        bail!("cannot limit rdma: cgctl knows no limits on rdma");
    }
    if resources.memory.as_ref().is_some_and(|memory| memory.kernel.is_some()) {
        bail!("cannot limit kernel memory: the kernel has no such limit since 5.16");
    }
    match resources.memory.as_ref().and_then(|memory| memory.swappiness) {
        Some(101..) => bail!("cannot set swappiness: it is a number from 0 to 100"),
        _ => Ok(()),
    }
}

fn unsupported(what: &str, version: u8, why: &str) -> anyhow::Error {
    anyhow!("cannot set {what}: cgroup v{version} has none: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn lines(version: Version, json: &str) -> Vec<String> {
        let resources: Resources = serde_json::from_str(json).unwrap();
        let all = settings(version, &resources.normalized(4096), SwapIs::Asked).unwrap();
        all.files.iter().map(|one| format!("{}={}", one.file, one.value)).collect()
    }

    fn refused(version: Version, json: &str) -> String {
        let resources: Resources = serde_json::from_str(json).unwrap();
        settings(version, &resources.normalized(4096), SwapIs::Asked).unwrap_err().to_string()
    }

    #[test]
    fn a_value_belongs_to_the_controller_in_its_files_name() {
        let setting = Setting::new("huge pages", "hugetlb.2MB.max", &0);
        assert_eq!((&*setting.controller, setting.needed), ("hugetlb", true));
    }

    #[test]
    fn raw_values_come_last_and_name_a_file() {
        let json = r#"{"unified":{"memory.high":"64M"},"pids":{"limit":1}}"#;
        assert_eq!(lines(Version::V2, json), ["pids.max=1", "memory.high=64M"]);
        for file in ["../memory.max", "tasks"] {
            let json = format!(r#"{{"unified":{{"{file}":"1"}}}}"#);
            assert_eq!(
                refused(Version::V2, &json),
                format!("cannot set {file}: this is no file of a cgroup")
            );
        }
    }

    #[test]
    fn what_cannot_be_set_is_refused() {
        for (json, expected) in [
            (r#"{"network":{"classID":1}}"#, "cannot limit network: "),
            (r#"{"rdma":{"mlx5_0":{}}}"#, "cannot limit rdma: "),
            (r#"{"memory":{"kernel":4096}}"#, "cannot limit kernel memory: "),
            (r#"{"memory":{"swappiness":101}}"#, "cannot set swappiness: "),
        ] {
            for version in [Version::V1, Version::V2] {
                let message = refused(version, json);
                assert!(message.starts_with(expected), "{message}");
            }
        }
    }
}
