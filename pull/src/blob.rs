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
}

impl Verified {
    /// `expected` is `None` for a stream whose digest nobody has announced.
    pub fn new(stream: Stream, expected: Option<Descriptor>) -> Verified {
        Verified { stream, expected, hasher: Hasher::default(), read: 0 }
    }

    /// Reads what is left, and checks.
    ///
    /// # Errors
    /// Size or digest are not what was announced.
    pub fn finish(mut self) -> Result<()> {
        io::copy(&mut self, &mut io::sink())?;
        let Some(expected) = self.expected else { return Ok(()) };
        if self.read < expected.size {
            bail!("truncated: {} bytes instead of {}", self.read, expected.size);
        }
        check_digest(&expected.digest, &self.hasher.finish())
    }
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        interrupt::check().map_err(io::Error::other)?;
        let n = self.stream.read(buffer)?;
        if let Some(expected) = &self.expected {
            self.read += n as u64;
            if self.read > expected.size {
                return Err(io::Error::other(format!("larger than the {} bytes announced", expected.size)));
            }
            self.hasher.update(&buffer[..n]);
        }
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
