//! `delegate`: hands a group to a user, who may then make groups inside it and move processes among them.

use std::os::unix::fs::chown;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use stage::Explain;

use crate::group::CgroupPath;
use crate::hierarchy::{self, Version};
use crate::{missing, subtree};

/// What becomes the user's: no file with a limit on the group itself (cgroup-v2.rst, "Delegation").
const V2: [&str; 3] = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];
const V1: [&str; 2] = ["cgroup.procs", "tasks"];

pub fn command(group: &CgroupPath, user: &str) -> Result<()> {
    stage::need_root()?;
    let (uid, gid) = find(user)?;
    let (version, hierarchies) = hierarchy::ours()?;
    let dirs: Vec<_> =
        hierarchies.iter().map(|one| group.below(&one.mount)).filter(|dir| dir.exists()).collect();
    if dirs.is_empty() {
        return Err(anyhow!("cannot delegate {group}: there is no such cgroup"))
            .hint("cgctl ls lists what there is");
    }
    let files: &[&str] = match version {
        Version::V1 => &V1,
        Version::V2 => {
            // All that there are: the user cannot ask for one in the groups above.
            let all = missing::all(&hierarchies[0])?;
            subtree::hand_down(&hierarchies[0].mount, group, &all)?;
            &V2
        }
    };
    for dir in dirs {
        give(&dir, uid, gid)?;
        for file in files {
            give(&dir.join(file), uid, gid)?;
        }
    }
    Ok(())
}

/// A name of the host's users, or a number. Read from the file: a static program cannot ask the services of
/// nsswitch.conf.
fn find(user: &str) -> Result<(u32, u32)> {
    let text = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let number = user.parse::<u32>().ok();
    let known = text.lines().find_map(|line| entry(line, user, number));
    match known.or(number.map(|number| (number, number))) {
        Some(found) => Ok(found),
        None => Err(anyhow!("cannot delegate to {user}: there is no such user")),
    }
}

/// The numbers of user and group in a line of passwd(5), if it is this user's.
fn entry(line: &str, user: &str, number: Option<u32>) -> Option<(u32, u32)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    (name == user || number == Some(uid)).then_some((uid, gid))
}

fn give(path: &Path, uid: u32, gid: u32) -> Result<()> {
    stage::shell(&["chown", &format!("{uid}:{gid}"), &path.to_string_lossy()]);
    chown(path, Some(uid), Some(gid)).with_context(|| format!("cannot delegate {}: chown", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_name_or_number() {
        let line = "build:x:1000:100:,,,:/home/build:/bin/sh";
        assert_eq!(entry(line, "build", None), Some((1000, 100)));
        assert_eq!(entry(line, "1000", Some(1000)), Some((1000, 100)));
        assert_eq!(entry(line, "buil", None), None);
        assert_eq!(entry("+::::::", "build", None), None);
    }
}
