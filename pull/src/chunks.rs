//! A stream of bytes from one thread to another, in chunks whose memory goes back and is used again.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{self, Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::digest::{Digest, Hasher};

/// Bytes of a chunk: as much as a zstd block has (RFC 8878, 3.1.1.2).
const CHUNK: usize = 128 << 10;
/// Chunks that may wait: unpacking is now faster, now slower than decompressing, which is not to wait for that.
const WAITING: usize = 16;

/// The end that is written to.
pub struct Writer {
    full: SyncSender<Chunk>,
    empty: Receiver<Vec<u8>>,
}

/// The end that is read from: it hashes what comes.
pub struct Reader {
    full: Receiver<Chunk>,
    empty: mpsc::Sender<Vec<u8>>,
    chunk: Chunk,
    at: usize,
    hasher: Hasher,
    pub length: u64,
    /// For the other end.
    pub waited: Duration,
    pub hashed: Duration,
}

#[derive(Default)]
struct Chunk {
    memory: Vec<u8>,
    used: usize,
}

/// The other end has gone.
pub struct Gone;

pub fn channel() -> (Writer, Reader) {
    let (full, to_read) = sync_channel(WAITING);
    let (back, empty) = mpsc::channel();
    let reader = Reader {
        full: to_read,
        empty: back,
        chunk: Chunk::default(),
        at: 0,
        hasher: Hasher::default(),
        length: 0,
        waited: Duration::ZERO,
        hashed: Duration::ZERO,
    };
    (Writer { full, empty }, reader)
}

impl Writer {
    /// Memory for the next chunk; whatever was in it is in it still.
    pub fn memory(&self) -> Vec<u8> {
        self.empty.try_recv().unwrap_or_else(|_none| vec![0; CHUNK])
    }

    /// Sends the first `used` bytes of it.
    pub fn send(&self, memory: Vec<u8>, used: usize) -> Result<(), Gone> {
        self.full.send(Chunk { memory, used }).map_err(|_unsent| Gone)
    }
}

impl Reader {
    /// The digest of all that has been read.
    pub fn digest(self) -> Digest {
        self.hasher.finish()
    }

    fn next(&mut self) {
        let since = Instant::now();
        let chunk = self.full.recv().unwrap_or_default();
        let came = Instant::now();
        self.waited += came - since;
        self.hasher.update(&chunk.memory[..chunk.used]);
        self.hashed += came.elapsed();
        self.length += chunk.used as u64;
        let old = std::mem::replace(&mut self.chunk, chunk);
        self.at = 0;
        // If the other end has gone, nobody wants it back.
        if !old.memory.is_empty() {
            self.empty.send(old.memory).ok();
        }
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.used {
            self.next();
        }
        Ok(&self.chunk.memory[self.at..self.chunk.used])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}
