//! The mounts of the configuration, in its order, each onto a descriptor of its destination.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use oci_spec::runtime::Mount;
use rustix::fs::{AtFlags, CWD, FileType};
use rustix::mount::{MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use stage::Explain;

use super::cgroup;
use super::flags::{Bind, Flags};
use super::root::{Kind, Links, Root, by_descriptor};
use crate::call::Call;
use crate::sys::{self, Attributes};

/// A mount, and for a bind what it binds.
#[derive(Debug)]
pub struct Prepared<'a> {
    mount: &'a Mount,
    flags: Flags,
    tree: Option<OwnedFd>,
}

/// Takes hold of what is to be bound, as long as the host's paths mean what they did for the caller.
///
/// A copy of a shared mount is its peer: what is later made `shared` for the container still is, because this
/// comes before the whole tree is made a slave of the host's.
pub fn prepare(mounts: &[Mount]) -> Result<Vec<Prepared<'_>>> {
    mounts.iter().map(one).collect()
}

fn one(mount: &Mount) -> Result<Prepared<'_>> {
    let flags = Flags::parse(mount.options().as_deref().unwrap_or_default());
    let tree = match (flags.bind, mount.source()) {
        (Some(bind), Some(source)) => {
            Some(open_tree(source, bind).with_context(|| format!("cannot bind {}", source.display()))?)
        }
        _ => None,
    };
    Ok(Prepared { mount, flags, tree })
}

fn open_tree(source: &Path, bind: Bind) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if bind == Bind::Recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(CWD, source, flags).call("open_tree")
}

/// A second mount of what `fd` is of, attached nowhere yet.
pub fn clone_mount(fd: BorrowedFd) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    rustix::mount::open_tree(fd, c"", flags).call("open_tree")
}

/// Attaches a mount exactly there.
pub fn attach(tree: BorrowedFd, place: BorrowedFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, c"", place, c"", flags).call("move_mount")
}

impl Prepared<'_> {
    /// Mounts it below `root`. `cgroups` tells where this process is in each hierarchy.
    pub fn mount(&self, root: &Root) -> Result<()> {
        let destination = self.mount.destination();
        let typ = self.mount.typ().as_deref().unwrap_or("none");
        self.show(typ);
        let done = match (&self.tree, typ) {
            (Some(tree), _) => self.bind(root, tree.as_fd()),
            (None, "cgroup" | "cgroup2") => cgroup::mount(root, destination, &self.flags),
            (None, _) => self.new_file_system(root, typ),
        };
        done.with_context(|| match (&self.tree, self.mount.source()) {
            (Some(_), Some(source)) => {
                format!("cannot bind {} at {}", source.display(), destination.display())
            }
            _ => format!("cannot mount {typ} at {}", destination.display()),
        })
    }

    fn show(&self, typ: &str) {
        let options = self.mount.options().as_deref().unwrap_or_default().join(",");
        let source = self.mount.source().as_deref().unwrap_or(Path::new(typ)).to_string_lossy();
        // As mount(8) has it, in the container's root file system.
        let destination = format!(".{}", self.mount.destination().display());
        match self.tree {
            Some(_) => stage::shell(&["mount", "-o", &options, &source, &destination]),
            None => stage::shell(&["mount", "-t", typ, "-o", &options, &source, &destination]),
        }
    }

    fn new_file_system(&self, root: &Root, typ: &str) -> Result<()> {
        let destination = self.mount.destination();
        // What is written to /proc and /sys later, and masked there, must be the kernel's own.
        let links = if matches!(typ, "proc" | "sysfs") { Links::Refused } else { Links::InRoot };
        let place = directory(root, destination, links)?;
        let source = self.mount.source().clone().unwrap_or_else(|| PathBuf::from(typ));
        mount(&source, place.as_fd(), typ, &self.flags)
    }

    fn bind(&self, root: &Root, tree: BorrowedFd) -> Result<()> {
        let stat = rustix::fs::statat(tree, c"", AtFlags::EMPTY_PATH).call("fstat")?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            _ => Kind::File,
        };
        let destination = self.mount.destination();
        let place = root.find_or_make(destination, kind, Links::InRoot).call("openat2")?;
        attach_as(root, destination, tree, place.as_fd(), &self.flags)
    }
}

