//! A blob while it is read: its digest and its size are checked as the bytes pass.

use std::io::{self, Read};

use anyhow::{Result, bail};

use crate::digest::{Digest, Hasher};
use crate::interrupt;
use crate::manifest::Descriptor;

/// A stream of bytes from wherever a blob is.
pub type Stream = Box<dyn Read + Send>;

/// A stream that knows what it must be.
pub struct Verified {
    stream: Stream,
    expected: Option<Descriptor>,
    hasher: Hasher,
    read: u64,
    /// Why it could not be read on: more to the point than what a decoder makes of that.
    failed: Option<String>,
}

impl Verified {
    /// `expected` is `None` for a stream whose digest nobody has announced.
    pub fn new(stream: Stream, expected: Option<Descriptor>) -> Verified {
        Verified { stream, expected, hasher: Hasher::default(), read: 0, failed: None }
    }

    /// Reads what is left, and checks.
    ///
    /// # Errors
    /// It cannot be read, or its size or digest are not what was announced.
    pub fn finish(mut self) -> Result<()> {
        let drained = io::copy(&mut self, &mut io::sink());
        if let Some(why) = self.failed {
            bail!(why);
        }
        drained?;
        let Some(expected) = self.expected else { return Ok(()) };
        if self.read < expected.size {
            bail!("truncated: {} bytes instead of {}", self.read, expected.size);
        }
        check_digest(&expected.digest, &self.hasher.finish())
    }
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(why) = &self.failed {
            return Err(io::Error::other(why.clone()));
        }
        let read = self.next(buffer);
        if let Err(error) = &read {
            self.failed = Some(format!("{error:#}"));
        }
        read.map_err(io::Error::other)
    }
}

impl Verified {
    fn next(&mut self, buffer: &mut [u8]) -> Result<usize> {
        interrupt::check()?;
        let n = self.stream.read(buffer)?;
        let Some(expected) = &self.expected else { return Ok(n) };
        self.read += n as u64;
        if self.read > expected.size {
            bail!("larger than the {} bytes announced", expected.size);
        }
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

/// # Errors
/// They differ.
pub fn check_digest(expected: &Digest, found: &Digest) -> Result<()> {
    if expected != found {
        bail!("digest mismatch: content is {found}");
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
    verified.read_to_end(&mut bytes)?;
    verified.finish()?;
    Ok(bytes)
}
