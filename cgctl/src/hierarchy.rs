//! Which cgroup hierarchies this process can reach, from /proc/self/mountinfo; and which of them to use.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use stage::Explain;

use crate::group::CgroupPath;

/// The v1 controllers in whose hierarchies a container always gets a group: those that limit it most often, those that
/// `stat` reads, and the one that stops a fork bomb while it is killed. On v2 the same, as far as they are there.
pub const ALWAYS: [&str; 5] = ["memory", "cpu", "cpuacct", "pids", "freezer"];

/// Those in which it gets one where a limit needs it, or where somebody else's engine asks for the group.
///
/// Never named hierarchies, nor the v2 one of a hybrid host: they hold systemd's idea of which service a process
/// belongs to, which a container does not change.
pub const ON_DEMAND: [&str; 5] = ["cpuset", "devices", "blkio", "hugetlb", "io"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

impl Version {
    pub fn number(self) -> u8 {
        match self {
            Version::V1 => 1,
            Version::V2 => 2,
        }
    }
}

/// One hierarchy, where it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    pub version: Version,
    /// v1: what is mounted together there. v2: empty, the files of each group tell.
    pub controllers: Vec<String>,
    pub mount: PathBuf,
    /// The group that the mount point shows; `/` but for a part of a hierarchy, bound into a container.
    pub root: String,
    device: String,
}

impl Hierarchy {
    /// The keys of this hierarchy in `cgroup.paths`.
    pub fn keys(&self) -> Vec<&str> {
        match self.version {
            Version::V1 => self.controllers.iter().map(String::as_str).filter(|one| is_ours(one)).collect(),
            Version::V2 => vec![""],
        }
    }

    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|one| one == controller)
    }

    /// It is used whatever is to be limited.
    pub fn is_always_used(&self) -> bool {
        self.version == Version::V2 || ALWAYS.into_iter().any(|one| self.has(one))
    }

    /// The group that a process is in (`self`, or a number), from the mount point; `None` if that cannot be seen here.
    pub fn group_of(&self, process: &str) -> Option<CgroupPath> {
        let text = std::fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
        let path = self.path_in(&text)?;
        let below = path.strip_prefix(self.root.trim_end_matches('/'))?;
        if below.is_empty() { "/".parse().ok() } else { below.parse().ok() }
    }

    /// `4:memory:/gocker/x` on v1, `0::/gocker/x` on v2 (cgroups(7)).
    fn path_in<'a>(&self, text: &'a str) -> Option<&'a str> {
        text.lines().find_map(|line| {
            let (number, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let same = match self.version {
                Version::V1 => controllers.split(',').any(|one| self.has(one)),
                Version::V2 => number == "0" && controllers.is_empty(),
            };
            same.then_some(path)
        })
    }
}

fn is_ours(controller: &str) -> bool {
    ALWAYS.contains(&controller) || ON_DEMAND.contains(&controller)
}

/// Every hierarchy of which a container may have a group, v1 and v2.
pub fn all() -> Result<Vec<Hierarchy>> {
    let text = std::fs::read("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    Ok(parse(&text))
}

/// The hierarchies in which a container's group is made.
///
/// Where a controller that limits is mounted as v1, all are used as v1, as runc and crun do on a hybrid host: a
/// controller is in one hierarchy at a time. A v1 freezer alone beside v2 does not make a host hybrid.
///
/// # Errors
/// No hierarchy is mounted.
pub fn ours() -> Result<(Version, Vec<Hierarchy>)> {
    match choose(all()?) {
        Some(chosen) => Ok(chosen),
        None => Err(anyhow!("cannot make a cgroup: no cgroup file system is mounted"))
            .hint("mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
    }
}

fn choose(all: Vec<Hierarchy>) -> Option<(Version, Vec<Hierarchy>)> {
    let (v1, v2): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.version == Version::V1);
    let limits = v1.iter().any(|one| ["memory", "cpu", "pids"].iter().any(|controller| one.has(controller)));
    match (limits || v2.is_empty(), v1.is_empty()) {
        (true, false) => Some((Version::V1, v1)),
        (false, _) => Some((Version::V2, v2)),
        (true, true) => None,
    }
}

/// The hierarchies of a mountinfo file (proc_pid_mountinfo(5)), each once: where all of it is to be seen, if anywhere.
fn parse(mountinfo: &[u8]) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for one in mountinfo.split(|byte| *byte == b'\n').filter_map(line) {
        match found.iter_mut().find(|known| known.device == one.device) {
            Some(known) if known.root != "/" && one.root == "/" => *known = one,
            Some(_) => {}
            None => found.push(one),
        }
    }
    found
}

