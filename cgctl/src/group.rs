//! The name of a group: a path that holds in every hierarchy.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, bail};
use stage::Id;

/// An absolute path below the root of a hierarchy as it is mounted, such as `/gocker`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPath(String);

impl Default for CgroupPath {
    /// Where groups are made on a host that nobody else manages.
    fn default() -> CgroupPath {
        CgroupPath("/gocker".to_owned())
    }
}

impl CgroupPath {
    /// The container's group in this one.
    pub fn child(&self, id: &Id) -> CgroupPath {
        CgroupPath(format!("{}/{id}", self.0.trim_end_matches('/')))
    }

    /// The group at `path` seen from this one.
    pub fn join(&self, path: &CgroupPath) -> CgroupPath {
        CgroupPath(format!("{}{}", self.0.trim_end_matches('/'), path.0))
    }

    /// The directory in the hierarchy that is mounted at `mount`.
    pub fn below(&self, mount: &Path) -> PathBuf {
        mount.join(&self.0[1..])
    }

    /// The groups on the way to this one, without the root and without itself, outermost first.
    pub fn above(&self) -> Vec<CgroupPath> {
        self.0.match_indices('/').skip(1).map(|(at, _)| CgroupPath(self.0[..at].to_owned())).collect()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CgroupPath {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<CgroupPath> {
        if !text.starts_with('/') {
            bail!("a cgroup's path begins with /, at the root of the hierarchy");
        }
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        if parts.iter().any(|part| matches!(*part, "." | "..") || part.contains('\n')) {
            bail!("a cgroup's path has no . or .. in it");
        }
        Ok(CgroupPath(format!("/{}", parts.join("/"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> CgroupPath {
        text.parse().unwrap()
    }

    #[test]
    fn a_path_is_kept_in_one_form() {
        assert_eq!(path("//a///b/").as_str(), "/a/b");
        assert_eq!(path("/").as_str(), "/");
        for wrong in ["", "gocker", "/a/../b", "/./a"] {
            assert!(wrong.parse::<CgroupPath>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn it_leads_to_a_directory_of_each_hierarchy() {
        assert_eq!(path("/a/b").below(Path::new("/sys/fs/cgroup")), Path::new("/sys/fs/cgroup/a/b"));
        let above: Vec<String> = path("/a/b/c").above().iter().map(ToString::to_string).collect();
        assert_eq!(above, ["/a", "/a/b"]);
        assert!(path("/a").above().is_empty());
        let id: Id = "a".repeat(64).parse().unwrap();
        assert_eq!(path("/").child(&id).as_str(), format!("/{id}"));
    }
}
