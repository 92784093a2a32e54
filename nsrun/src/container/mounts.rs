//! The mounts of the configuration, in its order, each onto a descriptor of its destination.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use oci_spec::runtime::Mount;
use rustix::fs::{AtFlags, CWD, FileType};
use rustix::mount::{MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags};
use stage::Explain;

use super::flags::{Bind, Flags};
use super::namespaces::{Ids, user_namespace};
use super::root::{Kind, Links, Root, by_descriptor};
use super::trees::Inheritance;
use super::{cgroup, copy_up};
use crate::call::Call;
use crate::sys::{self, Attributes};

/// A mount, and for a bind what it binds.
#[derive(Debug)]
pub struct Prepared<'a> {
    mount: &'a Mount,
    flags: Flags,
    inheritance: Inheritance,
    tree: Option<OwnedFd>,
}

/// Takes hold of what is to be bound.
pub fn open_tree(source: &Path, bind: Bind) -> Result<OwnedFd> {
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

impl<'a> Prepared<'a> {
    /// As long as the host's paths mean what they did for the caller. `ids` are the container's own.
    pub fn new(
        mount: &'a Mount,
        inheritance: Inheritance,
        ids: Ids,
        proc: BorrowedFd,
    ) -> Result<Prepared<'a>> {
        let flags = Flags::parse(mount.options().as_deref().unwrap_or_default());
        let tree = match (flags.bind, mount.source()) {
            (Some(bind), Some(source)) => {
                let take = || -> Result<OwnedFd> {
                    let tree = open_tree(source, bind)?;
                    map_ids(tree.as_fd(), mount, &flags, ids, proc)?;
                    inheritance.set(tree.as_fd())?;
                    Ok(tree)
                };
                Some(take().with_context(|| format!("cannot bind {}", source.display()))?)
            }
            _ => None,
        };
        Ok(Prepared { mount, flags, inheritance, tree })
    }

    /// Mounts it below `root`.
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
        let words = self.mount.options().as_deref().unwrap_or_default().iter();
        let options = words.map(|word| shown(word)).collect::<Vec<_>>().join(",");
        let source = self.mount.source().as_deref().unwrap_or(Path::new(typ)).to_string_lossy();
        // As mount(8) has it, in the container's root file system.
        let destination = self.mount.destination();
        let destination = format!("./{}", destination.strip_prefix("/").unwrap_or(destination).display());
        match self.tree {
            Some(_) => stage::shell(&["mount", "-o", &options, &source, &destination]),
            None => stage::shell(&["mount", "-t", typ, "-o", &options, &source, &destination]),
        }
    }

    /// What must wait for the other mounts: a /dev that is read-only is filled first.
    pub fn finish(&self, root: &Root) -> Result<()> {
        if !self.is_read_only_dev() {
            return Ok(());
        }
        let place = root.find(self.mount.destination(), Links::InRoot).call("openat2")?;
        make_top_read_only(place.as_fd()).context("cannot make /dev read-only")
    }

    fn is_read_only_dev(&self) -> bool {
        self.tree.is_none()
            && self.mount.destination() == Path::new("/dev")
            && self.mount.typ().as_deref() == Some("tmpfs")
            && self.flags.mount.contains(MountFlags::RDONLY)
    }

    fn new_file_system(&self, root: &Root, typ: &str) -> Result<()> {
        let destination = self.mount.destination();
        // What is written to /proc and /sys later, and masked there, must be the kernel's own.
        let links = if matches!(typ, "proc" | "sysfs") { Links::Refused } else { Links::InRoot };
        let place = directory(root, destination, links)?;
        let source = self.mount.source().clone().unwrap_or_else(|| PathBuf::from(typ));
        let mut flags = self.flags.clone();
        // A tmpfs is read-only as a mount, as with crun and runc: it is filled first.
        let read_only = typ == "tmpfs" && flags.mount.contains(MountFlags::RDONLY);
        if read_only {
            flags.mount -= MountFlags::RDONLY;
        }
        if typ == "tmpfs" && !flags.data.split(',').any(|option| option.starts_with("mode=")) {
            // As crun and runc do: a directory of the image keeps its mode.
            let mode = rustix::fs::statat(&place, c"", AtFlags::EMPTY_PATH).call("fstat")?.st_mode & 0o7777;
            let comma = if flags.data.is_empty() { "" } else { "," };
            flags.data = format!("{}{comma}mode={mode:o}", flags.data);
        }
        mount(&source, place.as_fd(), typ, &flags)?;
        if !flags.copy_up && !read_only && flags.propagations.is_empty() {
            return Ok(());
        }
        let mounted = root.find(destination, Links::InRoot).call("openat2")?;
        if flags.copy_up {
            copy_up::copy(place.as_fd(), mounted.as_fd())?;
        }
        if read_only && !self.is_read_only_dev() {
            make_top_read_only(mounted.as_fd())?;
        }
        propagate(mounted.as_fd(), &flags)
    }

    fn bind(&self, root: &Root, tree: BorrowedFd) -> Result<()> {
        let stat = rustix::fs::statat(tree, c"", AtFlags::EMPTY_PATH).call("fstat")?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            _ => Kind::File,
        };
        let destination = self.mount.destination();
        let place = root.find_or_make(destination, kind, Links::InRoot).call("openat2")?;
        attach_as(root, destination, tree, place.as_fd(), &self.flags)?;
        if lacks_mount_setattr(tree) {
            self.inheritance.after_attaching(tree)?;
            propagate(tree, &self.flags)?;
        }
        Ok(())
    }
}

