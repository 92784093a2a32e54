//! What went wrong with a request, in one line, and whether it is worth another try.

use std::error::Error;
use std::time::Duration;

use anyhow::anyhow;
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use stage::Explain;

use super::tls;

/// The longest text of a registry's that is shown.
const MAX_SHOWN: usize = 300;

/// A request that failed.
#[derive(Debug)]
pub struct Failure {
    pub text: String,
    pub hint: Option<String>,
    pub again: Again,
    /// There was no connection at all.
    pub unconnected: bool,
}

/// Whether the same request may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    Never,
    Soon,
    /// The registry said when.
    After(Duration),
}

impl Failure {
    pub fn new(text: String, again: Again) -> Failure {
        Failure { text, hint: None, again, unconnected: false }
    }

    /// A request that got no answer: its URL and the cause, without the layers of libraries between.
    pub fn of_request(error: &reqwest::Error) -> Failure {
        let mut cause: &dyn Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let cause = match cause.to_string() {
            _ if error.is_timeout() => "no answer in time".to_owned(),
            text => shown(&text),
        };
        let text = match error.url() {
            Some(url) => format!("GET {}: {cause}", without_secrets(url)),
            None => cause,
        };
        let refused = tls::is_refused_certificate(error);
        let hopeless = refused || error.is_redirect() || error.is_builder();
        let again = if hopeless { Again::Never } else { Again::Soon };
        Failure { unconnected: error.is_connect() && !refused, ..Failure::new(text, again) }
    }

    /// An answer that broke off.
    pub fn of_body(error: &reqwest::Error, url: &Url) -> Failure {
        let failure = Failure::of_request(error);
        match error.url() {
            Some(_) => failure,
            None => Failure { text: format!("GET {}: {}", without_secrets(url), failure.text), ..failure },
        }
    }

    /// Adds the remedy, unless there is one.
    pub fn hint(mut self, hint: String) -> Failure {
        self.hint.get_or_insert(hint);
        self
    }
}

impl From<Failure> for anyhow::Error {
    fn from(failure: Failure) -> anyhow::Error {
        let error: anyhow::Result<()> = Err(anyhow!(failure.text));
        let explained = match failure.hint {
            Some(hint) => error.hint(hint),
            None => error,
        };
        explained.err().unwrap_or_else(|| anyhow!("no failure"))
    }
}

/// What is wrong on this side is so the next time, too.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        let hint = stage::Explained::of(&error).and_then(|known| known.hint.clone());
        Failure { hint, ..Failure::new(format!("{error:#}"), Again::Never) }
    }
}

/// # Errors
/// The answer is no success; what the registry says about it.
pub async fn check(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        return Ok(response);
    }
    let url = without_secrets(response.url());
    let wait = super::header(response.headers(), "retry-after");
    let body = super::read(response, super::MAX_ANSWER).await.unwrap_or_default();
    let text = format!("GET {url}: {}", explanation(&body).unwrap_or_else(|| status.to_string()));
    let seconds = wait.as_deref().and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let again = match status.as_u16() {
        408 | 429 | 500..=599 => seconds.map_or(Again::Soon, Again::After),
        _ => Again::Never,
    };
    let failure = Failure::new(text, again);
    Err(match (status, wait) {
        (StatusCode::TOO_MANY_REQUESTS, Some(wait)) => {
            failure.hint(format!("try again in {} s", shown(&wait)))
        }
        (StatusCode::TOO_MANY_REQUESTS, None) => {
            failure.hint("try again later, or log in with pull login".to_owned())
        }
        _ => failure,
    })
}

/// The URL without its query if that may hold what opens a door: signed URLs of object stores do.
pub fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    let harmless = |key: &str| matches!(key, "service" | "scope" | "account" | "client_id" | "ns");
    if url.query_pairs().any(|(key, _)| !harmless(&key)) {
        url.set_query(None);
    }
    url.set_username("").and_then(|()| url.set_password(None)).ok();
    url.to_string()
}

/// The messages in a registry's answer (distribution-spec, error codes).
fn explanation(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        code: String,
        message: Option<String>,
    }
    let errors: Errors = serde_json::from_slice(body).ok()?;
    let text =
        |item: Item| item.message.filter(|m| !m.is_empty()).unwrap_or_else(|| item.code.to_lowercase());
    let texts: Vec<String> = errors.errors.into_iter().map(text).collect();
    (!texts.is_empty()).then(|| shown(&texts.join("; ")))
}

/// On one line, without what a terminal would obey.
pub fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_explains_itself() {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}},{"code":"DENIED"}]}"#;
        assert_eq!(explanation(body).as_deref(), Some("manifest unknown; denied"));
        assert_eq!(explanation(b"<html>"), None);
        assert_eq!(
            explanation(b"{\"errors\":[{\"code\":\"X\",\"message\":\"a\\u001b[1mb\\n\"}]}").as_deref(),
            Some("a [1mb ")
        );
    }

    #[test]
    fn signatures_are_not_shown() {
        let show = |text: &str| without_secrets(&Url::parse(text).unwrap());
        assert_eq!(show("https://u:p@s3/a?X-Amz-Signature=1"), "https://s3/a");
        assert_eq!(show("https://a/token?service=x&scope=y"), "https://a/token?service=x&scope=y");
    }
}