/// Attaches a mount there, and makes it what `flags` say; where the kernel can, before anybody can reach it.
pub fn attach_as(root: &Root, path: &Path, tree: BorrowedFd, place: BorrowedFd, flags: &Flags) -> Result<()> {
    if flags.attributes == Attributes::none() {
        return attach(tree, place);
    }
    match change(tree, flags) {
        Ok(()) => attach(tree, place),
        // KERNEL(5.12): mount_setattr.
        Err(Errno::ENOSYS) => {
            attach(tree, place)?;
            let placed = root.find(path, Links::InRoot).call("openat2")?;
            change_by_remount(placed.as_fd(), flags)
        }
        Err(errno) => Err(errno).context("mount_setattr"),
    }
}

/// `ro` and its like hold for the mounts below, too: a bind that is read-only at its top only would be a trap.
fn change(tree: BorrowedFd, flags: &Flags) -> nix::Result<()> {
    let all = flags.attributes;
    if flags.recursive_propagation || all.propagation.is_empty() {
        return sys::mount_setattr(tree, all, true);
    }
    let top = Attributes { propagation: all.propagation, ..Attributes::none() };
    sys::mount_setattr(tree, top, false)?;
    sys::mount_setattr(tree, Attributes { propagation: MountPropagationFlags::empty(), ..all }, true)
}

/// The old way: a remount of each mount of the tree, found in mountinfo.
fn change_by_remount(place: BorrowedFd, flags: &Flags) -> Result<()> {
    let top = std::fs::read_link(by_descriptor(place)).context("readlink")?;
    let propagation = flags.attributes.propagation;
    for (path, kept) in mounts_at_and_below(&top)? {
        rustix::mount::mount_remount(&path, flags.mount | kept | MountFlags::BIND, c"").call("mount")?;
        if !propagation.is_empty() {
            rustix::mount::mount_change(&path, propagation).call("mount")?;
        }
    }
    Ok(())
}

/// Makes the mount at `place` read-only, but not what is mounted below it.
pub fn make_top_read_only(place: BorrowedFd) -> Result<()> {
    let attributes = Attributes { set: MountAttrFlags::MOUNT_ATTR_RDONLY, ..Attributes::none() };
    match sys::mount_setattr(place, attributes, false) {
        // KERNEL(5.12): mount_setattr.
        Err(Errno::ENOSYS) => {
            let top = std::fs::read_link(by_descriptor(place)).context("readlink")?;
            let own = mounts_at_and_below(&top)?.into_iter().rfind(|(mount, _)| *mount == top);
            let kept = own.map_or(MountFlags::empty(), |(_, kept)| kept);
            let flags = MountFlags::BIND | MountFlags::RDONLY | kept;
            rustix::mount::mount_remount(by_descriptor(place), flags, c"").call("mount")
        }
        done => done.call("mount_setattr"),
    }
}

/// mount(2) of a new file system, onto a descriptor.
pub fn mount(source: &Path, place: BorrowedFd, typ: &str, flags: &Flags) -> Result<()> {
    let data = CString::new(flags.data.as_str())?;
    rustix::mount::mount(source, by_descriptor(place), typ, flags.mount, data.as_c_str()).call("mount")
}

/// The directory that is to be mounted on; made if it is missing.
pub fn directory(root: &Root, path: &Path, links: Links) -> Result<OwnedFd> {
    match root.find_or_make(path, Kind::Directory, links) {
        Err(rustix::io::Errno::LOOP) if links == Links::Refused => {
            Err(anyhow!("a symbolic link is in the way")).hint("the image is at fault, or hostile")
        }
        found => found.call("openat2"),
    }
}

/// The mounts of a tree, with those of their flags that a remount must repeat.
fn mounts_at_and_below(top: &Path) -> Result<Vec<(PathBuf, MountFlags)>> {
    let text = std::fs::read_to_string("/proc/thread-self/mountinfo").context("read mountinfo")?;
    let mounts = text.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(4);
        let path = PathBuf::from(unescaped(fields.next()?));
        let kept = fields.next()?.split(',').map(str::to_owned).collect::<Vec<_>>();
        Some((path, Flags::parse(&kept).mount))
    });
    Ok(mounts.filter(|(path, _)| path.starts_with(top)).collect())
}

/// mountinfo writes white space and backslashes as octal numbers (proc_pid_mountinfo(5)).
pub fn unescaped(field: &str) -> OsString {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.get(..3).and_then(|code| std::str::from_utf8(code).ok());
        match (first, code.and_then(|code| u8::from_str_radix(code, 8).ok())) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &behind[3..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_fields_are_unescaped() {
        assert_eq!(unescaped(r"/a\040b\134c\9"), OsString::from(r"/a b\c\9"));
    }
}
