//! A blob while it is read: its digest and its size are checked as the bytes pass.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::digest::{Digest, Hasher};
use crate::interrupt;
use crate::manifest::Descriptor;

/// A stream of bytes from wherever a blob is.
pub type Stream = Box<dyn Read + Send>;

/// What has come is not what was announced. Another try with the same bytes would be in vain.
#[derive(Debug)]
pub struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

/// Not all has come. What has may be right.
#[derive(Debug)]
pub struct Unfinished(String);

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfinished {}

/// A stream that knows what it must be.
pub struct Verified {
    stream: Stream,
    expected: Option<Descriptor>,
    hasher: Hasher,
    read: Arc<AtomicU64>,
    told: Box<dyn FnMut(u64) + Send>,
    /// Why it could not be read on: more to the point than what a decoder makes of that.
    failed: Option<anyhow::Error>,
    times: Times,
}

/// What reading has taken.
#[derive(Clone, Copy, Default)]
pub struct Times {
    pub waiting: Duration,
    pub hashing: Duration,
}

impl Verified {
    /// `expected` is `None` for a stream whose digest nobody has announced.
    pub fn new(stream: Stream, expected: Option<Descriptor>) -> Verified {
        Verified {
            stream,
            expected,
            hasher: Hasher::default(),
            read: Arc::default(),
            told: Box::new(|_| ()),
            failed: None,
            times: Times::default(),
        }
    }

    /// Calls `told` with the number of bytes whenever some have come.
    pub fn telling(self, told: impl FnMut(u64) + Send + 'static) -> Verified {
        Verified { told: Box::new(told), ..self }
    }

    /// How many bytes have been read so far, now and later.
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    pub fn times(&self) -> Times {
        self.times
    }

    /// Reads what is left, and checks.
    ///
    /// # Errors
    /// It cannot be read ([`Unfinished`]), or its size or digest are not what was announced ([`Wrong`]).
    pub fn finish(&mut self) -> Result<()> {
        let drained = io::copy(self, &mut io::sink());
        if let Some(why) = self.failed.take() {
            return Err(why);
        }
        drained?;
        let Some(expected) = &self.expected else { return Ok(()) };
        let read = self.read.load(Ordering::Relaxed);
        if read < expected.size {
            bail!(Wrong(format!("truncated: {read} bytes instead of {}", expected.size)));
        }
        check_digest(&expected.digest, &std::mem::take(&mut self.hasher).finish())
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let unfinished = |why: String| anyhow::Error::new(Unfinished(why));
        interrupt::check().map_err(|error| unfinished(format!("{error:#}")))?;
        let since = Instant::now();
        let n = self.stream.read(buffer).map_err(|error| unfinished(format!("{error:#}")))?;
        let came = Instant::now();
        self.times.waiting += came - since;
        let read = self.read.fetch_add(n as u64, Ordering::Relaxed) + n as u64;
        let Some(expected) = &self.expected else { return Ok(n) };
        if read > expected.size {
            bail!(Wrong(format!("larger than the {} bytes announced", expected.size)));
        }
        (self.told)(read);
        self.hasher.update(&buffer[..n]);
        self.times.hashing += came.elapsed();
        Ok(n)
    }
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(why) = &self.failed {
            return Err(io::Error::other(format!("{why:#}")));
        }
        self.next(buffer).map_err(|error| {
            let text = format!("{error:#}");
            self.failed = Some(error);
            io::Error::other(text)
        })
    }
}

/// # Errors
/// They differ.
pub fn check_digest(expected: &Digest, found: &Digest) -> Result<()> {
    if expected != found {
        bail!(Wrong(format!("digest mismatch: content is {found}")));
    }
    Ok(())
}

/// All of a small blob, checked.
///
/// # Errors
/// It is not what `expected` says, or larger than `limit`.
pub fn read_small(stream: Stream, expected: &Descriptor, limit: u64) -> Result<Vec<u8>> {
    if expected.size > limit {
        bail!("{} bytes are more than the {limit} that are accepted", expected.size);
    }
    let mut bytes = Vec::new();
    let mut verified = Verified::new(stream, Some(expected.clone()));
    // finish() says why, if that fails.
    verified.read_to_end(&mut bytes).ok();
    verified.finish()?;
    Ok(bytes)
}
