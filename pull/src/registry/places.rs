//! The places that have a repository, and how one takes over from another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use reqwest::header::CONTENT_TYPE;

use super::endpoint::{self, Endpoint};
use super::failure::Failure;
use super::net::Net;
use super::request::Requests;
use super::resume::Resumed;
use super::retry::Attempts;
use super::{Access, Answer, MAX_ANSWER, header, read_paced};
use crate::interrupt;
use crate::reference::Reference;
use crate::report::Report;

/// One place.
pub struct Place {
    pub net: Net,
    pub requests: Arc<Requests>,
    endpoint: Endpoint,
}

/// All of them, in the order in which they are to be tried: mirrors first.
#[derive(Clone)]
pub struct Places {
    all: Arc<[Place]>,
    /// Those before it have failed.
    chosen: Arc<AtomicUsize>,
    report: Report,
}

/// What is wanted of a repository: the end of its URL, and the media types that are accepted.
#[derive(Clone)]
pub struct Resource {
    /// `manifests/latest`, `blobs/sha256:...`.
    pub name: String,
    pub accept: String,
}

impl Places {
    /// On one network thread; connects to nothing yet.
    pub fn of(reference: &Reference, access: &Access, report: &Report) -> Result<Places> {
        let net = Net::start()?;
        let place = |endpoint| Place::new(&net, endpoint, access, report);
        let all = endpoint::of(reference)?.into_iter().map(place).collect::<Result<_>>()?;
        Ok(Places { all, chosen: Arc::default(), report: report.clone() })
    }

    /// The whole answer to a GET, of the first place that gives one: a mirror may lack an image, or be down.
    ///
    /// # Errors
    /// What the last has said. It has more than `limit` bytes, or is no success.
    pub fn small(&self, what: &Resource, limit: u64) -> Result<Answer> {
        let mut at = self.first();
        loop {
            let place = &self.all[at];
            match place.small(&place.path(what), &what.accept, limit) {
                Err(error) => {
                    interrupt::check()?;
                    at = self.after(at, &format!("{error:#}")).ok_or(error)?;
                }
                answer => return answer,
            }
        }
    }

    /// The answer to a GET, as it comes, from byte `from` on; `size` bytes are expected in all.
    pub fn stream(&self, what: Resource, from: u64, size: u64) -> Resumed {
        Resumed::new(self.clone(), what, from, size)
    }

    /// The place to begin with.
    pub fn first(&self) -> usize {
        self.chosen.load(Ordering::Relaxed)
    }

    /// The place to go on with when this one has failed, from then on for all that is wanted.
    pub fn after(&self, failed: usize, why: &str) -> Option<usize> {
        let next = failed + 1;
        if next == self.all.len() {
            return None;
        }
        self.report.say(&format!("mirror {}: {why}", self.all[failed].endpoint.host));
        self.chosen.fetch_max(next, Ordering::Relaxed);
        Some(next)
    }

    pub fn place(&self, at: usize) -> &Place {
        &self.all[at]
    }
}

impl Place {
    fn new(net: &Net, endpoint: Endpoint, access: &Access, report: &Report) -> Result<Place> {
        let requests = Arc::new(Requests::new(endpoint.clone(), access, report)?);
        Ok(Place { net: net.clone(), requests, endpoint })
    }

    /// The path of a URL.
    pub fn path(&self, what: &Resource) -> String {
        format!("/v2/{}/{}", self.endpoint.path, what.name)
    }

    fn small(&self, path: &str, accept: &str, limit: u64) -> Result<Answer> {
        let mut attempts = Attempts::new(self.requests.access.retries);
        loop {
            let failure = match self.small_once(path, accept, limit) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            interrupt::check()?;
            let Some(wait) = attempts.wait(failure.again) else { return Err(failure.into()) };
            self.requests.report.retry(&failure.text, wait);
            interrupt::pause(wait)?;
        }
    }

    fn small_once(&self, path: &str, accept: &str, limit: u64) -> Result<Answer, Failure> {
        let (requests, path, accept) = (Arc::clone(&self.requests), path.to_owned(), accept.to_owned());
        self.net.wait(async move {
            let response = requests.get(&path, &accept, 0).await?;
            let media_type = header(response.headers(), CONTENT_TYPE.as_str());
            let media_type =
                media_type.map(|text| text.split(';').next().unwrap_or_default().trim().to_owned());
            let digest = header(response.headers(), "docker-content-digest");
            let bytes = read_paced(response, limit, requests.access.stall).await?;
            Ok(Answer { bytes, media_type, digest })
        })
    }
}

/// Shows these credentials to a registry.
///
/// # Errors
/// It does not take them.
pub fn try_login(
    domain: &str,
    credentials: super::Credentials,
    access: &Access,
    report: &Report,
) -> Result<()> {
    let access = Access { credentials: Some(credentials), ..access.clone() };
    let endpoint = Endpoint::new(&format!("{domain}/"), false, true)?;
    let place = Place::new(&Net::start()?, endpoint, &access, report)?;
    place.small("/v2/", "", MAX_ANSWER).map(|_| ())
}
