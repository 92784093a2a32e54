//! Challenges and credentials: what a registry asks for, and what docker's configuration has for it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::HashMap;
use std::str::FromStr;

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

/// What `docker login` has stored for this domain: in `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`.
pub fn stored(domain: &str) -> Result<Option<Credentials>> {
    let dir = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker"));
    let Some(path) = dir.or_else(home).map(|dir| dir.join("config.json")) else { return Ok(None) };
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    of_configuration(&text, domain).with_context(|| format!("cannot read {}", path.display()))
}

fn of_configuration(text: &[u8], domain: &str) -> Result<Option<Credentials>> {
    let configuration: Configuration = serde_json::from_slice(text)?;
    let Some((_, auth)) = configuration.auths.into_iter().find(|(key, _)| host_of(key) == domain) else {
        return Ok(None);
    };
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

/// Keys are `host`, `https://host` or, for docker.io, `https://index.docker.io/v1/`.
fn host_of(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    match bare.split('/').next().unwrap_or_default() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
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
            "helped":{}},"credsStore":"z"}"#;
        let basic = |domain: &str| of_configuration(text, domain).unwrap().map(|found| found.basic());
        assert_eq!(basic("docker.io").as_deref(), Some("Basic dTpwOnE="));
        assert_eq!(basic("a:5000").as_deref(), Some("Basic eDp5"));
        assert_eq!(basic("a"), None);
        assert_eq!(basic("helped"), None);
    }
}
