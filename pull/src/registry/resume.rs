//! A blob that is read through interruptions: each try continues where the one before ended, each place where the one
//! before it has failed for good.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use super::failure::{Again, Failure};
use super::net::Body;
use super::places::{Place, Places, Resource};
use super::retry::Attempts;
use crate::interrupt;

/// A body that ends only at its announced size, or for good.
pub struct Resumed {
    places: Places,
    /// Which of them is asked.
    place: usize,
    what: Resource,
    at: u64,
    size: u64,
    body: Option<Body>,
    attempts: Attempts,
}

impl Resumed {
    /// The bytes from `at` on, of `size` in all.
    pub fn new(places: Places, what: Resource, at: u64, size: u64) -> Resumed {
        let place = places.first();
        let attempts = attempts(places.place(place));
        Resumed { places, place, what, at, size, body: None, attempts }
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.open()?,
        };
        let n = body.read(buffer)?;
        if n == 0 && !buffer.is_empty() && self.at < self.size {
            let text = format!("truncated: {} bytes instead of {}", self.at, self.size);
            return Err(Failure::new(text, Again::Soon));
        }
        self.body = Some(body);
        Ok(n)
    }

    fn open(&self) -> Result<Body, Failure> {
        let place = self.places.place(self.place);
        let (path, accept, at) = (place.path(&self.what), self.what.accept.clone(), self.at);
        let requests = Arc::clone(&place.requests);
        let (response, skip) = place.net.wait(async move {
            let response = requests.get(&path, &accept, at).await?;
            let skip = skip(&response, at)?;
            Ok((response, skip))
        })?;
        let mut body = place.net.body(response, place.requests.access.stall);
        discard(&mut body, skip)?;
        Ok(body)
    }

    /// After a failure: how long to wait before the next try, here or at the next place.
    fn again(&mut self, failure: &Failure) -> Option<Duration> {
        if let Some(wait) = self.attempts.wait(failure.again) {
            self.places.place(self.place).requests.report.retry(&failure.text, wait);
            return Some(wait);
        }
        self.place = self.places.after(self.place, &failure.text)?;
        self.attempts = attempts(self.places.place(self.place));
        Some(Duration::ZERO)
    }
}

fn attempts(place: &Place) -> Attempts {
    Attempts::new(place.requests.access.retries)
}

/// A server that knows no ranges sends what is here once more: so many bytes of its answer are not wanted.
fn skip(response: &reqwest::Response, at: u64) -> Result<u64, Failure> {
    if response.status() != reqwest::StatusCode::PARTIAL_CONTENT {
        return Ok(at);
    }
    let range = super::header(response.headers(), "content-range").unwrap_or_default();
    let start = range.strip_prefix("bytes ").and_then(|range| range.split('-').next());
    match start.and_then(|start| start.parse::<u64>().ok()) {
        Some(start) if start == at => Ok(0),
        _ => Err(Failure::new(format!("the range {range:?} was not asked for"), Again::Never)),
    }
}

fn discard(body: &mut Body, mut bytes: u64) -> Result<(), Failure> {
    let mut buffer = vec![0; 64 << 10];
    while bytes > 0 {
        let want = buffer.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
        match body.read(&mut buffer[..want])? {
            0 => {
                return Err(Failure::new(
                    "truncated before the range that is wanted".to_owned(),
                    Again::Soon,
                ));
            }
            n => bytes -= n as u64,
        }
    }
    Ok(())
}

impl Read for Resumed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.next(buffer) {
                Ok(n) => {
                    self.at += n as u64;
                    self.attempts.progress(n as u64);
                    return Ok(n);
                }
                Err(failure) => {
                    self.body = None;
                    interrupt::check().map_err(io::Error::other)?;
                    let Some(wait) = self.again(&failure) else {
                        return Err(io::Error::other(anyhow::Error::from(failure)));
                    };
                    interrupt::pause(wait).map_err(io::Error::other)?;
                }
            }
        }
    }
}
