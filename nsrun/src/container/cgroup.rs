//! The container's cgroup: entering it, and what the container sees of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::OpenTreeFlags;

use super::flags::Flags;
use super::mounts::{attach_as, directory, make_top_read_only, unescaped};
use super::root::{Links, Root};
use crate::call::Call;
use crate::document::Cgroup;

/// A hold on the container's cgroup, taken where its paths mean what the document says.
#[derive(Debug)]
pub enum Door {
    /// The caller's own.
    None,
    /// `tasks` of the directory in each hierarchy.
    V1(Vec<(PathBuf, File)>),
    /// The directory.
    V2(OwnedFd),
}

impl Door {
    pub fn open(cgroup: Option<&Cgroup>) -> Result<Door> {
        match cgroup {
            None => Ok(Door::None),
            Some(cgroup) if cgroup.version == 1 => Door::open_v1(&cgroup.paths).map(Door::V1),
            Some(cgroup) => {
                let Some(path) = cgroup.paths.values().next() else { return Ok(Door::None) };
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let fd = rustix::fs::open(path, flags, Mode::empty()).call("open");
                fd.map(Door::V2).with_context(|| format!("cannot join cgroup {}", path.display()))
            }
        }
    }

    fn open_v1(paths: &BTreeMap<String, PathBuf>) -> Result<Vec<(PathBuf, File)>> {
        // Controllers that are mounted together share a directory.
        let mut directories: Vec<&PathBuf> = paths.values().collect();
        directories.dedup();
        let open = |path: &PathBuf| {
            let file = OpenOptions::new().write(true).custom_flags(libc::O_CLOEXEC).open(path.join("tasks"));
            let file =
                file.context("open tasks").with_context(|| format!("cannot join cgroup {}", path.display()));
            Ok((path.clone(), file?))
        };
        directories.into_iter().map(open).collect()
    }

    /// For clone3: on v2 the child is in its cgroup from its first instruction.
    pub fn for_clone(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        match self {
            Door::V2(directory) => Some(directory.as_fd()),
            _ => None,
        }
    }

    /// For the child: on v1 it enters by itself, before it does anything else. Writing `0` to `tasks` moves the
    /// writer's thread alone, which needs no RCU grace period, as writing a pid to `cgroup.procs` does (8 to 16 ms);
    /// the process has one thread, so it is in whole.
    pub fn enter(&self) -> Result<()> {
        let Door::V1(tasks) = self else { return Ok(()) };
        for (path, file) in tasks {
            stage::shell(&["sh", "-c", &format!("echo 0 > {}/tasks", path.display())]);
            let mut file: &File = file;
            file.write_all(b"0")
                .context("write tasks")
                .with_context(|| format!("cannot join cgroup {}", path.display()))?;
        }
        Ok(())
    }
}

/// Mounts what the container may see of its cgroups: on v2 its own directory; on v1 a directory for each hierarchy,
/// as runc and docker do. They are binds of what is mounted on the host: no option of a hierarchy can change.
pub fn mount(root: &Root, destination: &Path, flags: &Flags) -> Result<()> {
    let hierarchies = Hierarchy::all()?;
    if let [Hierarchy { name: None, path, .. }] = &hierarchies[..] {
        return bind(path, root, destination, flags);
    }
    let place = directory(root, destination, Links::InRoot)?;
    let tmpfs = Flags::parse(&["nosuid", "noexec", "nodev", "mode=755"].map(str::to_owned));
    super::mounts::mount(Path::new("tmpfs"), place.as_fd(), "tmpfs", &tmpfs)?;
    let place = root.find(destination, Links::InRoot).call("openat2")?;
    for hierarchy in hierarchies.iter().filter(|hierarchy| hierarchy.name.is_some()) {
        hierarchy.mount_below(&place, root, destination, flags)?;
    }
    if flags.mount.contains(rustix::mount::MountFlags::RDONLY) {
        make_top_read_only(root.find(destination, Links::InRoot).call("openat2")?.as_fd())?;
    }
    Ok(())
}

fn bind(path: &Path, root: &Root, destination: &Path, flags: &Flags) -> Result<()> {
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, path, clone).call("open_tree")?;
    let place = directory(root, destination, Links::InRoot)?;
    attach_as(root, destination, tree.as_fd(), place.as_fd(), flags)
}

/// One cgroup hierarchy of this machine, and this process's directory in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    /// Of the mount point's last component; `None` on v2.
    name: Option<OsString>,
    /// Its controllers, as v1 names them.
    controllers: Vec<String>,
    path: PathBuf,
}

