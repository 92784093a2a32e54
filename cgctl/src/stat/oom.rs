//! Who was killed because memory ran out, and where.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;

use crate::dirs;
use crate::group::CgroupPath;

#[derive(Debug, Serialize)]
pub struct Oom {
    /// Those in which there were any: the group itself first, then those inside it that are still there.
    groups: Vec<Kills>,
    /// As far as the kernel's log still tells, the oldest first.
    victims: Vec<Victim>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kills {
    pub cgroups_path: String,
    pub kills: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Victim {
    /// Its number on the host.
    pid: i32,
    name: String,
    uid: u32,
    cgroups_path: String,
}

/// `None` if there were none.
pub fn of(group: &CgroupPath, kills: Vec<Kills>) -> Option<Oom> {
    let groups: Vec<Kills> = kills.into_iter().filter(|one| one.kills > 0).collect();
    (!groups.is_empty()).then(|| Oom { groups, victims: victims(group).unwrap_or_default() })
}

/// The groups inside `group`, with what `of` says of the directory of each.
pub fn inside(dir: &Path, group: &CgroupPath, of: impl Fn(&Path) -> Option<u64>) -> Vec<Kills> {
    let all = dirs::nested(dir);
    let kills = all.iter().filter_map(|inner| {
        let below = inner.strip_prefix(dir).ok()?;
        Some(Kills { cgroups_path: format!("{group}/{}", below.display()), kills: of(inner)? })
    });
    kills.collect()
}

/// /dev/kmsg yields one message with each read, from the oldest on (Documentation/ABI/testing/dev-kmsg).
fn victims(group: &CgroupPath) -> Option<Vec<Victim>> {
    let mut log: File =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").ok()?;
    let mut found = Vec::new();
    let mut message = [0u8; 8192];
    loop {
        match log.read(&mut message) {
            Ok(length) => found.extend(victim(&String::from_utf8_lossy(&message[..length]), group)),
            // It was overwritten before it was read.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(_) => return Some(found),
        }
    }
}

/// `6,339,5140900,-;oom-kill:constraint=CONSTRAINT_MEMCG,...,task_memcg=/a/b,task=sh,pid=17,uid=0`
/// (mm/oom_kill.c, `dump_oom_victim`), if it is of `group` or of one inside it.
fn victim(message: &str, group: &CgroupPath) -> Option<Victim> {
    let facts = message.split_once(";oom-kill:")?.1.lines().next()?;
    let (_, rest) = facts.split_once(",task_memcg=")?;
    let (path, rest) = rest.split_once(",task=")?;
    // A task's name may have anything in it.
    let (name, rest) = rest.rsplit_once(",pid=")?;
    let (pid, uid) = rest.split_once(",uid=")?;
    let below = path.strip_prefix(group.as_str())?;
    let ours = below.is_empty() || below.starts_with('/');
    ours.then_some(Victim {
        pid: pid.parse().ok()?,
        name: name.to_owned(),
        uid: uid.parse().ok()?,
        cgroups_path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_victim_belongs_to_the_group_or_to_one_inside() {
        let message = |path: &str| {
            format!(
                "6,339,5140900,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,\
                 oom_memcg=/g,task_memcg={path},task=a,pid=1,pid=17,uid=1000\n SUBSYSTEM=x\n"
            )
        };
        let group = "/g/a".parse().unwrap();
        let found = victim(&message("/g/a/inner"), &group).unwrap();
        let expected =
            Victim { pid: 17, name: "a,pid=1".into(), uid: 1000, cgroups_path: "/g/a/inner".into() };
        assert_eq!(found, expected);
        assert!(victim(&message("/g/a"), &group).is_some());
        assert!(victim(&message("/g/ab"), &group).is_none());
        assert!(victim("6,1,1,-;something else\n", &group).is_none());
    }
}
