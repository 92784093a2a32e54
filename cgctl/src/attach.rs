//! `attach`: moves processes into a group, in every hierarchy, or leaves them where they are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use stage::{Explain, Id};

use crate::hierarchy::{self, Hierarchy, Version};
use crate::record::Records;

pub fn command(records: &Records, id: &Id, pids: &[i32]) -> Result<()> {
    stage::need_root()?;
    let group = records.group(id);
    let (_, hierarchies) = hierarchy::ours()?;
    stage::signals::hold()?;
    stage::undoable(|undo| {
        for hierarchy in &hierarchies {
            let dir = group.below(&hierarchy.mount);
            if !dir.exists() {
                return Err(anyhow!("cannot attach to {id}: there is no cgroup {}", dir.display()))
                    .hint("cgctl ls lists what there is");
            }
            for pid in pids {
                let former = former(hierarchy, *pid);
                let pid = *pid;
                undo.push(move || former.map_or(Ok(()), |former| enter(&former, pid)));
                enter(&dir, pid)?;
            }
        }
        Ok(())
    })
}

/// cgroup.procs takes a whole process, whichever of its threads it is told (cgroups(7)).
fn enter(dir: &Path, pid: i32) -> Result<()> {
    let file = dir.join("cgroup.procs");
    stage::shell(&["echo", &pid.to_string(), ">", &file.to_string_lossy()]);
    std::fs::write(&file, pid.to_string())
        .with_context(|| format!("cannot attach process {pid}: write {}", file.display()))
}

/// The group that a process is in now, if it can be seen from here.
fn former(hierarchy: &Hierarchy, pid: i32) -> Option<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = path_in(hierarchy, &text)?;
    let below = path.strip_prefix(hierarchy.root.trim_end_matches('/'))?;
    Some(hierarchy.mount.join(below.trim_start_matches('/')))
}

/// `4:memory:/gocker/x` on v1, `0::/gocker/x` on v2 (cgroups(7)).
fn path_in<'a>(hierarchy: &Hierarchy, text: &'a str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (number, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let same = match hierarchy.version {
            Version::V1 => controllers.split(',').any(|one| hierarchy.keys().contains(&one)),
            Version::V2 => number == "0" && controllers.is_empty(),
        };
        same.then_some(path)
    })
}
