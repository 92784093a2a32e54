//! Challenges and credentials: what a registry asks for, and what is stored for it on this machine.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// A user's name and password. Not shown by `{:?}`.
#[derive(Clone)]
pub struct Credentials {
    user: String,
    password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Credentials of {}", self.user)
    }
}

impl FromStr for Credentials {
    type Err = anyhow::Error;

    /// `USER:PASSWORD`; a password may have colons.
    fn from_str(text: &str) -> Result<Credentials> {
        match text.split_once(':') {
            Some((user, password)) if !user.is_empty() => {
                Ok(Credentials { user: user.to_owned(), password: password.to_owned() })
            }
            _ => bail!("credentials are USER:PASSWORD"),
        }
    }
}

impl Credentials {
    /// As the value of `Authorization`.
    pub fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }
}

/// What `WWW-Authenticate` asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    /// A token of the server `realm`.
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

impl Challenge {
    /// The value of the header (RFC 9110, 11.6.1), as far as registries use it.
    pub fn parse(text: &str) -> Option<Challenge> {
        let (scheme, parameters) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut found = parameters_of(parameters);
        Some(Challenge::Bearer { realm: found.remove("realm")?, service: found.remove("service") })
    }
}

/// `key="value",key=value`; a value in quotes may have commas.
fn parameters_of(mut text: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    while let Some((key, rest)) = text.split_once('=') {
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(',').map_or((rest, ""), |(value, rest)| (value, rest)),
        };
        found.insert(key.trim_matches([' ', ',']).to_ascii_lowercase(), value.to_owned());
        text = rest.trim_start_matches([' ', ',']);
    }
    found
}

/// The token in a token server's answer.
pub fn token(answer: &[u8]) -> Result<String> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(answer).context("malformed answer of the token server")?;
    answer.token.or(answer.access_token).context("malformed answer of the token server: no token in it")
}

#[derive(Default, Deserialize)]
struct Configuration {
    #[serde(default)]
    auths: HashMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// What `docker login`, `podman login` or `skopeo login` have stored for this repository (`domain/path`).
pub fn stored(repository: &str) -> Result<Option<Credentials>> {
    for path in files() {
        let text = match std::fs::read(&path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let found = of_configuration(&text, repository);
        if let Some(found) = found.with_context(|| format!("cannot read {}", path.display()))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// docker's configuration, then that of podman and skopeo (containers-auth.json(5)).
fn files() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let docker = variable("DOCKER_CONFIG").or_else(|| Some(variable("HOME")?.join(".docker")));
    let run = variable("XDG_RUNTIME_DIR").unwrap_or_else(|| {
        let uid = nix::unistd::getuid();
        if uid.is_root() { PathBuf::from("/run") } else { PathBuf::from(format!("/run/user/{uid}")) }
    });
    let mut files: Vec<PathBuf> = variable("REGISTRY_AUTH_FILE").into_iter().collect();
    files.extend(docker.map(|dir| dir.join("config.json")));
    files.push(run.join("containers/auth.json"));
    files.push(PathBuf::from(format!("/run/containers/{}/auth.json", nix::unistd::getuid())));
    files
}

fn of_configuration(text: &[u8], repository: &str) -> Result<Option<Credentials>> {
    let configuration: Configuration = serde_json::from_slice(text)?;
    // podman and skopeo may have some for a part of a registry: what is nearest to the repository counts.
    let scope_of = |key: &str| {
        let scope = scope(key);
        let rest = repository.strip_prefix(scope)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(scope.len())
    };
    let nearest = configuration.auths.into_iter().filter_map(|(key, auth)| Some((scope_of(&key)?, auth)));
    let Some((_, auth)) = nearest.max_by_key(|(length, _)| *length) else { return Ok(None) };
    match (auth.auth.filter(|auth| !auth.is_empty()), auth.username, auth.password) {
        (Some(auth), _, _) => {
            let decoded = String::from_utf8(STANDARD.decode(auth)?)?;
            decoded.trim_end_matches('\0').parse().map(Some)
        }
        (None, Some(user), Some(password)) => Ok(Some(Credentials { user, password })),
        // The entry of a credential helper is empty.
        _ => Ok(None),
    }
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

    #[test]
    fn challenges_name_a_token_server() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
        };
        let text = "Bearer realm=\"https://a/token\",service=\"b, c\",scope=\"repository:x:pull,push\"";
        assert_eq!(Challenge::parse(text), bearer("https://a/token", Some("b, c")));
        assert_eq!(Challenge::parse("bearer realm=x"), bearer("x", None));
        assert_eq!(Challenge::parse("Basic realm=\"r\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Bearer service=x"), None);
        assert_eq!(Challenge::parse("Negotiate"), None);
    }

    #[test]
    fn credentials_are_found_for_their_host_only() {
        let text = br#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpwOnE="},"a:5000":{"username":"x","password":"y"},
            "a:5000/b/c":{"auth":"dTpwOnE="},"helped":{}},"credsStore":"z"}"#;
        let basic = |repository: &str| of_configuration(text, repository).unwrap().map(|found| found.basic());
        assert_eq!(basic("docker.io/library/x").as_deref(), Some("Basic dTpwOnE="));
        assert_eq!(basic("a:5000/x").as_deref(), Some("Basic eDp5"));
        assert_eq!(basic("a:5000/b/c").as_deref(), Some("Basic dTpwOnE="));
        assert_eq!(basic("a:5000/b/cc").as_deref(), Some("Basic eDp5"));
        assert_eq!(basic("a/x"), None);
        assert_eq!(basic("a:50001/x"), None);
        assert_eq!(basic("helped/x"), None);
    }
}
