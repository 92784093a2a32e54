//! The files that docker, podman and skopeo keep logins in: docker's config.json and containers-auth.json(5).

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use stage::{Durability, make_private_dir, replace_file};

use super::{Credentials, helper};

/// Where a login can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The text itself, in this variable of the environment.
    Variable(&'static str),
    File(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Place::Variable(name) => f.write_str(name),
            Place::File(path) => path.display().fmt(f),
        }
    }
}

/// The places, in the order in which they are looked at.
pub fn places() -> Vec<Place> {
    let mut places = vec![Place::Variable("DOCKER_AUTH_CONFIG")];
    let home = variable("HOME");
    let run = variable("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
    let own_run = format!("/run/containers/{}/auth.json", nix::unistd::getuid());
    let config = variable("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
    let files = [
        variable("REGISTRY_AUTH_FILE"),
        run.or_else(|| Some(PathBuf::from(own_run))),
        config.map(|dir| dir.join("containers/auth.json")),
        docker_config(),
        home.map(|dir| dir.join(".dockercfg")),
    ];
    places.extend(files.into_iter().flatten().map(Place::File));
    places
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn docker_config() -> Option<PathBuf> {
    let dir = variable("DOCKER_CONFIG").or_else(|| Some(variable("HOME")?.join(".docker")))?;
    Some(dir.join("config.json"))
}

/// What credentials for a registry are stored under; docker.io has a name of old.
pub fn server(domain: &str) -> String {
    match domain {
        "docker.io" => "https://index.docker.io/v1/".to_owned(),
        domain => domain.to_owned(),
    }
}

/// What a file has for a repository.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    Found {
        key: String,
        credentials: Credentials,
    },
    /// A helper that has them leaves one.
    Empty {
        key: String,
    },
    Missing,
}

/// One such file, as it is: what is not about logins is kept when it is written.
pub struct LoginFile {
    pub place: Place,
    content: Map<String, Value>,
}

impl LoginFile {
    /// `None`: it is not there.
    pub fn read(place: &Place) -> Result<Option<LoginFile>> {
        let text = match place {
            Place::Variable(name) => match std::env::var(name) {
                Ok(text) if !text.is_empty() => text,
                _ => return Ok(None),
            },
            Place::File(path) => match std::fs::read_to_string(path) {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    return Ok(None);
                }
                text => text.with_context(|| format!("cannot read {place}"))?,
            },
        };
        let parsed = serde_json::from_str(&text).with_context(|| format!("cannot read {place}"))?;
        Ok(Some(LoginFile { place: place.clone(), content: parsed }))
    }

    /// The file that `pull login` writes: docker's, whether it is there or not.
    pub fn own() -> Result<LoginFile> {
        let path = variable("REGISTRY_AUTH_FILE").or_else(docker_config);
        let place = Place::File(path.context("cannot store a login: HOME is not set")?);
        let found = LoginFile::read(&place)?;
        Ok(found.unwrap_or(LoginFile { place, content: Map::new() }))
    }

    /// The helper that is asked for this registry, and the key that says so.
    pub fn helper(&self, domain: &str) -> Option<(&'static str, &str)> {
        let of_registry = self.content.get("credHelpers").and_then(Value::as_object);
        let own = of_registry.and_then(|map| map.iter().find(|(key, _)| scope(key) == domain));
        match own.and_then(|(_, name)| name.as_str()).filter(|name| !name.is_empty()) {
            Some(name) => Some(("credHelpers", name)),
            None => {
                let all = self.content.get("credsStore").and_then(Value::as_str);
                all.filter(|name| !name.is_empty()).map(|name| ("credsStore", name))
            }
        }
    }

    /// What is stored for the repository (`domain/path`): podman and skopeo may have some for a part of a registry,
    /// and what is nearest counts.
    pub fn entry(&self, repository: &str) -> Result<Entry> {
        let nearness = |key: &str| {
            let scope = scope(key);
            let rest = repository.strip_prefix(scope)?;
            (rest.is_empty() || rest.starts_with('/')).then_some(scope.len())
        };
        let near =
            self.auths().into_iter().flatten().filter_map(|(key, entry)| Some((nearness(key)?, key, entry)));
        let Some((_, key, entry)) = near.max_by_key(|(length, ..)| *length) else {
            return Ok(Entry::Missing);
        };
        let found =
            credentials(entry).with_context(|| format!("cannot read {}: auths[{key:?}]", self.place))?;
        let key = key.clone();
        Ok(found.map_or(Entry::Empty { key: key.clone() }, |credentials| Entry::Found { key, credentials }))
    }

    fn auths(&self) -> Option<&Map<String, Value>> {
        match self.content.get("auths") {
            Some(auths) => auths.as_object(),
            // The file of old is nothing but the logins.
            None => self.is_dockercfg().then_some(&self.content),
        }
    }

    fn is_dockercfg(&self) -> bool {
        matches!(&self.place, Place::File(path) if path.ends_with(".dockercfg"))
    }

    /// Stores a login: with the helper that the file names, else in the file. Where it went comes out.
    pub fn log_in(mut self, domain: &str, user: &str, password: &str) -> Result<String> {
        if let Some((_, name)) = self.helper(domain) {
            helper::store(name, &server(domain), (user, password))?;
            return Ok(format!("docker-credential-{name}"));
        }
        let auth = STANDARD.encode(format!("{user}:{password}"));
        let auths = self.content.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        auths[server(domain)] = json!({"auth": auth});
        self.write()?;
        Ok(self.place.to_string())
    }

    /// Takes a login away, wherever [`LoginFile::log_in`] has put it. Whether there was one comes out.
    pub fn log_out(mut self, domain: &str) -> Result<bool> {
        if let Some((_, name)) = self.helper(domain) {
            helper::erase(name, &server(domain))?;
        }
        let Some(auths) = self.content.get_mut("auths").and_then(Value::as_object_mut) else {
            return Ok(false);
        };
        let before = auths.len();
        auths.retain(|key, _| scope(key) != domain);
        let gone = auths.len() < before;
        if gone {
            self.write()?;
        }
        Ok(gone)
    }

    fn write(&self) -> Result<()> {
        let Place::File(path) = &self.place else { return Ok(()) };
        make_private_dir(path.parent().unwrap_or(Path::new(".")))?;
        let mut text = serde_json::to_vec_pretty(&self.content)?;
        text.push(b'\n');
        replace_file(path, &text, Durability::Durable)
    }
}

