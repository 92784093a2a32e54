//! Where an image can come from.

pub mod base;
pub mod docker_archive;
mod files;
pub mod oci;
pub mod registry;
pub mod rootfs;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What the operand names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An image of a registry, or one that is here; as typed.
    Name(String),
    /// An OCI image layout, and which of its images.
    Oci { dir: PathBuf, tag: Option<String> },
    /// The same, in a tar archive.
    OciArchive { file: PathBuf, tag: Option<String> },
    /// What `docker save` writes, and which of its images.
    DockerArchive { file: PathBuf, tag: Option<String> },
    /// A directory or a tar file that becomes an image of one layer.
    Rootfs(PathBuf),
}

impl Source {
    /// By its prefix, as skopeo(1) has them.
    pub fn parse(text: &str) -> Source {
        match text.split_once(':') {
            Some(("oci", rest)) => {
                let (dir, tag) = last_colon(rest);
                Source::Oci { dir, tag }
            }
            Some(("oci-archive", rest)) => {
                let (file, tag) = last_colon(rest);
                Source::OciArchive { file, tag }
            }
            Some(("docker-archive", rest)) => {
                let (file, tag) = first_colon(rest);
                Source::DockerArchive { file, tag }
            }
            Some(("rootfs", path)) => Source::Rootfs(PathBuf::from(path)),
            _ => Source::Name(text.to_owned()),
        }
    }
}

/// `PATH[:TAG]`: the path may have a colon in its name, if it is there.
fn last_colon(rest: &str) -> (PathBuf, Option<String>) {
    match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') && !Path::new(rest).exists() => {
            (PathBuf::from(path), Some(tag.to_owned()))
        }
        _ => (PathBuf::from(rest), None),
    }
}

/// `PATH[:NAME[:TAG]]`.
fn first_colon(rest: &str) -> (PathBuf, Option<String>) {
    match rest.split_once(':') {
        Some((path, name)) if !Path::new(rest).exists() => (PathBuf::from(path), Some(name.to_owned())),
        _ => (PathBuf::from(rest), None),
    }
}

fn open(path: &Path) -> Result<std::fs::File> {
    std::fs::File::open(path).with_context(|| format!("open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_stands_behind_a_colon() {
        let tag = |tag: &str| Some(tag.to_owned());
        assert_eq!(last_colon("/a/b:1"), ("/a/b".into(), tag("1")));
        assert_eq!(last_colon("/a:b/c"), ("/a:b/c".into(), None));
        assert_eq!(last_colon("/a"), ("/a".into(), None));
        assert_eq!(first_colon("/a.tar:localhost:5000/x:1"), ("/a.tar".into(), tag("localhost:5000/x:1")));
        assert_eq!(first_colon("/a.tar"), ("/a.tar".into(), None));
    }
}
