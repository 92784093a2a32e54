//! One GET, with the authentication that is asked for, from the first of the ways that lead to a registry.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, RANGE, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};

use super::auth::{Challenge, Login, Token};
use super::endpoint::Endpoint;
use super::failure::{self, Again, Failure};
use super::{Access, header, net};
use crate::report::{Phase, Report, Request, microseconds};

/// The requests to one endpoint, for one repository.
pub struct Requests {
    http: reqwest::Client,
    pub access: Access,
    pub report: Report,
    endpoint: Endpoint,
    /// Of `https://host` and `http://host` the one that worked.
    base: Mutex<Option<String>>,
    login: Mutex<Option<Login>>,
    authorization: Mutex<Option<Authorization>>,
}

/// The value of a header, until it expires.
struct Authorization {
    value: String,
    until: Option<Instant>,
}

impl Requests {
    pub fn new(endpoint: Endpoint, access: &Access, report: &Report) -> Result<Requests> {
        Ok(Requests {
            http: super::http_client(&endpoint, access)?,
            access: access.clone(),
            report: report.clone(),
            endpoint,
            base: Mutex::new(None),
            login: Mutex::new(None),
            authorization: Mutex::new(None),
        })
    }

    /// GET of a path below the host, from byte `from` on.
    pub async fn get(&self, path: &str, accept: &str, from: u64) -> Result<Response, Failure> {
        let response = self.connect(path, accept, from).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return failure::check(response).await;
        }
        let challenge = header(response.headers(), WWW_AUTHENTICATE.as_str()).unwrap_or_default();
        let since = Instant::now();
        let authorized = self.authorize(&challenge).await;
        self.report.spent(Phase::Auth, since.elapsed(), 0);
        let Some(authorization) = authorized? else {
            return failure::check(response).await.map_err(|failure| failure.hint(self.log_in()));
        };
        *lock(&self.authorization) = Some(authorization);
        let response = self.connect(path, accept, from).await?;
        let denied = is_denied(&response);
        let checked = failure::check(response).await;
        if denied { checked.map_err(|failure| failure.hint(self.log_in())) } else { checked }
    }

    fn log_in(&self) -> String {
        format!(
            "does it exist? if it does, log in with pull login {}, or use --creds USER:PASSWORD; --explain-auth says what was tried",
            self.endpoint.login_host()
        )
    }

    /// GET from the first base that can be connected to.
    async fn connect(&self, path: &str, accept: &str, from: u64) -> Result<Response, Failure> {
        let known = lock(&self.base).clone();
        let bases = known.map_or_else(|| self.endpoint.bases(self.access.plain_http), |base| vec![base]);
        let mut last = None;
        for base in bases {
            match self.send(&format!("{base}{path}"), accept, from).await {
                Ok(response) => {
                    *lock(&self.base) = Some(base);
                    return Ok(response);
                }
                // A certificate that is not trusted is no reason to do without TLS.
                Err(failure) if !failure.unconnected => return Err(failure),
                Err(failure) => last = Some(failure),
            }
        }
        Err(last.unwrap_or_else(|| Failure::new("no way to reach it".to_owned(), Again::Never)))
    }

    async fn send(&self, url: &str, accept: &str, from: u64) -> Result<Response, Failure> {
        // A blob must come as it is: a registry that compresses it once more would break its digest.
        let mut request = self.http.get(url).header(ACCEPT_ENCODING, "identity");
        if !accept.is_empty() {
            request = request.header(ACCEPT, accept);
        }
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        if let Some(value) = self.authorization() {
            request = request.header(AUTHORIZATION, value);
        }
        self.ask(request, url).await
    }

    /// Sends a request and remembers what came of it.
    async fn ask(&self, request: reqwest::RequestBuilder, url: &str) -> Result<Response, Failure> {
        let since = Instant::now();
        let sent = net::in_time(request, url, self.access.stall * 2).await;
        let microseconds = microseconds(since.elapsed());
        let mut asked = Request { url: url.to_owned(), microseconds, ..Request::default() };
        match &sent {
            Ok(response) => {
                asked.status = Some(response.status().as_u16());
                let answered = failure::without_secrets(response.url());
                let same = answered.split('?').next() == url.split('?').next();
                asked.redirect = (!same).then_some(answered);
            }
            Err(failure) => asked.error = Some(failure.text.clone()),
        }
        self.report.asked(asked);
        sent
    }

    /// What opened the registry before, unless it has expired.
    fn authorization(&self) -> Option<String> {
        let known = lock(&self.authorization);
        let known = known.as_ref()?;
        known.until.is_none_or(|until| Instant::now() < until).then(|| known.value.clone())
    }

    /// The `Authorization` that answers a challenge. `None`: there are no credentials.
    async fn authorize(&self, challenge: &str) -> Result<Option<Authorization>, Failure> {
        let login = self.login()?;
        match Challenge::parse(challenge) {
            Some(Challenge::Basic) => Ok(login.basic().map(|value| Authorization { value, until: None })),
            Some(Challenge::Bearer { realm, service }) => {
                let token = self.token(&login, &realm, service.as_deref()).await?;
                let lifetime = Duration::from_secs(token.seconds);
                let value = format!("Bearer {}", token.text);
                Ok(Some(Authorization { value, until: Instant::now().checked_add(lifetime) }))
            }
            None => {
                let text = format!("authentication {:?} is not supported", failure::shown(challenge));
                Err(Failure::new(text, Again::Never))
            }
        }
    }

    /// The credentials for this endpoint: looked for when they are asked for, and then once.
    fn login(&self) -> Result<Login, Failure> {
        let mut known = lock(&self.login);
        if known.is_none() {
            let login = match &self.access.credentials {
                Some(given) if self.endpoint.is_primary => Login::given(given),
                _ => Login::stored(&self.endpoint.repository())?,
            };
            if self.access.explain {
                login.explanation.iter().for_each(|line| stage::say(line));
            }
            *known = Some(login);
        }
        known.clone().ok_or_else(|| Failure::new("no credentials".to_owned(), Again::Never))
    }

    /// A token of the token server. Only it sees the credentials.
    async fn token(&self, login: &Login, realm: &str, service: Option<&str>) -> Result<Token, Failure> {
        let plain = lock(&self.base).as_ref().is_some_and(|base| base.starts_with("http:"));
        let parsed = reqwest::Url::parse(realm);
        let realm_url = parsed.map_err(|error| {
            Failure::new(format!("token server {:?}: {error}", failure::shown(realm)), Again::Never)
        })?;
        if realm_url.scheme() != "https" && !plain {
            let text = format!("token server {realm_url}: it is not reached by https");
            return Err(Failure::new(text, Again::Never));
        }
        // Logging in is about no repository.
        let scope = match self.endpoint.path.as_str() {
            "" => None,
            path => Some(format!("repository:{path}:pull")),
        };
        let request = login.token_request(&self.http, realm_url.clone(), service, scope.as_deref());
        let response = self.ask(request, realm_url.as_str()).await?;
        let denied = is_denied(&response);
        let checked = failure::check(response).await;
        let response =
            if denied { checked.map_err(|failure| failure.hint(self.log_in()))? } else { checked? };
        Ok(Token::parse(&super::read(response, super::MAX_ANSWER).await?)?)
    }
}

fn is_denied(response: &Response) -> bool {
    matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
