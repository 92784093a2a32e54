//! Names of entries: where in the layer they lie. Pure.

use anyhow::{Result, bail};

use crate::tarball::MAX_PATH;

/// The longest element of a path (NAME_MAX).
const MAX_ELEMENT: usize = 255;

/// The last element of a path, and what is before it.
#[derive(Debug, PartialEq, Eq)]
pub struct Split<'a> {
    pub parent: &'a [u8],
    pub name: &'a [u8],
}

/// The path without `/` at its ends, without `.` and empty elements. Empty: the layer's root.
///
/// # Errors
/// It has an element `..`, or is too long.
pub fn inside(path: &[u8]) -> Result<Vec<u8>> {
    let mut clean = Vec::with_capacity(path.len());
    for element in path.split(|c| *c == b'/').filter(|element| !matches!(*element, b"" | b".")) {
        if element == b".." {
            bail!("its name has an element \"..\"");
        }
        if element.len() > MAX_ELEMENT {
            bail!("its name has an element of {} bytes", element.len());
        }
        if !clean.is_empty() {
            clean.push(b'/');
        }
        clean.extend_from_slice(element);
    }
    if clean.len() >= MAX_PATH {
        bail!("its name has {} bytes", clean.len());
    }
    Ok(clean)
}

/// `None` for the root.
pub fn split(path: &[u8]) -> Option<Split<'_>> {
    if path.is_empty() {
        return None;
    }
    Some(match path.iter().rposition(|c| *c == b'/') {
        Some(slash) => Split { parent: &path[..slash], name: &path[slash + 1..] },
        None => Split { parent: b"", name: path },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_inside() {
        let clean = |path: &str| inside(path.as_bytes()).map(|path| String::from_utf8(path).unwrap()).ok();
        assert_eq!(clean("./a//b/./c/").as_deref(), Some("a/b/c"));
        assert_eq!(clean("/etc/passwd").as_deref(), Some("etc/passwd"));
        assert_eq!(clean("./").as_deref(), Some(""));
        assert_eq!(clean("..a/b..").as_deref(), Some("..a/b.."));
        for bad in ["..", "a/..", "../a", "/..", "a/../b", &"x".repeat(256), &"x/".repeat(2100)] {
            assert_eq!(clean(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_path_splits_before_its_last_element() {
        assert_eq!(split(b"a/b/c"), Some(Split { parent: b"a/b", name: b"c" }));
        assert_eq!(split(b"a"), Some(Split { parent: b"", name: b"a" }));
        assert_eq!(split(b""), None);
    }
}
