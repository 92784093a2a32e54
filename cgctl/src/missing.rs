//! Says, before anything is made, which controller a limit would need that this host does not offer, and why.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use stage::Explain;

use crate::hierarchy::{ALWAYS, Hierarchy, Version};
use crate::settings::{Setting, Settings};
use crate::subtree::Wanted;

/// The controllers that the groups on cgroup v2 shall have; none on v1, where each has its own hierarchy.
///
/// # Errors
/// A limit needs a controller that is not there.
pub fn controllers(version: Version, hierarchies: &[Hierarchy], settings: &Settings) -> Result<Wanted> {
    let offered: Vec<String> = match version {
        Version::V1 => hierarchies.iter().flat_map(|one| one.controllers.clone()).collect(),
        Version::V2 => offered(&hierarchies[0].mount)?,
    };
    let offers = |controller: &str| offered.iter().any(|one| one == controller);
    let needed =
        |controller: &str| settings.files.iter().any(|one| one.needed && one.controller == *controller);
    if let Some(setting) = settings.files.iter().find(|one| one.needed && !offers(&one.controller)) {
        return refused(version, setting);
    }
    if version == Version::V1 {
        return Ok(Wanted::default());
    }
    let all: BTreeSet<&str> = settings.files.iter().map(|one| &*one.controller).chain(ALWAYS).collect();
    let ours = all.into_iter().filter(|controller| offers(controller)).map(str::to_owned);
    let (needed, welcome) = ours.partition(|controller| needed(controller));
    Ok(Wanted { needed, welcome })
}

/// Every controller that a hierarchy of cgroup v2 can hand down.
pub fn all(hierarchy: &Hierarchy) -> Result<Wanted> {
    Ok(Wanted { needed: Vec::new(), welcome: offered(&hierarchy.mount)? })
}

/// The controllers that the root of the mounted hierarchy can hand down.
fn offered(mount: &Path) -> Result<Vec<String>> {
    let file = mount.join("cgroup.controllers");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

fn refused(version: Version, setting: &Setting) -> Result<Wanted> {
    let kernel = std::fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let (what, controller) = (setting.what, &setting.controller);
    Err(anyhow!("cannot limit {what}: cgroup v{}: there is no {controller} controller", version.number()))
        .hint(hint(version, controller, &kernel))
}

/// What would enable it. `kernel` is /proc/cgroups: name, hierarchy, number of groups, enabled.
fn hint(version: Version, controller: &str, kernel: &str) -> String {
    let line = kernel.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = line.filter(|fields| fields.len() == 4).find(|fields| fields[0] == controller);
    match (line.as_deref(), version) {
        (None, _) => format!("this kernel was built without the {controller} controller"),
        (Some([_, _, _, "0"]), _) => {
            format!("it is disabled on the kernel's command line: boot with cgroup_enable={controller}")
        }
        (Some([_, "0", ..]), Version::V1) => {
            format!(
                "mount -t cgroup -o {controller} cgroup /sys/fs/cgroup/{controller}, once that directory is there"
            )
        }
        (Some(_), Version::V1) => {
            "it is in use, but not mounted here: run cgctl where the host's /sys/fs/cgroup is mounted"
                .to_owned()
        }
        (Some([_, "0", ..]), Version::V2) => {
            "this part of the hierarchy was not given it: with systemd, set Delegate=yes for the unit"
                .to_owned()
        }
        (Some(_), Version::V2) => {
            "a cgroup v1 hierarchy has it: mount that, or boot with systemd.unified_cgroup_hierarchy=1"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: &str = "#subsys_name hierarchy num_cgroups enabled\ncpu 1 1 1\npids 0 1 1\nmemory 0 1 0\n";

    #[test]
    fn the_hint_fits_the_host() {
        let cases = [
            (
                Version::V1,
                "memory",
                "it is disabled on the kernel's command line: boot with cgroup_enable=memory",
            ),
            (Version::V1, "rdma", "this kernel was built without the rdma controller"),
            (
                Version::V1,
                "pids",
                "mount -t cgroup -o pids cgroup /sys/fs/cgroup/pids, once that directory is there",
            ),
            (
                Version::V2,
                "cpu",
                "a cgroup v1 hierarchy has it: mount that, or boot with systemd.unified_cgroup_hierarchy=1",
            ),
        ];
        for (version, controller, expected) in cases {
            assert_eq!(hint(version, controller, KERNEL), expected);
        }
    }
}
