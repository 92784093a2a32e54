//! What is in the container's `/dev`: device nodes, links, the console (runtime-spec, config-linux.md).

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Spec};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::mounts::{attach, clone_mount};
use super::root::{Kind, Links, Root};
use super::trees::is_bound;
use crate::call::Call;

/// Those that every container has (runtime-spec, "Default Devices"): name, major and minor number. For everybody.
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 6] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
];

/// Makes the devices of the configuration and the default ones, unless `/dev` is the host's. Expects umask 0.
pub fn fill(root: &Root, spec: &Spec) -> Result<()> {
    let devices = spec.linux().as_ref().and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
    let bound = is_bound(spec, "/dev");
    // Somebody's own /dev is not written to.
    let wanted = devices.iter().filter(|device| !(bound && device.path().starts_with("/dev")));
    for device in wanted {
        make(root, device).with_context(|| format!("cannot make device {}", device.path().display()))?;
    }
    if bound {
        return Ok(());
    }
    let dev = root.find_or_make(Path::new("/dev"), Kind::Directory, Links::InRoot);
    let dev = dev.call("openat2").context("cannot open /dev")?;
    for (name, major, minor) in NODES {
        let made = Node {
            kind: FileType::CharacterDevice,
            mode: 0o666,
            number: rustix::fs::makedev(major, minor),
            source: Path::new("/dev").join(name),
        };
        made.put(dev.as_fd(), OsStr::new(name)).with_context(|| format!("cannot make /dev/{name}"))?;
    }
    for (name, target) in LINKS {
        match rustix::fs::symlinkat(target, &dev, name) {
            // Something the user mounted there.
            Err(Errno::EXIST) => {}
            made => made.call("symlinkat").with_context(|| format!("cannot make /dev/{name}"))?,
        }
    }
    Ok(())
}

/// A device file.
struct Node {
    kind: FileType,
    mode: u32,
    number: u64,
    /// The host's own, for where none can be made.
    source: PathBuf,
}

fn make(root: &Root, device: &LinuxDevice) -> Result<()> {
    let path = device.path();
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { bail!("it is no path") };
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::A => bail!("type a is for rules about devices"),
    };
    let number =
        |number: i64| u32::try_from(number).with_context(|| format!("{number} is not a device number"));
    let node = Node {
        kind,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        number: rustix::fs::makedev(number(device.major())?, number(device.minor())?),
        source: path.clone(),
    };
    let place = root.find_or_make(parent, Kind::Directory, Links::InRoot).call("openat2")?;
    node.put(place.as_fd(), name)?;
    let (uid, gid) = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
    if (uid, gid) == (0, 0) {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::chownat(&place, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).call("fchownat")
}

impl Node {
    fn put(&self, place: BorrowedFd, name: &OsStr) -> Result<()> {
        let Node { kind, mode, number, .. } = self;
        match rustix::fs::mknodat(place, name, *kind, Mode::from_raw_mode(*mode), *number) {
            Err(Errno::EXIST) => self.is_there(place, name),
            // A device cgroup, or a user namespace: the host's own node, then.
            Err(Errno::PERM) => bind_node(place, name, &self.source).context("mknodat refused"),
            made => made.call("mknodat"),
        }
    }

    /// What the configuration itself mounted there may stay; what the image has must be the same device.
    fn is_there(&self, place: BorrowedFd, name: &OsStr) -> Result<()> {
        let stat = rustix::fs::statat(place, name, AtFlags::SYMLINK_NOFOLLOW).call("fstatat")?;
        let same = FileType::from_raw_mode(stat.st_mode) == self.kind
            && (self.kind == FileType::Fifo || stat.st_rdev == self.number);
        let mounted =
            rustix::fs::statat(place, c"", AtFlags::EMPTY_PATH).call("fstat")?.st_dev != stat.st_dev;
        anyhow::ensure!(same || mounted, "something else is there");
        Ok(())
    }
}

fn bind_node(dev: BorrowedFd, name: &OsStr, source: &Path) -> Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, source, flags).call("open_tree")?;
    let place = new_file(dev, name)?;
    attach(tree.as_fd(), place.as_fd())
}

fn new_file(dev: BorrowedFd, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    rustix::fs::openat(dev, name, flags, Mode::from_raw_mode(0o666)).call("openat")
}

/// Makes `/dev/console` the container's terminal. Both ends are descriptors: no name that the image could have
/// turned into something else is followed (CVE-2025-52565).
pub fn console(root: &Root, terminal: BorrowedFd) -> Result<()> {
    let bind = || {
        let dev = root.find(Path::new("/dev"), Links::InRoot).call("openat2")?;
        let place = new_file(dev.as_fd(), OsStr::new("console"))?;
        attach(clone_mount(terminal)?.as_fd(), place.as_fd())
    };
    bind().context("cannot bind the terminal at /dev/console")
}
