//! A network namespace that outlives its maker: bound to a file where ip-netns(8) looks for it.
//!
//! It does not know what is in the namespace.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{FsType, statfs};
use stage::{Explain, Id, Undo, attempt_all, shell};

/// The directory of named network namespaces (ip-netns(8)).
pub const DIR: &str = "/run/netns";
/// Names of ours start with this.
pub const PREFIX: &str = "gocker-";
/// File system of namespaces: NSFS_MAGIC in linux/magic.h.
const NSFS: FsType = FsType(0x6e73_6673);
/// The calling thread's own; `/proc/self` would be the first thread's.
pub const OWN: &str = "/proc/thread-self/ns/net";

/// The container's namespace as `ip netns` calls it.
pub fn name(id: &Id) -> String {
    format!("{PREFIX}{}", id.short())
}

/// The file to which the container's namespace is bound.
pub fn path(id: &Id) -> PathBuf {
    named(&name(id))
}

/// The file to which the namespace of this name is bound.
pub fn named(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// Whether a namespace is bound to the container's file, as far as this mount namespace shows.
pub fn is_there(id: &Id) -> bool {
    is_namespace(&path(id))
}

/// Whether a namespace is bound to this file.
pub fn is_namespace(path: &Path) -> bool {
    statfs(path).is_ok_and(|fs| fs.filesystem_type() == NSFS)
}

/// Makes a namespace, pins it, and runs `inside` in it. The thread then is back in `home`, also when that failed:
/// what takes it back must act on the host.
///
/// The caller must be single-threaded, or not mind that only this thread enters the namespace.
pub fn make<T>(
    id: &Id,
    home: impl AsFd,
    undo: &mut Undo,
    inside: impl FnOnce() -> Result<T>,
) -> Result<(File, T)> {
    let what = || format!("cannot make network namespace {}", name(id));
    shell(&["ip", "netns", "add", &name(id)]);
    directory(undo)?;
    let file = path(id);
    // An exclusive creation that fails has made nothing, and what is there is somebody else's: only now undo.
    let created = OpenOptions::new().write(true).create_new(true).mode(0o444).open(&file);
    created
        .with_context(|| format!("cannot make {}: open", file.display()))
        .hint(format!("netns undo {id}"))?;
    let mine = id.clone();
    undo.push(move || remove(&mine));

    unshare(CloneFlags::CLONE_NEWNET).context("unshare").with_context(what)?;
    let done = bind(&file).and_then(|namespace| Ok((namespace, inside()?)));
    setns(home, CloneFlags::CLONE_NEWNET).context("cannot go back to the host's network namespace: setns")?;
    done
}

/// Enters a namespace that is there, runs `inside` in it, and goes back to `home`.
pub fn within<T>(path: &Path, home: impl AsFd, inside: impl FnOnce() -> Result<T>) -> Result<(File, T)> {
    let context = || format!("cannot open network namespace {}", path.display());
    let namespace = File::open(path).with_context(context)?;
    setns(&namespace, CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("cannot enter network namespace {}: setns", path.display()))?;
    let done = inside();
    setns(home, CloneFlags::CLONE_NEWNET).context("cannot go back to the host's network namespace: setns")?;
    Ok((namespace, done?))
}

/// Takes a namespace that is there, and somebody else's, for the container's: a symbolic link stands where the pin would
/// be, so that it is found by name, and known to be gone as soon as its owner has removed it. Runs `inside` in it.
pub fn adopt<T>(
    id: &Id,
    path: &Path,
    home: impl AsFd,
    undo: &mut Undo,
    inside: impl FnOnce() -> Result<T>,
) -> Result<(File, T)> {
    directory(undo)?;
    let (file, mine) = (self::path(id), id.clone());
    shell(&["ln", "-s", &path.display().to_string(), &file.display().to_string()]);
    std::os::unix::fs::symlink(path, &file)
        .with_context(|| format!("cannot make {}: symlink", file.display()))
        .hint(format!("netns undo {id}"))?;
    undo.push(move || remove(&mine));
    within(path, home, inside)
}

fn directory(undo: &mut Undo) -> Result<()> {
    match DirBuilder::new().mode(0o755).create(DIR) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).context(format!("cannot make directory {DIR}: mkdir")),
        Ok(()) => {
            undo.push(|| match std::fs::remove_dir(DIR) {
                // Somebody else uses it by now.
                Err(error)
                    if !matches!(
                        error.kind(),
                        ErrorKind::DirectoryNotEmpty | ErrorKind::ResourceBusy | ErrorKind::NotFound
                    ) =>
                {
                    Err(error).with_context(|| format!("cannot remove directory {DIR}: rmdir"))
                }
                _ => Ok(()),
            });
            Ok(())
        }
    }
}

/// Binds the thread's namespace to the file.
fn bind(file: &Path) -> Result<File> {
    let namespace = File::open(OWN).with_context(|| format!("cannot open {OWN}"))?;
    mount(Some(OWN), file, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot bind the namespace to {}: mount", file.display()))?;
    Ok(namespace)
}

/// Removes the pin. The namespace dies when its last process has gone, and its interfaces with it.
pub fn remove(id: &Id) -> Result<()> {
    let file = path(id);
    if file.is_symlink() {
        shell(&["rm", &file.display().to_string()]);
    } else if file.exists() {
        shell(&["ip", "netns", "delete", &name(id)]);
    }
    attempt_all([
        // Not through a link: what it leads to is another's.
        Box::new(|| match umount2(&file, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            // EINVAL: nothing is mounted there.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno).with_context(|| format!("cannot unmount {}: umount", file.display())),
        }),
        // Also detaches what other mount namespaces still have mounted there: mount_namespaces(7).
        Box::new(|| match std::fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}: unlink", file.display()))
            }
            _ => Ok(()),
        }),
    ])
}
