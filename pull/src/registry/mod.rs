//! A registry over HTTP: requests, authentication, errors. Does not know what a manifest says.

mod auth;
mod error;
mod net;
mod tls;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};

use crate::reference::Reference;
use auth::Challenge;
pub use auth::Credentials;
use net::{Body, Net};

/// No byte for so long: the registry has stalled.
const STALLED: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(15);
const MAX_REDIRECTS: usize = 5;
/// The largest answer of a token server, or explanation of an error, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// How a registry may be reached.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Without TLS, whatever the host.
    pub plain_http: bool,
    /// Certificates of authorities to trust beside the usual ones, PEM.
    pub authorities: Option<PathBuf>,
    /// In place of those that docker, podman or skopeo have stored.
    pub credentials: Option<Credentials>,
}

/// A small answer, whole.
pub struct Answer {
    pub bytes: Vec<u8>,
    pub media_type: Option<String>,
    /// `Docker-Content-Digest`.
    pub digest: Option<String>,
}

/// One registry, for one repository of it.
pub struct Client {
    net: Net,
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    /// `https://host`, and what else may be tried, in this order.
    bases: Vec<String>,
    /// The one that worked.
    base: Mutex<Option<String>>,
    host: String,
    scope: String,
    credentials: Option<Credentials>,
    authorization: Mutex<Option<String>>,
}

impl Client {
    /// Connects to nothing yet.
    pub fn new(reference: &Reference, access: &Access) -> Result<Client> {
        let host = match reference.domain.as_str() {
            "docker.io" => "registry-1.docker.io",
            domain => domain,
        };
        let schemes: &[&str] = match (access.plain_http, is_loopback(host)) {
            (true, _) => &["http"],
            // Nobody listens in on loopback.
            (false, true) => &["https", "http"],
            (false, false) => &["https"],
        };
        let credentials = match &access.credentials {
            Some(given) => Some(given.clone()),
            None => auth::stored(&reference.name())?,
        };
        let inner = Inner {
            http: http_client(&tls::Trust { host, authorities: access.authorities.as_deref() })?,
            bases: schemes.iter().map(|scheme| format!("{scheme}://{host}")).collect(),
            base: Mutex::new(None),
            host: reference.domain.clone(),
            scope: format!("repository:{}:pull", reference.path),
            credentials,
            authorization: Mutex::new(None),
        };
        Ok(Client { net: Net::start()?, inner: Arc::new(inner) })
    }

    /// The whole answer to a GET.
    ///
    /// # Errors
    /// It has more than `limit` bytes, or is no success.
    pub fn small(&self, path: &str, accept: &[&str], limit: u64) -> Result<Answer> {
        let (inner, path, accept) = (Arc::clone(&self.inner), path.to_owned(), accept.join(", "));
        self.net.wait(async move {
            let response = inner.get(&path, &accept).await?;
            let media_type = header(response.headers(), CONTENT_TYPE.as_str());
            let media_type =
                media_type.map(|text| text.split(';').next().unwrap_or_default().trim().to_owned());
            let digest = header(response.headers(), "docker-content-digest");
            Ok(Answer { bytes: read(response, limit).await?, media_type, digest })
        })
    }

    /// The answer to a GET, as it comes.
    pub fn stream(&self, path: &str, accept: &[&str]) -> Result<Body> {
        let (inner, path, accept) = (Arc::clone(&self.inner), path.to_owned(), accept.join(", "));
        let response = self.net.wait(async move { inner.get(&path, &accept).await })?;
        Ok(self.net.body(response))
    }
}

