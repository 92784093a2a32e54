//! What each part of the work took, and which URLs were asked: the key `fetched` of the document.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

/// The most requests that are kept one by one: a document has a limit.
const MAX_REQUESTS: usize = 500;

/// A part of the work. Those of different layers overlap, so the sum of all is not what passed on the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Asking token servers and credential helpers.
    Auth,
    /// Manifests, indexes and the configuration.
    Manifest,
    /// Waiting for a layer's bytes, and writing them down.
    Download,
    /// Digests of blobs and tar streams.
    Verify,
    Decompress,
    /// Writing the tree.
    Unpack,
    /// Until it is on disk.
    Sync,
}

/// One request.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Request {
    pub url: String,
    /// Where the answer came from, if that is elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Until the answer began.
    pub microseconds: u64,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Spent {
    microseconds: u64,
    bytes: u64,
}

/// What the document says of the work. Times are in microseconds.
#[derive(Serialize)]
pub struct Fetched {
    microseconds: u64,
    phases: BTreeMap<Phase, Spent>,
    requests: Vec<Request>,
    /// Requests that are not listed.
    #[serde(skip_serializing_if = "is_zero")]
    omitted: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Fills up while the work goes on.
pub struct Journal {
    since: Instant,
    phases: BTreeMap<Phase, (Duration, u64)>,
    requests: Vec<Request>,
    omitted: u64,
}

impl Default for Journal {
    fn default() -> Journal {
        Journal { since: Instant::now(), phases: BTreeMap::new(), requests: Vec::new(), omitted: 0 }
    }
}

impl Journal {
    pub fn spent(&mut self, phase: Phase, time: Duration, bytes: u64) {
        let spent = self.phases.entry(phase).or_default();
        spent.0 += time;
        spent.1 = spent.1.saturating_add(bytes);
    }

    pub fn asked(&mut self, request: Request) {
        if self.requests.len() < MAX_REQUESTS {
            self.requests.push(request);
        } else {
            self.omitted += 1;
        }
    }

    pub fn fetched(&self) -> Fetched {
        let spent =
            |(time, bytes): &(Duration, u64)| Spent { microseconds: microseconds(*time), bytes: *bytes };
        Fetched {
            microseconds: microseconds(self.since.elapsed()),
            phases: self.phases.iter().map(|(phase, both)| (*phase, spent(both))).collect(),
            requests: self.requests.clone(),
            omitted: self.omitted,
        }
    }
}

/// A duration in the unit of the document.
pub fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
