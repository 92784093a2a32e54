//! Mounts through the kernel's new mount API, with the old one where the kernel lacks it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, fsconfig_create, fsconfig_set_fd,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_bind, mount_remount, move_mount,
};
use stage::Undo;

use crate::overlay::{OciMount, Overlay, Switch};
use crate::{classic, explain, takedown};

/// The longest value that fsconfig(2) takes, in bytes.
const LONGEST: usize = 255;

/// Mounts `overlay` at `target`.
pub fn mount_overlay(overlay: &Overlay, target: &Path, undo: &mut Undo) -> Result<()> {
    let mounted = target.to_owned();
    undo.push(move || takedown::unmount(&mounted));
    let options = overlay.classic_options(&overlay.names());
    let words = ["mount", "-t", "overlay", "overlay", "-o"].map(OsStr::new);
    stage::shell(&[&words[..], &[&*options, target.as_os_str()]].concat());
    match with_new_api(overlay, target) {
        Err(failure) if failure.is_lack_of_api() => classic::mount_overlay(overlay, target),
        Err(failure) => explain::failed(&failure, overlay, target),
        Ok(()) => Ok(()),
    }
}

/// One directory alone, read-only, is that directory mounted at a second place: overlayfs wants two.
pub fn mount_read_only(lower: &Path, target: &Path, undo: &mut Undo) -> Result<OciMount> {
    let (from, to) = (lower.to_string_lossy(), target.to_string_lossy());
    stage::shell(&["mount", "--bind", &from, &to]);
    stage::shell(&["mount", "-o", "remount,bind,ro,nodev", &to]);
    let mounted = target.to_owned();
    undo.push(move || takedown::unmount(&mounted));
    let context = || format!("cannot mount {to}: mount");
    mount_bind(lower, target).with_context(context)?;
    mount_remount(target, MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV, "")
        .with_context(context)?;
    Ok(OciMount {
        destination: "/".to_owned(),
        kind: "none",
        source: from.into_owned(),
        options: ["bind", "nodev", "ro"].map(str::to_owned).to_vec(),
    })
}

/// A step of the new API that failed.
pub struct Failure {
    /// The call, with what it was about.
    pub call: String,
    pub errno: Errno,
    /// What the kernel said about it.
    pub kernel: Option<String>,
    at: Step,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Open,
    /// Telling it about a layer, or making the file system of them all.
    Configure,
    Place,
}

impl Failure {
    /// Whether the kernel cannot do it this way, whatever the directories are.
    ///
    /// Kernels before 5.2 have no fsopen(2). Those before 6.5 take any option and see at the end that they do not
    /// know it; 6.5 and 6.6 do not know `lowerdir+`: all of them say EINVAL, as they do for much else, so the
    /// question is put again with a layer that is certainly there.
    fn is_lack_of_api(&self) -> bool {
        match (self.at, self.errno) {
            (Step::Open, Errno::NOSYS) => true,
            (Step::Configure, Errno::INVAL) => !layers_can_be_added(),
            _ => false,
        }
    }
}

fn layers_can_be_added() -> bool {
    let Ok(fs) = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) else { return false };
    // KERNEL(6.5): file systems of the old kind answer EOPNOTSUPP to a descriptor, before they look at the option.
    let old = fsconfig_set_fd(&fs, "lowerdir+", &fs) == Err(Errno::OPNOTSUPP);
    // KERNEL(6.7): `lowerdir+`.
    !old && fsconfig_set_string(&fs, "lowerdir+", "/").is_ok()
}

fn with_new_api(overlay: &Overlay, target: &Path) -> std::result::Result<(), Failure> {
    let fail = |at, call: &str, errno| Failure { call: call.to_owned(), errno, kernel: None, at };
    let fs =
        fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|e| fail(Step::Open, "fsopen overlay", e))?;
    configure(&fs, overlay)?;
    let attributes = match overlay.upper {
        Some(_) => MountAttrFlags::MOUNT_ATTR_NODEV,
        None => MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_RDONLY,
    };
    let tree = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|e| Failure { kernel: said(&fs), ..fail(Step::Place, "fsmount", e) })?;
    move_mount(&tree, "", rustix::fs::CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|e| fail(Step::Place, "move_mount", e))
}

fn configure(fs: &OwnedFd, overlay: &Overlay) -> std::result::Result<(), Failure> {
    let fail = |call: String| move |errno| Failure { call, errno, kernel: said(fs), at: Step::Configure };
    let directory = |key: &str, path: &Path| {
        set_directory(fs, key, path).map_err(fail(format!("fsconfig {key}={}", path.display())))
    };
    // What mount(8) and findmnt(8) show as the source.
    fsconfig_set_string(fs, "source", "overlay").map_err(fail("fsconfig source".to_owned()))?;
    for lower in &overlay.lowers {
        directory("lowerdir+", lower)?;
    }
    if let Some(upper) = &overlay.upper {
        directory("upperdir", &upper.dir)?;
        directory("workdir", &upper.work)?;
    } else {
        fsconfig_set_flag(fs, "ro").map_err(fail("fsconfig ro".to_owned()))?;
    }
    for switch in overlay.switches() {
        let set = match switch {
            Switch::Value(key, value) => fsconfig_set_string(fs, key, value),
            Switch::Flag(key) => fsconfig_set_flag(fs, key),
        };
        set.map_err(fail(format!("fsconfig {switch}")))?;
    }
    fsconfig_create(fs).map_err(fail("fsconfig create".to_owned()))
}

/// A path that is too long for fsconfig(2), or that the kernel would take backslashes out of, goes by its
/// descriptor. The kernel looks it up at once, so that the descriptor may be closed.
fn set_directory(fs: &OwnedFd, key: &str, path: &Path) -> rustix::io::Result<()> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() <= LONGEST && !bytes.contains(&b'\\') {
        return fsconfig_set_string(fs, key, path);
    }
    let dir = open_directory(path)?;
    fsconfig_set_string(fs, key, descriptor_path(&dir))
}

/// The directory, for nothing but to name it.
pub fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags, open};
    open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn descriptor_path(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// What the kernel says about the last failure: its log is read line by line from the descriptor.
fn said(fs: &OwnedFd) -> Option<String> {
    let mut lines = Vec::new();
    let mut line = [0u8; 512];
    while let Ok(length @ 1..) = rustix::io::read(fs.as_fd(), &mut line) {
        let text = String::from_utf8_lossy(&line[..length]);
        // "e overlay: overlapping upperdir path": the level, then the text.
        lines.push(text.trim_end().chars().skip(2).collect::<String>());
    }
    (!lines.is_empty()).then(|| lines.join("; "))
}
