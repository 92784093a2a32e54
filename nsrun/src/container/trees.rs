//! What the container takes from the host: its root file system and what is bound into it, as trees of mounts that are
//! attached nowhere.
//!
//! They are taken before there is a container, by the host's root and with the host's paths; so a container whose
//! root is another user namespace's can be given what that root could not reach by name.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::fs::CWD;
use rustix::mount::{MountPropagationFlags, MoveMountFlags};

use super::dev;
use super::flags::{Bind, Flags};
use super::mounts::{self, Prepared};
use super::namespaces::Namespaces;
use super::root::{Root, by_descriptor};
use crate::call::Call;
use crate::sys;

/// All of them.
#[derive(Debug)]
pub struct Trees<'a> {
    root: OwnedFd,
    mounts: Vec<Prepared<'a>>,
    inheritance: Inheritance,
}

/// What a mount that is taken over has to do with the host's that it was copied from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inheritance {
    /// What the host mounts below it arrives; nothing goes the other way. The default, as runc and docker have it.
    Slave,
    Private,
    /// It stays a peer of the host's, if that is shared: `rootfsPropagation` asks for it.
    Peer,
}

impl Inheritance {
    fn of(spec: &Spec) -> Inheritance {
        let word =
            spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref()).unwrap_or_default();
        match word.strip_prefix('r').unwrap_or(word) {
            "shared" => Inheritance::Peer,
            "private" | "unbindable" => Inheritance::Private,
            _ => Inheritance::Slave,
        }
    }

    fn kind(self) -> Option<MountPropagationFlags> {
        match self {
            Inheritance::Slave => Some(MountPropagationFlags::DOWNSTREAM),
            Inheritance::Private => Some(MountPropagationFlags::PRIVATE),
            Inheritance::Peer => None,
        }
    }

    /// Makes a tree what it is to be.
    pub fn set(self, tree: BorrowedFd) -> Result<()> {
        let Some(kind) = self.kind() else { return Ok(()) };
        match sys::set_propagation(tree, kind, true) {
            // KERNEL(5.12): mount_setattr. See `after_attaching`.
            Err(Errno::ENOSYS) => Ok(()),
            set => set.call("mount_setattr"),
        }
    }

    /// The same on a kernel that can do it by name only.
    pub fn after_attaching(self, place: BorrowedFd) -> Result<()> {
        match self.kind() {
            Some(kind) => {
                rustix::mount::mount_change(by_descriptor(place), kind | MountPropagationFlags::REC)
                    .call("mount")
            }
            None => Ok(()),
        }
    }
}

impl<'a> Trees<'a> {
    pub fn take(spec: &'a Spec, namespaces: &Namespaces, proc: BorrowedFd) -> Result<Trees<'a>> {
        let path = spec.root().as_ref().context("the configuration has no root")?.path();
        let inheritance = Inheritance::of(spec);
        let root = mounts::open_tree(path, Bind::Recursive).and_then(|tree| {
            inheritance.set(tree.as_fd())?;
            Ok(tree)
        });
        let root = root.with_context(|| format!("cannot use root file system {}", path.display()))?;
        let all = spec.mounts().as_deref().unwrap_or_default();
        let prepare = |mount| Prepared::new(mount, inheritance, namespaces.ids, proc);
        Ok(Trees { root, mounts: all.iter().map(prepare).collect::<Result<_>>()?, inheritance })
    }

    /// In the container's mount namespace: makes of them the tree that will be its `/`.
    pub fn plant(&self, spec: &Spec, namespaces: &Namespaces) -> Result<Root> {
        // Nothing that is mounted here reaches the host; what the host mounts below a slave still arrives.
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", slave)
            .call("mount")
            .context("cannot separate from the host's mounts")?;
        let root = self.attach_root(spec, namespaces)?;
        for one in &self.mounts {
            one.mount(&root)?;
        }
        dev::fill(&root, spec)?;
        for one in &self.mounts {
            one.finish(&root)?;
        }
        Ok(root)
    }

    fn attach_root(&self, spec: &Spec, namespaces: &Namespaces) -> Result<Root> {
        let path = spec.root().as_ref().context("the configuration has no root")?.path();
        // pivot_root(2) wants a mount point. Where the directory cannot be reached by name, any other serves as well.
        let named = !namespaces.is_mapped() && namespaces.joined(LinuxNamespaceType::Mount).is_none();
        let place = if named { path } else { Path::new("/") };
        let attach = || {
            stage::shell(&["mount".as_ref(), "--rbind".as_ref(), path.as_os_str(), place.as_os_str()]);
            stage::shell(&["cd".as_ref(), place.as_os_str()]);
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
            rustix::mount::move_mount(&self.root, c"", CWD, place, flags).call("move_mount")?;
            Root::of(&self.root).call("dup")
        };
        let root = attach().with_context(|| format!("cannot use root file system {}", path.display()))?;
        if mounts::lacks_mount_setattr(root.as_fd()) {
            self.inheritance.after_attaching(root.as_fd())?;
        }
        Ok(root)
    }
}

/// Whether something of the host's is to be bound at a destination.
pub fn is_bound(spec: &Spec, destination: &str) -> bool {
    spec.mounts().iter().flatten().any(|mount| {
        mount.destination() == Path::new(destination)
            && Flags::parse(mount.options().as_deref().unwrap_or_default()).bind.is_some()
    })
}
