//! Whiteouts: how a layer says "not there any more", and how overlayfs wants to be told.
//!
//! `.wh.NAME` becomes a character device 0:0 called NAME, and `.wh..wh..opq` the extended attribute
//! `trusted.overlay.opaque` of its directory (OCI image-spec, layer.md; kernel, filesystems/overlayfs.rst).

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{FileType, Mode, Stat, XattrFlags};
use rustix::io::Errno;

use super::place::through_proc;

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &str = "trusted.overlay.opaque";

/// What a name that begins with `.wh.` says.
#[derive(Debug, PartialEq, Eq)]
pub enum Whiteout<'a> {
    /// This name of the layers below is hidden.
    Of(&'a [u8]),
    /// Everything of the layers below in this directory is hidden.
    Opaque,
    /// Bookkeeping of aufs, which invented the prefix.
    Ignored,
}

/// `None` if the name is an ordinary one.
///
/// # Errors
/// It would hide the directory itself, its parent, or nothing.
pub fn parse(name: &[u8]) -> Result<Option<Whiteout<'_>>> {
    let Some(hidden) = name.strip_prefix(PREFIX) else { return Ok(None) };
    Ok(Some(match hidden {
        b".wh..opq" => Whiteout::Opaque,
        b"" | b"." | b".." => bail!("a whiteout of {:?}", String::from_utf8_lossy(hidden)),
        _ if hidden.starts_with(PREFIX) => Whiteout::Ignored,
        _ => Whiteout::Of(hidden),
    }))
}

/// Makes the device that hides `name`.
pub fn make(directory: &OwnedFd, name: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::mknodat(directory, name, FileType::CharacterDevice, Mode::empty(), 0)
}

/// Whether this is such a device.
pub fn is(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Hides what the layers below have in this directory.
pub fn make_opaque(directory: &OwnedFd) -> Result<()> {
    make_opaque_at(directory, b".")
}

/// Hides what the layers below have in directory `name`.
pub fn make_opaque_at(directory: &OwnedFd, name: &[u8]) -> Result<()> {
    let path = through_proc(directory, name);
    rustix::fs::lsetxattr(path, OPAQUE, b"y", XattrFlags::empty())
        .with_context(|| format!("setxattr {OPAQUE}"))
}

/// Whether what the layers below have in a directory is hidden.
pub fn is_opaque(directory: &Path) -> Result<bool> {
    match rustix::fs::lgetxattr(directory, OPAQUE, &mut [0u8; 1]) {
        // The latter from a file system that has no attributes.
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        read => read.map(|_| true).with_context(|| format!("cannot read {}: getxattr", directory.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_hide() {
        assert_eq!(parse(b"wh.a").unwrap(), None);
        assert_eq!(parse(b".wh.a").unwrap(), Some(Whiteout::Of(b"a")));
        assert_eq!(parse(b".wh..a").unwrap(), Some(Whiteout::Of(b".a")));
        assert_eq!(parse(b".wh..wh..opq").unwrap(), Some(Whiteout::Opaque));
        assert_eq!(parse(b".wh..wh.plnk").unwrap(), Some(Whiteout::Ignored));
        for bad in [&b".wh."[..], b".wh..", b".wh..."] {
            assert!(parse(bad).is_err());
        }
    }
}
