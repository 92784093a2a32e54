//! `attach`: moves processes into a group, in every hierarchy, or leaves them where they are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use stage::Explain;

use crate::group::CgroupPath;
use crate::hierarchy;

pub fn command(group: &CgroupPath, pids: &[i32]) -> Result<()> {
    stage::need_root()?;
    let (_, hierarchies) = hierarchy::ours()?;
    let there: Vec<_> = hierarchies.iter().filter(|one| group.below(&one.mount).exists()).collect();
    if there.is_empty() {
        return Err(anyhow!("cannot attach to {group}: there is no such cgroup"))
            .hint("cgctl ls lists what there is");
    }
    stage::signals::hold()?;
    stage::undoable(|undo| {
        for hierarchy in there {
            let dir = group.below(&hierarchy.mount);
            for pid in pids {
                let former = hierarchy.group_of(&pid.to_string()).map(|path| path.below(&hierarchy.mount));
                let pid = *pid;
                undo.push(move || former.map_or(Ok(()), |former: PathBuf| enter(&former, pid)));
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
