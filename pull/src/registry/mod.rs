//! A registry over HTTP: requests, authentication, errors. Does not know what a manifest says.

mod auth;
mod endpoint;
mod failure;
mod net;
mod places;
mod request;
mod resume;
mod retry;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Response;
use reqwest::header::HeaderMap;

pub use auth::{Credentials, LoginFile};
use endpoint::Endpoint;
use failure::{Again, Failure};
pub use places::{Places, Resource, try_login};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(15);
const MAX_REDIRECTS: usize = 5;
/// The largest answer of a token server, or explanation of an error, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// How a registry may be reached.
#[derive(Clone, Debug)]
pub struct Access {
    /// Without TLS, whatever the host.
    pub plain_http: bool,
    /// Certificates of authorities to trust beside the usual ones, PEM.
    pub authorities: Option<PathBuf>,
    /// In place of those that docker, podman or skopeo have stored.
    pub credentials: Option<Credentials>,
    /// Say where credentials were looked for.
    pub explain: bool,
    /// How many tries follow the first.
    pub retries: u32,
    /// How long a connection may bring next to nothing.
    pub stall: Duration,
}

/// A small answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub bytes: Vec<u8>,
    pub media_type: Option<String>,
    /// `Docker-Content-Digest`.
    pub digest: Option<String>,
}

/// The body, as far as `limit`.
async fn read(response: Response, limit: u64) -> Result<Vec<u8>, Failure> {
    read_paced(response, limit, CONNECT).await
}

async fn read_paced(mut response: Response, limit: u64, stall: Duration) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut pace = net::Pace::new(stall);
    while let Some(chunk) = pace.chunk(&mut response).await? {
        let chunk = chunk.as_ref();
        if bytes.len() as u64 + chunk.len() as u64 > limit {
            let url = failure::without_secrets(response.url());
            let text = format!("GET {url}: the answer has more than {limit} bytes");
            return Err(Failure::new(text, Again::Never));
        }
        bytes.extend_from_slice(chunk);
    }
    Ok(bytes)
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn http_client(endpoint: &Endpoint, access: &Access) -> Result<reqwest::Client> {
    let redirects = reqwest::redirect::Policy::custom(|attempt| {
        let downgrade = attempt.url().scheme() == "http"
            && attempt.previous().last().is_some_and(|previous| previous.scheme() == "https");
        if downgrade {
            attempt.error("redirected from https to http")
        } else if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else {
            attempt.follow()
        }
    });
    let builder = reqwest::Client::builder();
    // As Go's net/http does it for docker: no proxy gets to see loopback's traffic.
    let builder = if endpoint.is_loopback() { builder.no_proxy() } else { builder };
    let trust = tls::Trust {
        host: &endpoint.host,
        authorities: access.authorities.as_deref(),
        everybody: endpoint.insecure,
    };
    builder
        .user_agent(concat!("gocker-pull/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls::configuration(&trust)?)
        .redirect(redirects)
        .connect_timeout(CONNECT)
        .build()
        .context("cannot set up the HTTP client")
}
