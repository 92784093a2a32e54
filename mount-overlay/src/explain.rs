//! What overlayfs means by its error numbers.

use std::path::Path;

use anyhow::{Result, anyhow};
use rustix::io::Errno;
use stage::Explain;

use crate::mount::Failure;
use crate::overlay::{Overlay, Upper};

/// The error of a step of the new API.
pub fn failed(failure: &Failure, overlay: &Overlay, target: &Path) -> Result<()> {
    // Only these calls are about the overlay as a whole; one about a directory means what it says.
    let whole = matches!(failure.call.as_str(), "fsopen overlay" | "fsconfig create");
    let reason = reason(failure.errno).filter(|_| whole);
    let reason = reason.map_or_else(|| failure.errno.to_string(), str::to_owned);
    let failed = Err(anyhow!("cannot mount {}: {}: {reason}", target.display(), failure.call));
    let failed = match &failure.kernel {
        Some(kernel) => failed.kernel(kernel),
        None => failed,
    };
    hinted(failed, failure.errno, overlay)
}

/// The error of mount(2).
pub fn classic_failed(errno: Errno, overlay: &Overlay, target: &Path) -> Result<()> {
    let reason = reason(errno).map_or_else(|| errno.to_string(), str::to_owned);
    hinted(Err(anyhow!("cannot mount {}: mount: {reason}", target.display())), errno, overlay)
}

/// The options do not fit in what mount(2) takes.
pub fn too_long(overlay: &Overlay, target: &Path) -> Result<()> {
    Err(anyhow!(
        "cannot mount {}: mount: the names of {} layers do not fit in one page of options",
        target.display(),
        overlay.lowers.len()
    ))
    .hint("a kernel of version 6.7 or later takes them one by one")
}

fn hinted(failed: Result<()>, errno: Errno, overlay: &Overlay) -> Result<()> {
    match hint(errno, overlay) {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

/// The words of the C library mislead here.
fn reason(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::LOOP => Some("the directories overlap: one lies inside another"),
        Errno::BUSY => Some("the upper or the work directory is in use by another overlay"),
        Errno::STALE => Some("the upper directory was used with other layers or another work directory"),
        Errno::NODEV => Some("the kernel has no overlayfs"),
        _ => None,
    }
}

fn hint(errno: Errno, overlay: &Overlay) -> Option<String> {
    match errno {
        Errno::LOOP => overlap(overlay),
        Errno::NODEV => Some("modprobe overlay".to_owned()),
        Errno::INVAL => overlay.upper.as_ref().and_then(not_for_upper),
        _ => None,
    }
}

/// Which two directories overlap, as far as their names tell.
fn overlap(overlay: &Overlay) -> Option<String> {
    let upper = overlay.upper.iter().flat_map(|upper| [&upper.dir, &upper.work]);
    let all: Vec<_> = overlay.lowers.iter().chain(upper).collect();
    all.iter().enumerate().find_map(|(n, inner)| {
        let outer = all.iter().enumerate().find(|(m, outer)| n != *m && inner.starts_with(outer))?.1;
        Some(format!("{} lies inside {}", inner.display(), outer.display()))
    })
}

/// overlayfs cannot write to a directory on overlayfs, as in a container, among others.
fn not_for_upper(upper: &Upper) -> Option<String> {
    const OVERLAYFS: i64 = 0x794c_7630;
    let fs = rustix::fs::statfs(&upper.dir).ok()?;
    (fs.f_type == OVERLAYFS).then(|| {
        format!(
            "{} is on overlayfs itself: use --tmpfs, or --root on another file system",
            upper.dir.display()
        )
    })
}
