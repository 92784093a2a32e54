//! The sections of the document that nsrun reads, as far as it reads them.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use stage::{Document, Section};

/// All that matters here of one document.
#[derive(Debug, Default)]
pub struct Sections {
    pub image: Option<ImageConfig>,
    pub rootfs: Option<Rootfs>,
    pub network: Option<Network>,
    pub cgroup: Option<Cgroup>,
}

#[derive(Deserialize)]
struct Image {
    spec: ImageSpec,
}

#[derive(Deserialize)]
struct ImageSpec {
    #[serde(default)]
    config: Option<ImageConfig>,
}

/// `config` of an OCI image configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageConfig {
    pub user: Option<String>,
    pub env: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub working_dir: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Rootfs {
    pub path: PathBuf,
}

/// A CNI result and the namespace it is about; without one: the caller's.
#[derive(Debug, Default, Deserialize)]
pub struct Network {
    pub netns: Option<PathBuf>,
    #[serde(default)]
    pub ips: Vec<Ip>,
    #[serde(default)]
    pub dns: Dns,
    /// Its host name, if nobody says another.
    pub hostname: Option<String>,
    /// The container's `/etc/hosts`, as far as netns writes it.
    pub hosts: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
pub struct Ip {
    address: String,
    pub gateway: Option<IpAddr>,
}

impl Ip {
    /// The address without its prefix length.
    pub fn address(&self) -> &str {
        self.address.split('/').next().unwrap_or_default()
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Dns {
    #[serde(default)]
    pub nameservers: Vec<String>,
    #[serde(default)]
    pub search: Vec<String>,
    #[serde(default)]
    pub options: Vec<String>,
}

/// Where the container's cgroup is in each hierarchy; also part of the record.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cgroup {
    pub version: u32,
    pub cgroups_path: PathBuf,
    pub paths: BTreeMap<String, PathBuf>,
}

/// Whether stdin is where the document came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Stdin,
    Elsewhere,
}

/// The document, from `--doc FILE` or from stdin.
pub fn read(file: Option<&Path>) -> Result<(Document, Source)> {
    let Some(path) = file else {
        let source = if Document::is_upstream()? { Source::Stdin } else { Source::Elsewhere };
        return Ok((Document::from_stdin()?, source));
    };
    let open = || -> Result<Document> {
        let file = File::open(path).context("open")?;
        if file.metadata().context("fstat")?.file_type().is_char_device() {
            return Document::new();
        }
        match Document::read(file)? {
            Some(document) => Ok(document),
            None => anyhow::bail!("it is empty"),
        }
    };
    let document = open().with_context(|| format!("cannot read the document {}", path.display()))?;
    Ok((document, Source::Elsewhere))
}

impl Sections {
    pub fn of(document: &Document) -> Result<Sections> {
        let image: Option<Image> = document.get(Section::Image.key())?;
        Ok(Sections {
            image: image.map(|image| image.spec.config.unwrap_or_default()),
            rootfs: document.get(Section::Rootfs.key())?,
            network: document.get(Section::Network.key())?,
            cgroup: document.get(Section::Cgroup.key())?,
        })
    }
}
