//! Where a repository is reached: itself, another location, its mirrors (containers-registries.conf(5), version 2).

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::reference::{Reference, Version};

/// One place that has, or should have, the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `docker.io`, `localhost:5000`: what credentials are stored under.
    pub domain: String,
    /// What is connected to: `registry-1.docker.io`, `localhost:5000`.
    pub host: String,
    /// `library/alpine`.
    pub path: String,
    /// TLS without a look at the certificate, and none if that fails.
    pub insecure: bool,
    /// The registry itself, not a mirror of it.
    pub is_primary: bool,
}

impl Endpoint {
    /// The place of this name: `domain/path`.
    pub fn new(name: &str, insecure: bool, is_primary: bool) -> Result<Endpoint> {
        let (domain, path) =
            name.split_once('/').with_context(|| format!("location {name:?} has no path"))?;
        let host = if domain == "docker.io" { "registry-1.docker.io" } else { domain };
        let (domain, host, path) = (domain.to_owned(), host.to_owned(), path.to_owned());
        Ok(Endpoint { domain, host, path, insecure, is_primary })
    }

    /// `domain/path`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// What `pull login` takes for it.
    pub fn login_host(&self) -> &str {
        &self.domain
    }

    /// `https://host`, and what else may be tried, in this order.
    pub fn bases(&self, plain_http: bool) -> Vec<String> {
        let schemes: &[&str] = match (plain_http, self.insecure || self.is_loopback()) {
            (true, _) => &["http"],
            // Nobody listens in on loopback.
            (false, true) => &["https", "http"],
            (false, false) => &["https"],
        };
        schemes.iter().map(|scheme| format!("{scheme}://{}", self.host)).collect()
    }

    /// Whether what is sent there never leaves this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The endpoints of a repository, mirrors first.
///
/// # Errors
/// The registry is blocked, or the configuration cannot be read.
pub fn of(reference: &Reference) -> Result<Vec<Endpoint>> {
    endpoints(&configuration()?, reference)
}

#[derive(Debug, Default, Deserialize)]
struct Configuration {
    #[serde(default, rename = "registry")]
    registries: Vec<Registry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Registry {
    prefix: Option<String>,
    location: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default, rename = "mirror")]
    mirrors: Vec<Mirror>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: PullFrom,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullFrom {
    #[default]
    #[serde(alias = "")]
    All,
    DigestOnly,
    TagOnly,
}

impl Registry {
    fn prefix(&self) -> &str {
        self.prefix.as_deref().filter(|prefix| !prefix.is_empty()).or(self.location.as_deref()).unwrap_or("")
    }

    /// How much of the name the prefix is; `None` if it is none.
    fn matches(&self, name: &str) -> Option<usize> {
        let prefix = self.prefix();
        if let Some(suffix) = prefix.strip_prefix('*') {
            // `*.example.com`: every host below, whatever its port is not.
            let host = name.split('/').next().unwrap_or_default();
            return (suffix.starts_with('.') && host.len() > suffix.len() && host.ends_with(suffix))
                .then_some(host.len());
        }
        let rest = name.strip_prefix(prefix)?;
        (!prefix.is_empty() && (rest.is_empty() || rest.starts_with(['/', ':', '@']))).then_some(prefix.len())
    }

