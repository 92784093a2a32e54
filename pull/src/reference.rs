//! What people type for an image, made complete as docker does it (distribution/reference).
//!
//! Knows names only: not whether such an image exists, nor where its registry is reached.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};

use crate::digest::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
/// The longest repository name, its domain included, that docker accepts.
const MAX_NAME: usize = 255;

/// A complete reference: `docker.io/library/alpine:latest`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// `docker.io`, `localhost:5000`.
    pub domain: String,
    /// `library/alpine`.
    pub path: String,
    /// The tag or the digest that chooses within the repository.
    pub version: Version,
}

/// What chooses an image within its repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Tag(String),
    Digest(Digest),
}

impl Reference {
    /// As docker shows it: without `docker.io/library/`.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_name(), self.version)
    }

    /// The repository as docker shows it; whole where the short name would mean another one.
    pub fn familiar_name(&self) -> String {
        let short = match self.path.strip_prefix("library/") {
            Some(official) if !official.contains('/') => official,
            _ => &self.path,
        };
        if self.domain == DEFAULT_DOMAIN && split_domain(short) == (DEFAULT_DOMAIN, short) {
            return short.to_owned();
        }
        self.name()
    }

    /// The repository: `docker.io/library/alpine`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Whether a tag chooses the image, and not a digest.
    pub fn has_tag(&self) -> bool {
        matches!(self.version, Version::Tag(_))
    }

    /// The same repository, at this digest.
    pub fn at(&self, digest: Digest) -> Reference {
        Reference { version: Version::Digest(digest), ..self.clone() }
    }
}

impl Version {
    /// Without the sign before it: `latest`, `sha256:...`.
    pub fn bare(&self) -> String {
        match self {
            Version::Tag(tag) => tag.clone(),
            Version::Digest(digest) => digest.to_string(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}{}", self.domain, self.path, self.version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Version::Tag(tag) => write!(f, ":{tag}"),
            Version::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

impl FromStr for Reference {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Reference> {
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => (named, Some(digest.parse::<Digest>()?)),
            None => (text, None),
        };
        let (domain, rest) = split_domain(named);
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        check_domain(domain)?;
        check_path(path)?;
        let reference = Reference {
            domain: domain.to_owned(),
            path: official(domain, path),
            version: match (digest, tag) {
                // With both, the digest decides (docker forgets the tag).
                (Some(digest), None) => Version::Digest(digest),
                (Some(digest), Some(tag)) => check_tag(tag).map(|()| Version::Digest(digest))?,
                (None, tag) => tag_version(tag.unwrap_or("latest"))?,
            },
        };
        if Digest::from_hex(named).is_ok() {
            bail!("64 hex digits are an image's id, not a name");
        }
        if reference.name().len() > MAX_NAME {
            bail!("the name is longer than {MAX_NAME} bytes");
        }
        Ok(reference)
    }
}

fn tag_version(tag: &str) -> Result<Version> {
    check_tag(tag)?;
    Ok(Version::Tag(tag.to_owned()))
}

/// The first element is a domain if it cannot be a repository's: it has a dot, a colon or an upper-case letter,
/// or is `localhost`. A name of a single element never has a domain.
fn split_domain(named: &str) -> (&str, &str) {
    match named.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|c| c.is_ascii_uppercase()) =>
        {
            (if first == "index.docker.io" { DEFAULT_DOMAIN } else { first }, rest)
        }
        _ => (DEFAULT_DOMAIN, named),
    }
}

fn official(domain: &str, path: &str) -> String {
    if domain == DEFAULT_DOMAIN && !path.contains('/') {
        return format!("library/{path}");
    }
    path.to_owned()
}

fn check_domain(domain: &str) -> Result<()> {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => {
            let Some((address, after)) = rest.split_once(']') else { bail!("{domain:?} is not a host") };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                bail!("{domain:?} is not a host");
            }
            ("localhost", after.strip_prefix(':'))
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !host.split('.').all(label) || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        bail!("{domain:?} is not a host");
    }
    Ok(())
}

/// Elements of lower-case letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn check_path(path: &str) -> Result<()> {
    if path.bytes().any(|c| c.is_ascii_uppercase()) {
        bail!("a repository name is in lower case");
    }
    if !path.split('/').all(is_path_element) {
        bail!("{path:?} is not a repository name");
    }
    Ok(())
}

fn is_path_element(element: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = element.split(word).filter(|between| !between.is_empty());
    element.starts_with(word)
        && element.ends_with(word)
        && separators.into_iter().all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|c| c == b'-'))
}

fn check_tag(tag: &str) -> Result<()> {
    let first = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let rest = |c: u8| first(c) || c == b'.' || c == b'-';
    if tag.is_empty() || tag.len() > 128 || !first(tag.as_bytes()[0]) || !tag.bytes().all(rest) {
        bail!("{tag:?} is not a tag");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[track_caller]
    fn full(text: &str) -> String {
        text.parse::<Reference>().unwrap().to_string()
    }

    #[test]
    fn names_are_completed_as_docker_does() {
        assert_eq!(full("alpine"), "docker.io/library/alpine:latest");
        assert_eq!(full("user/app"), "docker.io/user/app:latest");
        assert_eq!(full("index.docker.io/alpine:3"), "docker.io/library/alpine:3");
        assert_eq!(full("localhost"), "docker.io/library/localhost:latest");
        assert_eq!(full("example.com"), "docker.io/library/example.com:latest");
        assert_eq!(full("localhost/a"), "localhost/a:latest");
        assert_eq!(full("localhost:5000/a/b:x"), "localhost:5000/a/b:x");
        assert_eq!(full("HOST/a"), "HOST/a:latest");
        assert_eq!(full("[::1]:5000/a"), "[::1]:5000/a:latest");
        assert_eq!(full(&format!("a@sha256:{HEX}")), format!("docker.io/library/a@sha256:{HEX}"));
        assert_eq!(full(&format!("a:tag@sha256:{HEX}")), format!("docker.io/library/a@sha256:{HEX}"));
        assert_eq!(full("a__b.c-_x--y".replace("-_", "-").as_str()), "docker.io/library/a__b.c-x--y:latest");
    }

    #[test]
    fn what_docker_shows_is_short() {
        let familiar = |text: &str| text.parse::<Reference>().unwrap().familiar();
        assert_eq!(familiar("docker.io/library/alpine"), "alpine:latest");
        assert_eq!(familiar("docker.io/user/app"), "user/app:latest");
        assert_eq!(familiar("localhost:5000/a"), "localhost:5000/a:latest");
        // Found by fuzzing: what is short must not mean another repository.
        assert_eq!(familiar("index.docker.io/a.b/c"), "docker.io/a.b/c:latest");
        assert_eq!(familiar("docker.io/library/a/b"), "library/a/b:latest");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "Alpine",
            "a:",
            "a:.x",
            "-a",
            "a_-b",
            "a...b",
            "a//b",
            "/a",
            "a/",
            "a@sha256:1",
            HEX,
            "../a",
            "a:x/y",
            ".:1/a",
            "a.b:x/c",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
        assert!(format!("{}:x", "a".repeat(300)).parse::<Reference>().is_err());
    }
}
