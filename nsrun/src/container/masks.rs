//! Paths of /proc and /sys that are hidden, or may only be read.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::flags::Flags;
use super::mounts::{attach, attach_as, clone_mount, mount};
use super::root::{Links, Root, is_null_device};
use crate::call::Call;

/// Covers each path: a file with the container's `/dev/null`, a directory with an empty one.
///
/// The host's null device would do, but a chmod in the container would then change the host's.
pub fn hide<S: AsRef<Path>>(root: &Root, paths: &[S]) -> Result<()> {
    let null = root.find(Path::new("/dev/null"), Links::InRoot).call("openat2");
    let null = null.context("cannot open /dev/null")?;
    if !is_null_device(null.as_fd()) {
        // CVE-2025-31133: whatever it is, it would be mounted over what must be hidden, or the reverse.
        bail!("cannot hide paths: the container's /dev/null is not the null device");
    }
    let mut empty = None;
    for path in paths.iter().map(AsRef::as_ref) {
        let hidden = match find(root, path) {
            Ok(None) => continue,
            Ok(Some((place, FileType::Directory))) => hide_directory(root, path, &place, &mut empty),
            Ok(Some((place, _))) => {
                clone_mount(null.as_fd()).and_then(|tree| attach(tree.as_fd(), place.as_fd()))
            }
            Err(error) => Err(error),
        };
        show(&["--bind", "./dev/null"], path);
        hidden.with_context(|| format!("cannot hide {}", path.display()))?;
    }
    Ok(())
}

/// One empty file system serves all directories: the first gets it, the others further mounts of it.
fn hide_directory(root: &Root, path: &Path, place: &OwnedFd, empty: &mut Option<OwnedFd>) -> Result<()> {
    if let Some(first) = empty {
        return attach(clone_mount(first.as_fd())?.as_fd(), place.as_fd());
    }
    let flags = ["ro", "nosuid", "nodev", "noexec", "size=0k"].map(str::to_owned);
    mount(Path::new("tmpfs"), place.as_fd(), "tmpfs", &Flags::parse(&flags))?;
    *empty = Some(root.find(path, Links::Refused).call("openat2")?);
    Ok(())
}

/// Makes each path, with everything below, read-only by a mount of it over itself.
pub fn make_read_only<S: AsRef<Path>>(root: &Root, paths: &[S]) -> Result<()> {
    let flags = Flags::parse(&["rro".to_owned()]);
    for path in paths.iter().map(AsRef::as_ref) {
        let done = match find(root, path) {
            Ok(None) => continue,
            Ok(Some((place, _))) => clone_mount(place.as_fd())
                .and_then(|tree| attach_as(root, path, tree.as_fd(), place.as_fd(), &flags)),
            Err(error) => Err(error),
        };
        show(&["-o", "rbind,ro", &format!(".{}", path.display())], path);
        done.with_context(|| format!("cannot make {} read-only", path.display()))?;
    }
    Ok(())
}

fn show(how: &[&str], path: &Path) {
    let place = format!(".{}", path.display());
    stage::shell(&["mount"].iter().chain(how).chain([place.as_str()].iter()).collect::<Vec<_>>());
}

/// What is at a path that may not be there. A link in it means that the path is not what it seems.
fn find(root: &Root, path: &Path) -> Result<Option<(OwnedFd, FileType)>> {
    let place = match root.find(path, Links::Refused) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        found => found.call("openat2")?,
    };
    let stat = rustix::fs::statat(&place, c"", AtFlags::EMPTY_PATH).call("fstat")?;
    Ok(Some((place, FileType::from_raw_mode(stat.st_mode))))
}
