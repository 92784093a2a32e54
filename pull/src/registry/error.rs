//! What went wrong with a request, in one line.

use std::error::Error;

use anyhow::{Result, anyhow};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use stage::Explain;

/// The longest text of a registry's that is shown.
const MAX_SHOWN: usize = 300;

/// A request that got no answer: its URL and the cause, without the layers of libraries between.
pub fn of_request(error: &reqwest::Error) -> anyhow::Error {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let cause = match cause.to_string() {
        _ if error.is_timeout() => "no answer in time".to_owned(),
        text => shown(&text),
    };
    match error.url() {
        Some(url) => anyhow!("GET {url}: {cause}"),
        None => anyhow!("{cause}"),
    }
}

/// # Errors
/// The answer is no success; what the registry says about it.
pub async fn check(response: Response) -> Result<Response> {
    if response.status() == StatusCode::OK {
        return Ok(response);
    }
    let (status, url) = (response.status(), response.url().clone());
    let wait = super::header(response.headers(), "retry-after");
    let body = super::read(response, super::MAX_ANSWER).await.unwrap_or_default();
    let error = anyhow!("GET {url}: {}", explanation(&body).unwrap_or_else(|| status.to_string()));
    match (status, wait) {
        (StatusCode::TOO_MANY_REQUESTS, Some(wait)) => {
            Err(error).hint(format!("try again in {} s", shown(&wait)))
        }
        (StatusCode::TOO_MANY_REQUESTS, None) => {
            Err(error).hint("try again later, or log in with docker login")
        }
        _ => Err(error),
    }
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
fn shown(text: &str) -> String {
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
}
