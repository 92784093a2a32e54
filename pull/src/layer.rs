//! One layer from its blob to its directory, on two threads: one reads, checks the blob and decompresses; the
//! other checks the tar stream and unpacks. Inflating costs as much as all the rest.

use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, Result, anyhow};

use crate::blob::{Stream, Verified};
use crate::decompress;
use crate::digest::{Digest, Hasher};
use crate::manifest::Descriptor;
use crate::tarball::Archive;
use crate::unpack::Unpacker;

/// Bytes that go from one thread to the other at a time; below what malloc(3) takes from the kernel each time.
const CHUNK: usize = 64 << 10;
/// Chunks that may wait.
const WAITING: usize = 8;

/// A layer that was unpacked.
#[derive(Debug)]
pub struct Unpacked {
    /// Digest of the tar stream.
    pub diff_id: Digest,
    /// Length of the tar stream.
    pub length: u64,
    /// Size of all files in the layer.
    pub size: u64,
}

/// Unpacks the blob into `directory`. `expected` is what the blob must be.
///
/// # Errors
/// The blob is not what it must be (that is said rather than what came of it), or cannot be unpacked.
pub fn unpack(blob: Stream, expected: Option<Descriptor>, directory: &Path) -> Result<Unpacked> {
    let (sender, receiver) = sync_channel(WAITING);
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new()
            .name("read".to_owned())
            .spawn_scoped(scope, move || decompress(Verified::new(blob, expected), &sender))
            .context("cannot start a thread")?;
        let unpacked = unpack_tar(receiver, directory);
        let read = reader.join().map_err(|_panic| anyhow!("a thread panicked"))?;
        read?;
        unpacked
    })
}

fn decompress(mut blob: Verified, sender: &SyncSender<Vec<u8>>) -> Result<()> {
    let decompressed = send_all(&mut blob, sender);
    // Whatever went wrong: if the blob is not the right one, that is why.
    blob.finish()?;
    decompressed
}

fn send_all(blob: &mut Verified, sender: &SyncSender<Vec<u8>>) -> Result<()> {
    let mut decoder = decompress::decoder(blob).context("cannot decompress")?;
    loop {
        let mut chunk = vec![0; CHUNK];
        let n = decoder.read(&mut chunk).context("cannot decompress")?;
        chunk.truncate(n);
        // Nobody listens any more when unpacking has failed, and the other thread says so.
        if n == 0 || sender.send(chunk).is_err() {
            return Ok(());
        }
    }
}

fn unpack_tar(receiver: Receiver<Vec<u8>>, directory: &Path) -> Result<Unpacked> {
    let mut stream = Chunks { receiver, chunk: Vec::new(), at: 0, hasher: Hasher::default(), length: 0 };
    let mut unpacker = Unpacker::new(directory)?;
    let mut archive = Archive::new(&mut stream);
    while let Some(entry) = archive.next()? {
        unpacker.add(&entry, archive.body())?;
    }
    // The digest is of the whole stream, not up to the end of the archive.
    archive.drain()?;
    let size = unpacker.finish()?;
    Ok(Unpacked { diff_id: stream.hasher.finish(), length: stream.length, size })
}

/// The decompressed stream, hashed as it comes.
struct Chunks {
    receiver: Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    hasher: Hasher,
    length: u64,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            let Ok(chunk) = self.receiver.recv() else { return Ok(0) };
            self.hasher.update(&chunk);
            self.length += chunk.len() as u64;
            (self.chunk, self.at) = (chunk, 0);
        }
        let n = buffer.len().min(self.chunk.len() - self.at);
        buffer[..n].copy_from_slice(&self.chunk[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
