//! `ls`: what there is on this host now.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use stage::Id;

use crate::place::{self, Dirs, Place};

#[derive(Serialize)]
struct Entry {
    id: Id,
    /// Where the root is mounted, or was meant to be.
    path: PathBuf,
    mounted: bool,
    /// What was written to it, where that is on disk or in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    upper: Option<PathBuf>,
    /// Not mounted, with an upper directory for another mount.
    kept: bool,
}

pub fn command(dirs: &Dirs) -> Result<()> {
    let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mounts = mount_points(&mounts);
    let ids: BTreeSet<Id> = ids(&dirs.run).chain(ids(&dirs.kept)).collect();
    let entries: Vec<Entry> = ids.into_iter().map(|id| entry(&dirs.of(&id), id, &mounts)).collect();
    stage::print_json(&entries)
}

fn entry(place: &Place, id: Id, mounts: &BTreeSet<PathBuf>) -> Entry {
    let mounted = place.rootfs().canonicalize().is_ok_and(|real| mounts.contains(&real));
    let upper =
        [&place.tmpfs(), &place.kept].map(|dir| place::upper(dir)).into_iter().find(|dir| dir.exists());
    Entry { id, path: place.rootfs(), mounted, kept: !mounted && upper.is_some(), upper }
}

/// The names in `dir` that are ids. A directory that cannot be read lists nothing.
fn ids(dir: &Path) -> impl Iterator<Item = Id> {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The mount points of a mountinfo file (proc_pid_mountinfo(5)).
fn mount_points(mountinfo: &[u8]) -> BTreeSet<PathBuf> {
    mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| PathBuf::from(OsString::from_vec(unescaped(field))))
        .collect()
}

/// Space, tab, newline and backslash are there as a backslash and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, others)) = rest.split_first() {
        let octal = others.get(..3).and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        match octal {
            Some(byte) if *first == b'\\' => {
                out.push(byte);
                rest = &others[3..];
            }
            _ => {
                out.push(*first);
                rest = others;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_escapes_them() {
        let text =
            b"22 27 0:21 / /proc rw,relatime - proc proc rw\n23 27 0:22 / /a\\040b\\134c rw - x x rw\n";
        let expected = ["/a b\\c", "/proc"].map(PathBuf::from);
        assert_eq!(mount_points(text), expected.into_iter().collect());
    }
}