/// An option as mount(8) spells it: `ro=recursive` for `rro`.
fn shown(word: &str) -> String {
    let recursive = word.strip_prefix('r').filter(|_| Flags::parse(&[word.to_owned()]).changes_below());
    recursive.map_or_else(|| word.to_owned(), |word| format!("{word}=recursive"))
}

/// Shows the files of a tree with other ids: those of `uidMappings` and `gidMappings`, else the container's own.
fn map_ids(tree: BorrowedFd, mount: &Mount, flags: &Flags, ids: Ids, proc: BorrowedFd) -> Result<()> {
    let own = Ids {
        users: mount.uid_mappings().as_deref().unwrap_or_default(),
        groups: mount.gid_mappings().as_deref().unwrap_or_default(),
    };
    let (ids, reach) = match (own.users.is_empty(), flags.idmap) {
        (true, None) => return Ok(()),
        (true, Some(reach)) => (ids, reach),
        (false, reach) => (own, reach.unwrap_or(Bind::One)),
    };
    anyhow::ensure!(
        !ids.users.is_empty(),
        "there are no mappings, and no user namespace whose could be used"
    );
    let namespace = user_namespace(ids, proc).context("cannot make a user namespace for its ids")?;
    sys::set_idmap(tree, namespace.as_fd(), reach == Bind::Recursive).call("mount_setattr")
}

/// KERNEL(5.12): mount_setattr. Asked of a mount, which it would leave as it is.
pub fn lacks_mount_setattr(tree: BorrowedFd) -> bool {
    sys::mount_setattr(tree, Attributes::none(), false) == Err(Errno::ENOSYS)
}

/// Attaches a mount there, and makes it what `flags` say; where the kernel can, before anybody can reach it.
pub fn attach_as(root: &Root, path: &Path, tree: BorrowedFd, place: BorrowedFd, flags: &Flags) -> Result<()> {
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

/// What is for all first: what is for the top alone may then differ.
fn change(tree: BorrowedFd, flags: &Flags) -> nix::Result<()> {
    if flags.changes_below() {
        sys::mount_setattr(tree, flags.below, true)?;
    }
    if flags.attributes != Attributes::none() {
        sys::mount_setattr(tree, flags.attributes, false)?;
    }
    for one in &flags.propagations {
        sys::set_propagation(tree, one.kind, one.reach == Bind::Recursive)?;
    }
    Ok(())
}

fn propagate(place: BorrowedFd, flags: &Flags) -> Result<()> {
    for one in &flags.propagations {
        rustix::mount::mount_change(by_descriptor(place), one.words()).call("mount")?;
    }
    Ok(())
}

/// The old way: a remount of each mount of the tree, found in mountinfo.
fn change_by_remount(place: BorrowedFd, flags: &Flags) -> Result<()> {
    let top = std::fs::read_link(by_descriptor(place)).context("readlink")?;
    let below = flags.recursive_mount_flags();
    for (path, kept) in mounts_at_and_below(&top)? {
        let own = if path == top { flags.mount } else { MountFlags::empty() };
        if !(own | below).is_empty() {
            let all = own | below | kept | MountFlags::BIND;
            rustix::mount::mount_remount(&path, all, c"").call("mount")?;
        }
    }
    propagate(place, flags)
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