    fn takes(&self, mirror: &Mirror, version: &Version) -> bool {
        match (mirror.pull_from_mirror, version) {
            (PullFrom::DigestOnly, Version::Tag(_)) | (PullFrom::TagOnly, Version::Digest(_)) => false,
            (_, Version::Tag(_)) => !self.mirror_by_digest_only,
            (_, Version::Digest(_)) => true,
        }
    }
}

fn endpoints(configuration: &Configuration, reference: &Reference) -> Result<Vec<Endpoint>> {
    let name = reference.name();
    let matching =
        configuration.registries.iter().filter_map(|r| Some((r.matches(&name)?, r.prefix().len(), r)));
    // Of equally long ones the last: a drop-in file takes the place of what came before.
    let Some((length, _, registry)) = matching.max_by_key(|(_, prefix, _)| *prefix) else {
        return Ok(vec![Endpoint::new(&name, false, true)?]);
    };
    if registry.blocked {
        bail!("registry {} is blocked in registries.conf", registry.prefix());
    }
    let moved = |location: &str| format!("{location}{}", &name[length..]);
    let mut found = Vec::new();
    for mirror in registry.mirrors.iter().filter(|mirror| registry.takes(mirror, &reference.version)) {
        found.push(Endpoint::new(&moved(&mirror.location), mirror.insecure, false)?);
    }
    let own =
        registry.location.as_deref().filter(|location| !location.is_empty()).map_or(name.clone(), moved);
    found.push(Endpoint::new(&own, registry.insecure, true)?);
    Ok(found)
}

/// The first of the files, then the drop-in files of all directories.
fn configuration() -> Result<Configuration> {
    if let Some(file) = std::env::var_os("CONTAINERS_REGISTRIES_CONF").filter(|file| !file.is_empty()) {
        return Ok(read(Path::new(&file))?.unwrap_or_default());
    }
    let mut dirs = vec![PathBuf::from("/etc/containers")];
    dirs.extend(std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config/containers")));
    let mut whole = Configuration::default();
    for dir in dirs.iter().rev() {
        if let Some(found) = read(&dir.join("registries.conf"))? {
            whole = found;
            break;
        }
    }
    for dir in &dirs {
        for file in drop_ins(&dir.join("registries.conf.d"))? {
            whole.registries.extend(read(&file)?.unwrap_or_default().registries);
        }
    }
    Ok(whole)
}

fn drop_ins(dir: &Path) -> Result<Vec<PathBuf>> {
    let names = crate::store::listing(dir)?;
    let files = names.iter().map(|name| dir.join(name));
    Ok(files.filter(|file| file.extension() == Some(OsStr::new("conf"))).collect())
}

fn read(path: &Path) -> Result<Option<Configuration>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let parsed: std::result::Result<Configuration, toml::de::Error> = toml::from_str(&text);
    parsed
        .map(Some)
        .map_err(|error| anyhow::anyhow!("{}", error.message().to_owned()))
        .with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        unqualified-search-registries = ["docker.io"]
        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "mirror.example.com/hub"
        insecure = true
        [[registry.mirror]]
        location = "digests.example.com"
        pull-from-mirror = "digest-only"
        [[registry]]
        prefix = "docker.io/library"
        location = "internal.example.com/official"
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "m.example.com"
        [[registry]]
        prefix = "*.bad.example.com"
        blocked = true
        [[registry]]
        prefix = "*.good.example.com"
        insecure = true
    "#;

    fn reached(name: &str) -> Vec<String> {
        let found = endpoints(&toml::from_str(TEXT).unwrap(), &name.parse().unwrap());
        match found {
            Ok(found) => found.iter().map(|e| format!("{}/{} {}", e.host, e.path, e.insecure)).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn the_longest_prefix_decides() {
        let digest = format!("@sha256:{}", "0".repeat(64));
        assert_eq!(
            reached("user/app"),
            ["mirror.example.com/hub/user/app true", "registry-1.docker.io/user/app false"]
        );
        assert_eq!(
            reached(&format!("user/app{digest}")),
            [
                "mirror.example.com/hub/user/app true",
                "digests.example.com/user/app false",
                "registry-1.docker.io/user/app false"
            ]
        );
        assert_eq!(reached("alpine"), ["internal.example.com/official/alpine false"]);
        assert_eq!(
            reached(&format!("alpine{digest}")),
            ["m.example.com/alpine false", "internal.example.com/official/alpine false"]
        );
        assert_eq!(
            reached("x.bad.example.com/a"),
            ["registry *.bad.example.com is blocked in registries.conf"]
        );
        assert_eq!(reached("x.good.example.com/a"), ["x.good.example.com/a true"]);
        assert_eq!(reached("good.example.com/a"), ["good.example.com/a false"]);
        assert_eq!(reached("docker.io.example.com/a"), ["docker.io.example.com/a false"]);
    }

    #[test]
    fn loopback_is_this_machine_alone() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.9.1", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["example.com", "127.0.0.1.example.com", "10.0.0.1:5000", "[fe80::1]", "localhost.example.com"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
