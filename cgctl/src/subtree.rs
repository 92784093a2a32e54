//! cgroup v2: a group has the controllers that every group above it hands down.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use stage::Explain;

use crate::group::CgroupPath;
use crate::{processes, systemd};

/// Controllers that the group shall have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// A limit needs them.
    pub needed: Vec<String>,
    /// Only `stat` reads them: where they cannot be had, their figures are missing.
    pub welcome: Vec<String>,
}

/// Makes every group above `group` hand down the controllers. Whether all of them are there.
///
/// This is not taken back, not even after a failure: a group that somebody else has made meanwhile would lose its
/// limits without a word.
pub fn hand_down(mount: &Path, group: &CgroupPath, wanted: &Wanted) -> Result<bool> {
    for dir in above(mount, group) {
        let file = dir.join("cgroup.subtree_control");
        let now = match std::fs::read_to_string(&file) {
            Ok(now) => now,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        if let Some(line) = missing(&now, &wanted.needed) {
            write(&dir, &line)?;
        }
        if let Some(line) = missing(&now, &wanted.welcome) {
            write(&dir, &line).ok();
        }
    }
    Ok(true)
}

/// The groups that have to hand down, the root first; only those in the unit where the others are systemd's, which
/// hands down to a delegated unit whatever it has.
fn above(mount: &Path, group: &CgroupPath) -> Vec<PathBuf> {
    if systemd::is_delegated(group) {
        return systemd::ours_above(group).iter().map(|path| path.below(mount)).collect();
    }
    let mut all = vec![mount.to_owned()];
    all.extend(group.above().iter().map(|path| path.below(mount)));
    all
}

/// What to write so that all of `wanted` are handed down.
fn missing(now: &str, wanted: &[impl AsRef<str>]) -> Option<String> {
    let missing: Vec<String> = wanted
        .iter()
        .map(AsRef::as_ref)
        .filter(|controller| !now.split_whitespace().any(|one| one == *controller))
        .map(|controller| format!("+{controller}"))
        .collect();
    (!missing.is_empty()).then(|| missing.join(" "))
}

fn write(dir: &Path, line: &str) -> Result<()> {
    let file = dir.join("cgroup.subtree_control");
    stage::shell(&["echo", line, ">", &file.to_string_lossy()]);
    let Err(error) = std::fs::write(&file, line) else { return Ok(()) };
    let what = format!("cannot enable {} in {}: write", line.replace('+', ""), file.display());
    match error.kind() {
        // "No internal processes" (cgroup-v2.rst).
        ErrorKind::ResourceBusy => Err(anyhow!(
            "{what}: a group that has processes of its own cannot hand down controllers"
        ))
        .hint(format!(
            "{}; move them into a group below, or use another --cgroup-parent",
            processes::hint(dir)
        )),
        _ => Err(error).context(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_written() {
        assert_eq!(missing("cpu pids\n", &["memory", "pids", "cpu"]).unwrap(), "+memory");
        assert_eq!(missing("", &["memory", "pids"]).unwrap(), "+memory +pids");
        assert_eq!(missing("cpuset\n", &["cpu"]).unwrap(), "+cpu");
        assert_eq!(missing("cpu memory\n", &["memory"]), None);
        assert_eq!(missing("cpu memory\n", &[""; 0]), None);
    }
}