impl Hierarchy {
    /// Before pivot_root: mountinfo's paths are the host's.
    fn all() -> Result<Vec<Hierarchy>> {
        let read = |name: &str| {
            let path = format!("/proc/thread-self/{name}");
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        Ok(parse(&read("mountinfo")?, &read("cgroup")?))
    }

    fn mount_below(&self, parent: &OwnedFd, root: &Root, destination: &Path, flags: &Flags) -> Result<()> {
        let Some(name) = &self.name else { return Ok(()) };
        bind(&self.path, root, &destination.join(name), flags)?;
        // `cpu` for `cpu,cpuacct`.
        for controller in self.controllers.iter().filter(|controller| name.as_os_str() != controller.as_str())
        {
            match rustix::fs::symlinkat(name.as_os_str(), parent, controller.as_str()) {
                Err(rustix::io::Errno::EXIST) => {}
                made => made.call("symlinkat")?,
            }
        }
        Ok(())
    }
}

/// `mountinfo` and `cgroup` of one process. A unified hierarchy beside others is left out: it has nothing that
/// limits, and engines do not mount it, either.
fn parse(mountinfo: &str, cgroup: &str) -> Vec<Hierarchy> {
    let found: Vec<Hierarchy> = mountinfo.lines().filter_map(|line| hierarchy(line, cgroup)).collect();
    let v1: Vec<Hierarchy> = found.iter().filter(|one| one.name.is_some()).cloned().collect();
    if v1.is_empty() { found.into_iter().take(1).collect() } else { v1 }
}

fn hierarchy(line: &str, cgroup: &str) -> Option<Hierarchy> {
    let (mount, fs) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (PathBuf::from(unescaped(fields.next()?)), PathBuf::from(unescaped(fields.next()?)));
    let mut fs = fs.split(' ');
    let kind = fs.next()?;
    let options: Vec<&str> = fs.nth(1)?.split(',').collect();
    let entry = |wanted: &dyn Fn(&str, &str) -> bool| {
        cgroup.lines().find_map(|line| {
            let (number, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            wanted(number, controllers).then(|| (controllers.to_owned(), path.to_owned()))
        })
    };
    let (controllers, path) = match kind {
        "cgroup2" => entry(&|number, controllers| number == "0" && controllers.is_empty())?,
        "cgroup" => entry(&|_, controllers| {
            !controllers.is_empty() && controllers.split(',').all(|one| options.contains(&one))
        })?,
        _ => return None,
    };
    // Where only a part of a hierarchy is mounted, paths begin at that part.
    let below = Path::new(&path).strip_prefix(&root).ok()?;
    let name = (kind == "cgroup").then(|| point.file_name().map(OsString::from)).flatten();
    let controllers = controllers.split(',').filter(|one| !one.is_empty() && !one.contains('='));
    Some(Hierarchy { name, controllers: controllers.map(str::to_owned).collect(), path: point.join(below) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(mountinfo: &str, cgroup: &str) -> Vec<(String, String)> {
        parse(mountinfo, cgroup)
            .into_iter()
            .map(|one| (one.path.display().to_string(), one.controllers.join(",")))
            .collect()
    }

    const CPU: &str = "1 2 0:3 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
    const SYSTEMD: &str = "1 2 0:4 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n";
    const V2: &str = "1 2 0:5 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn hybrid_shows_the_v1_hierarchies() {
        let cgroup = "3:cpu,cpuacct:/a/b\n2:name=systemd:/\n0::/u\n";
        assert_eq!(
            paths(&[CPU, SYSTEMD, V2].concat(), cgroup),
            [
                ("/sys/fs/cgroup/cpu,cpuacct/a/b".to_owned(), "cpu,cpuacct".to_owned()),
                ("/sys/fs/cgroup/systemd/".to_owned(), String::new())
            ]
        );
    }

    #[test]
    fn unified_is_one() {
        assert_eq!(paths(V2, "0::/u\n"), [("/sys/fs/cgroup/unified/u".to_owned(), String::new())]);
    }

    #[test]
    fn a_part_of_a_hierarchy_may_be_mounted() {
        let part = CPU.replace(" / ", " /docker/x ");
        assert_eq!(paths(&part, "3:cpu,cpuacct:/docker/x/y\n")[0].0, "/sys/fs/cgroup/cpu,cpuacct/y");
        assert_eq!(paths(&part, "3:cpu,cpuacct:/elsewhere\n"), []);
    }
}
