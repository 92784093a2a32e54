//! Who asks: challenges of registries, credentials, tokens.

mod helper;
mod login;
mod stored;

use std::collections::HashMap;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

pub use login::Login;
pub use stored::LoginFile;

/// How long a token lives whose server does not say, in seconds (distribution-spec, token authentication).
const LIFETIME: u64 = 60;

/// What a user has to show. Not shown by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    Password {
        user: String,
        password: String,
    },
    /// What a token server takes in place of a password (OAuth2's refresh token).
    IdentityToken(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "credentials of {}", self.whose())
    }
}

impl FromStr for Credentials {
    type Err = anyhow::Error;

    /// `USER:PASSWORD`; a password may have colons.
    fn from_str(text: &str) -> Result<Credentials> {
        match text.split_once(':') {
            Some((user, password)) if !user.is_empty() => {
                Ok(Credentials::Password { user: user.to_owned(), password: password.to_owned() })
            }
            _ => bail!("credentials are USER:PASSWORD"),
        }
    }
}

impl Credentials {
    /// As the value of `Authorization`. An identity token is for token servers alone.
    pub fn basic(&self) -> Option<String> {
        match self {
            Credentials::Password { user, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            Credentials::IdentityToken(_) => None,
        }
    }

    /// For people: never the secret.
    pub fn whose(&self) -> String {
        match self {
            Credentials::Password { user, .. } => format!("user {user:?}"),
            Credentials::IdentityToken(_) => "an identity token".to_owned(),
        }
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

/// What a token server has handed out.
#[derive(PartialEq, Eq)]
pub struct Token {
    pub text: String,
    /// How long it is good for.
    pub seconds: u64,
}

impl Token {
    /// From the server's answer.
    pub fn parse(answer: &[u8]) -> Result<Token> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
            expires_in: Option<u64>,
        }
        let answer: Answer =
            serde_json::from_slice(answer).context("malformed answer of the token server")?;
        let text = answer.token.filter(|token| !token.is_empty()).or(answer.access_token);
        let text = text.context("malformed answer of the token server: no token in it")?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("malformed answer of the token server: its token is none");
        }
        Ok(Token { text, seconds: answer.expires_in.filter(|seconds| *seconds > 0).unwrap_or(LIFETIME) })
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
    fn a_token_says_how_long_it_lives() {
        let token = |text: &str| Token::parse(text.as_bytes()).map(|t| (t.text, t.seconds)).ok();
        assert_eq!(token(r#"{"token":"a","expires_in":5}"#), Some(("a".to_owned(), 5)));
        assert_eq!(token(r#"{"access_token":"b"}"#), Some(("b".to_owned(), 60)));
        assert_eq!(token(r#"{"token":"a\r\nX: y"}"#), None);
        assert_eq!(token("{}"), None);
    }
}