impl Inner {
    /// GET, with the authentication that the registry asks for.
    async fn get(&self, path: &str, accept: &str) -> Result<Response> {
        let response = self.connect(path, accept).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return error::check(response).await;
        }
        let challenge = header(response.headers(), WWW_AUTHENTICATE.as_str()).unwrap_or_default();
        let Some(authorization) = self.authorize(&challenge).await? else {
            return stage::Explain::hint(error::check(response).await, self.log_in());
        };
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(authorization);
        let response = self.connect(path, accept).await?;
        let denied = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let checked = error::check(response).await;
        if denied { stage::Explain::hint(checked, self.log_in()) } else { checked }
    }

    fn log_in(&self) -> String {
        format!(
            "does it exist? if it does, log in with docker login {}, or use --creds USER:PASSWORD",
            self.host
        )
    }

    /// GET from the first base that can be connected to.
    async fn connect(&self, path: &str, accept: &str) -> Result<Response> {
        let known = self.base.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let bases = known.map_or_else(|| self.bases.clone(), |base| vec![base]);
        let mut last = None;
        for base in bases {
            match self.send(&format!("{base}{path}"), accept).await {
                Ok(response) => {
                    *self.base.lock().unwrap_or_else(PoisonError::into_inner) = Some(base);
                    return Ok(response);
                }
                // A certificate that is not trusted is no reason to do without TLS.
                Err(error) if !error.is_connect() || tls::is_refused_certificate(&error) => {
                    return Err(error::of_request(&error));
                }
                Err(error) => last = Some(error::of_request(&error)),
            }
        }
        Err(last.context("no way to reach it")?)
    }

    async fn send(&self, url: &str, accept: &str) -> reqwest::Result<Response> {
        // A blob must come as it is: a registry that compresses it once more would break its digest.
        let mut request = self.http.get(url).header(ACCEPT_ENCODING, "identity");
        if !accept.is_empty() {
            request = request.header(ACCEPT, accept);
        }
        if let Some(value) = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            request = request.header(AUTHORIZATION, value);
        }
        request.send().await
    }

    /// The `Authorization` that answers a challenge. `None`: there are no credentials.
    async fn authorize(&self, challenge: &str) -> Result<Option<String>> {
        match Challenge::parse(challenge) {
            Some(Challenge::Basic) => Ok(self.credentials.as_ref().map(Credentials::basic)),
            Some(Challenge::Bearer { realm, service }) => {
                self.token(&realm, service.as_deref()).await.map(Some)
            }
            None => bail!("authentication {challenge:?} is not supported"),
        }
    }

    async fn token(&self, realm: &str, service: Option<&str>) -> Result<String> {
        let plain = self
            .base
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .is_some_and(|b| b.starts_with("http:"));
        let realm = reqwest::Url::parse(realm).with_context(|| format!("token server {realm:?}"))?;
        if realm.scheme() != "https" && !plain {
            bail!("token server {realm}: it is not reached by https");
        }
        let mut url = realm;
        url.query_pairs_mut().extend_pairs(service.map(|service| ("service", service)));
        url.query_pairs_mut().append_pair("scope", &self.scope);
        let mut request = self.http.get(url);
        if let Some(credentials) = &self.credentials {
            request = request.header(AUTHORIZATION, credentials.basic());
        }
        let response = request.send().await.map_err(|error| error::of_request(&error))?;
        let denied = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let checked = error::check(response).await;
        let response = if denied { stage::Explain::hint(checked, self.log_in())? } else { checked? };
        auth::token(&read(response, MAX_ANSWER).await?).map(|token| format!("Bearer {token}"))
    }
}

/// The body, as far as `limit`.
async fn read(mut response: Response, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| error::of_request(&error))? {
        if bytes.len() as u64 + chunk.len() as u64 > limit {
            bail!("GET {}: the answer has more than {limit} bytes", response.url());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn http_client(trust: &tls::Trust) -> Result<reqwest::Client> {
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
    let builder = if is_loopback(trust.host) { builder.no_proxy() } else { builder };
    builder
        .user_agent(concat!("gocker-pull/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls::configuration(trust)?)
        .redirect(redirects)
        .connect_timeout(CONNECT)
        .read_timeout(STALLED)
        .build()
        .context("cannot set up the HTTP client")
}

/// Whether what is sent there never leaves this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

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
