//! mount(2), for kernels before 6.7: all options in one string that must fit in a page.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount};

use crate::explain;
use crate::mount::open_directory;
use crate::overlay::{Names, Overlay};

/// What the kernel copies of the options: a page with its terminating zero byte (mount(2); on every architecture
/// that gocker runs on a page has at least this size).
const PAGE: usize = 4095;

/// Mounts `overlay` at `target`.
pub fn mount_overlay(overlay: &Overlay, target: &Path) -> Result<()> {
    let options = overlay.classic_options(&overlay.names());
    if options.len() <= PAGE { call(overlay, &options, target) } else { with_short_names(overlay, target) }
}

/// In /proc/self/fd a number is the name of a descriptor: four or five bytes for each layer.
fn with_short_names(overlay: &Overlay, target: &Path) -> Result<()> {
    let context = || format!("cannot mount {}", target.display());
    let (names, _opened) = short_names(overlay).with_context(context)?;
    let options = overlay.classic_options(&names);
    if options.len() > PAGE {
        return explain::too_long(overlay, target);
    }
    let home = open_directory(Path::new(".")).context("open .").with_context(context)?;
    std::env::set_current_dir("/proc/self/fd").context("chdir /proc/self/fd").with_context(context)?;
    let mounted = call(overlay, &options, target);
    // Nothing here depends on the working directory; a failure to return changes no result.
    rustix::process::fchdir(home).ok();
    mounted
}

fn call(overlay: &Overlay, options: &OsStr, target: &Path) -> Result<()> {
    let flags = match overlay.upper {
        Some(_) => MountFlags::NODEV,
        None => MountFlags::NODEV | MountFlags::RDONLY,
    };
    let data = CString::new(options.as_bytes())?;
    mount("overlay", target, "overlay", flags, &*data)
        .or_else(|errno| explain::classic_failed(errno, overlay, target))
}

/// Descriptors instead of paths.
fn short_names(overlay: &Overlay) -> Result<(Names, Vec<OwnedFd>)> {
    let mut opened = Vec::new();
    let mut name = |path: &Path| -> Result<OsString> {
        let fd = open_directory(path).with_context(|| format!("open {}", path.display()))?;
        let name = fd.as_raw_fd().to_string().into();
        opened.push(fd);
        Ok(name)
    };
    let lowers = overlay.lowers.iter().map(|lower| name(lower)).collect::<Result<_>>()?;
    let upper = match &overlay.upper {
        Some(upper) => Some((name(&upper.dir)?, name(&upper.work)?)),
        None => None,
    };
    Ok((Names { lowers, upper }, opened))
}
