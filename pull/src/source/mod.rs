//! Where an image can come from.

pub mod docker_archive;
pub mod oci;
pub mod registry;
pub mod rootfs;

use std::path::PathBuf;

use anyhow::{Context, Result};

/// What the operand names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An image of a registry, or one that is here; as typed.
    Name(String),
    /// An OCI image layout, and which of its images.
    Oci { dir: PathBuf, tag: Option<String> },
    /// What `docker save` writes.
    DockerArchive(PathBuf),
    /// A directory or a tar file that becomes an image of one layer.
    Rootfs(PathBuf),
}

impl Source {
    /// By its prefix, as skopeo(1) has them.
    pub fn parse(text: &str) -> Source {
        match text.split_once(':') {
            Some(("oci", rest)) => oci::parse(rest),
            Some(("docker-archive", file)) => Source::DockerArchive(PathBuf::from(file)),
            Some(("rootfs", path)) => Source::Rootfs(PathBuf::from(path)),
            _ => Source::Name(text.to_owned()),
        }
    }
}

fn open(path: &std::path::Path) -> Result<std::fs::File> {
    std::fs::File::open(path).with_context(|| format!("open {}", path.display()))
}
