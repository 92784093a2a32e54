//! Making and removing the directories of a group in one hierarchy.

use std::fs::{DirBuilder, create_dir, read_dir, remove_dir};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use stage::{Explain, Undo};

use crate::group::CgroupPath;
use crate::hierarchy::{Hierarchy, Version};
use crate::{processes, subtree, systemd};

/// Marks a parent that cgctl has made: it goes with the last group in it. What others have made stays.
const MARK: &str = "trusted.gocker";

/// What to do with a group that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Refused,
    /// Somebody has made it for us. It stays when we fail.
    TakenIfEmpty,
}

/// Makes `group`, and what is missing above it. On v2 the groups above hand down `controllers`.
pub fn make(
    hierarchy: &Hierarchy,
    group: &CgroupPath,
    controllers: &subtree::Wanted,
    existing: Existing,
    undo: &mut Undo,
) -> Result<()> {
    let dir = group.below(&hierarchy.mount);
    let (of, path) = (hierarchy.clone(), group.clone());
    undo.push(move || remove_parents(&of, &path));
    // Somebody else's undo may remove the parent, empty for a moment, at any time: then from the start.
    let made = loop {
        match try_make(hierarchy, group, controllers, &dir)? {
            Made::Yes => break true,
            Made::Existed if existing == Existing::TakenIfEmpty => break false,
            Made::Existed => return Err(Errno::EXIST).with_context(|| cannot_make(&dir)),
            Made::ParentGone => {}
        }
    };
    if !made {
        return taken(&dir);
    }
    // Only now is it certain that it is ours.
    let (of, path) = (hierarchy.clone(), group.clone());
    undo.push(move || remove(&of, &path));
    copy_cpuset(hierarchy, &dir)
}

enum Made {
    Yes,
    Existed,
    /// Meanwhile.
    ParentGone,
}

fn try_make(
    hierarchy: &Hierarchy,
    group: &CgroupPath,
    controllers: &subtree::Wanted,
    dir: &Path,
) -> Result<Made> {
    if hierarchy.version == Version::V2 {
        make_parents(hierarchy, group)?;
        if !subtree::hand_down(&hierarchy.mount, group, controllers)? {
            return Ok(Made::ParentGone);
        }
    }
    match create_dir(dir) {
        Ok(()) => {
            stage::shell(&["mkdir", &dir.to_string_lossy()]);
            Ok(Made::Yes)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_parents(hierarchy, group)?;
            Ok(Made::ParentGone)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Made::Existed),
        Err(error) => Err(error).with_context(|| cannot_make(dir)),
    }
}

fn cannot_make(dir: &Path) -> String {
    format!("cannot make cgroup {}: mkdir", dir.display())
}

/// # Errors
/// Somebody is in it: its limits are not ours to set.
fn taken(dir: &Path) -> Result<()> {
    let pids = processes::of(dir);
    if pids.is_empty() {
        return Ok(());
    }
    Err(anyhow!("cannot use cgroup {}: {}", dir.display(), processes::describe(&pids)))
        .hint("cgctl set changes the limits of a group in use")
}

fn make_parents(hierarchy: &Hierarchy, group: &CgroupPath) -> Result<()> {
    let delegated = hierarchy.version == Version::V2 && systemd::is_delegated(group);
    let above = if delegated { systemd::inside_above(group) } else { group.above() };
    for above in above {
        let dir = above.below(&hierarchy.mount);
        match DirBuilder::new().mode(0o755).create(&dir) {
            Ok(()) => {
                stage::shell(&["mkdir", &dir.to_string_lossy()]);
                // Where this fails the parent stays, as one that others have made.
                rustix::fs::setxattr(&dir, MARK, b"1", XattrFlags::empty()).ok();
                copy_cpuset(hierarchy, &dir)?;
            }
            // An engine may have made it for all hierarchies, and set nothing.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => copy_cpuset(hierarchy, &dir)?,
            // The one above it has gone: the caller starts again.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| cannot_make(&dir)),
        }
    }
    Ok(())
}

/// A new v1 group has no cpus and no memory nodes, and no process can enter it until it has
/// (cgroup-v1/cpusets.rst). Matters only where cpuset is mounted together with one of our controllers.
fn copy_cpuset(hierarchy: &Hierarchy, dir: &Path) -> Result<()> {
    if hierarchy.version == Version::V2 || !hierarchy.has("cpuset") {
        return Ok(());
    }
    let above = dir.parent().unwrap_or(dir);
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let context = || format!("cannot set {}", dir.join(file).display());
        let now = std::fs::read_to_string(dir.join(file)).with_context(context)?;
        if !now.trim().is_empty() {
            continue;
        }
        let value = std::fs::read(above.join(file)).with_context(context)?;
        std::fs::write(dir.join(file), value).with_context(context)?;
    }
    Ok(())
}

/// Removes `group` in one hierarchy, with the groups that were made inside, and the parents that are then empty.
pub fn remove(hierarchy: &Hierarchy, group: &CgroupPath) -> Result<()> {
    let dir = group.below(&hierarchy.mount);
    // Most groups have none inside: the kernel tells when there are.
    if remove_dir(&dir).is_ok() {
        shown_rmdir(&dir);
    } else {
        for nested in nested(&dir).iter().rev() {
            remove_one(nested)?;
        }
        remove_one(&dir)?;
    }
    remove_parents(hierarchy, group)
}

fn shown_rmdir(dir: &Path) {
    stage::shell(&["rmdir", &dir.to_string_lossy()]);
}

/// The groups inside `dir`, at any depth, parents first.
pub fn nested(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        let entries = read_dir(&dir).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            found.push(entry.path());
            open.push(entry.path());
        }
    }
    found
}

fn remove_one(dir: &Path) -> Result<()> {
    // A process that has just ended leaves its group a moment later, and no event tells.
    let mut tries = 0;
    loop {
        match remove_dir(dir) {
            Ok(()) => {
                shown_rmdir(dir);
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error)
                if error.kind() == ErrorKind::ResourceBusy
                    && tries < 1000
                    && processes::of(dir).is_empty() =>
            {
                tries += 1;
                std::thread::yield_now();
            }
            Err(error) => {
                let busy = error.kind() == ErrorKind::ResourceBusy;
                let failed =
                    Err(error).with_context(|| format!("cannot remove cgroup {}: rmdir", dir.display()));
                return if busy { failed.hint(processes::hint(dir)) } else { failed };
            }
        }
    }
}

fn remove_parents(hierarchy: &Hierarchy, group: &CgroupPath) -> Result<()> {
    for above in group.above().iter().rev() {
        let dir = above.below(&hierarchy.mount);
        let mut mark = [0u8; 1];
        let ours = rustix::fs::getxattr(&dir, MARK, &mut mark).is_ok();
        if !ours || remove_dir(&dir).is_err() {
            // Others' or, more often, not empty.
            return Ok(());
        }
        shown_rmdir(&dir);
    }
    Ok(())
}