fn credentials(entry: &Value) -> Result<Option<Credentials>> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credentials::IdentityToken(token.to_owned())));
    }
    if let Some(auth) = text("auth") {
        let decoded = String::from_utf8(STANDARD.decode(auth)?)?;
        return decoded.trim_end_matches('\0').parse().map(Some);
    }
    Ok(text("username").zip(text("password")).map(|(user, password)| Credentials::Password {
        user: user.to_owned(),
        password: password.to_owned(),
    }))
}

/// Keys are `host`, `host/part`, `https://host/v1/` of old or, for docker.io, `https://index.docker.io/v1/`.
fn scope(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let bare = bare.trim_end_matches('/');
    let bare = bare.strip_suffix("/v1").or_else(|| bare.strip_suffix("/v2")).unwrap_or(bare);
    match bare {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        scope => scope,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: Value) -> LoginFile {
        let Value::Object(content) = content else { panic!("not an object") };
        LoginFile { place: Place::File("x".into()), content }
    }

    #[test]
    fn credentials_are_found_for_their_host_only() {
        let file = file(json!({"auths": {"https://index.docker.io/v1/": {"auth": "dTpwOnE="},
            "a:5000": {"username": "x", "password": "y"}, "a:5000/b/c": {"auth": "dTpwOnE="}, "helped": {}},
            "credsStore": "z", "credHelpers": {"h": "own"}}));
        let basic = |repository: &str| match file.entry(repository).unwrap() {
            Entry::Found { credentials, .. } => credentials.basic(),
            _ => None,
        };
        assert_eq!(basic("docker.io/library/x").as_deref(), Some("Basic dTpwOnE="));
        assert_eq!(basic("a:5000/x").as_deref(), Some("Basic eDp5"));
        assert_eq!(basic("a:5000/b/c").as_deref(), Some("Basic dTpwOnE="));
        assert_eq!(basic("a:5000/b/cc").as_deref(), Some("Basic eDp5"));
        for other in ["a/x", "a:50001/x", "helped/x"] {
            assert_eq!(basic(other), None, "{other}");
        }
        assert_eq!(file.entry("helped/x").unwrap(), Entry::Empty { key: "helped".to_owned() });
        assert_eq!(file.helper("h"), Some(("credHelpers", "own")));
        assert_eq!(file.helper("other"), Some(("credsStore", "z")));
    }

    #[test]
    fn the_logins_of_old_are_the_whole_file() {
        let mut old = file(json!({"https://a/v1/": {"auth": "dTpw"}}));
        assert_eq!(old.entry("a/x").unwrap(), Entry::Missing);
        old.place = Place::File("/root/.dockercfg".into());
        assert!(matches!(old.entry("a/x").unwrap(), Entry::Found { .. }));
    }
}