/// `36 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory`
fn line(line: &[u8]) -> Option<Hierarchy> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = text(fields.nth(2)?);
    let root = text(fields.next()?);
    let mount = PathBuf::from(OsString::from_vec(unescaped(fields.next()?)));
    let mut behind = fields.skip_while(|field| *field != b"-").skip(1);
    let version = match behind.next()? {
        b"cgroup" => Version::V1,
        b"cgroup2" => Version::V2,
        _ => return None,
    };
    let options = text(behind.nth(1)?);
    let controllers: Vec<String> = match version {
        Version::V1 => options.split(',').map(str::to_owned).collect(),
        Version::V2 => Vec::new(),
    };
    let needed = version == Version::V2 || controllers.iter().any(|one| is_ours(one));
    needed.then_some(Hierarchy { version, controllers, mount, root, device })
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescaped(field)).into_owned()
}

/// Space, tab, newline and backslash are there as a backslash and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, others)) = rest.split_first() {
        let octal = others.get(..3).and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        match octal {
            Some(byte) if *first == b'\\' => {
                out.push(byte);
                rest = &others[3..];
            }
            _ => {
                out.push(*first);
                rest = others;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
40 31 0:36 /part /mnt/pids rw - cgroup cgroup rw,pids
39 31 0:36 / /sys/fs/cgroup/pids rw shared:9 - cgroup cgroup rw,pids
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime - cgroup2 cgroup2 rw
";

    fn mounts(all: &[Hierarchy]) -> Vec<&str> {
        all.iter().map(|one| one.mount.to_str().unwrap()).collect()
    }

    #[test]
    fn a_hierarchy_counts_once_where_all_of_it_is_mounted() {
        let all = parse(HYBRID.as_bytes());
        assert_eq!(
            mounts(&all),
            [
                "/sys/fs/cgroup/pids",
                "/sys/fs/cgroup/cpu,cpuacct",
                "/sys/fs/cgroup/cpuset",
                "/sys/fs/cgroup/uni fied"
            ]
        );
        assert_eq!(all[1].keys(), ["cpu", "cpuacct"]);
    }

    #[test]
    fn a_processs_group_is_found_in_each_hierarchy() {
        let all = parse(HYBRID.as_bytes());
        let text = "9:cpu,cpuacct:/a\n4:pids:/b\n1:name=systemd:/c\n0::/d\n";
        let paths: Vec<_> = all.iter().map(|one| one.path_in(text)).collect();
        assert_eq!(paths, [Some("/b"), Some("/a"), None, Some("/d")]);
    }

    #[test]
    fn a_hybrid_host_is_used_as_v1() {
        let (version, chosen) = choose(parse(HYBRID.as_bytes())).unwrap();
        assert_eq!((version, chosen.len()), (Version::V1, 3));
    }

    #[test]
    fn without_a_controller_that_limits_on_v1_it_is_v2() {
        let text =
            "34 31 0:31 / /c/freezer rw - cgroup cgroup rw,freezer\n41 31 0:38 / /u rw - cgroup2 none rw\n";
        let (version, chosen) = choose(parse(text.as_bytes())).unwrap();
        assert_eq!((version, mounts(&chosen)), (Version::V2, vec!["/u"]));
        assert_eq!(chosen[0].keys(), [""]);
        let (version, chosen) = choose(parse(text.lines().next().unwrap().as_bytes())).unwrap();
        assert_eq!((version, mounts(&chosen)), (Version::V1, vec!["/c/freezer"]));
        assert!(choose(parse(b"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n")).is_none());
    }
}
