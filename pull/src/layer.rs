//! One layer from its blob to its directory, on two threads: one reads, checks the blob and decompresses; the
//! other checks the tar stream and unpacks. Inflating costs as much as all the rest.

use std::io::Read;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use stage::Explain;

use crate::blob::Verified;
use crate::chunks::{self, Reader, Writer};
use crate::decompress;
use crate::digest::Digest;
use crate::report::{Phase, Report};
use crate::tarball::Archive;
use crate::unpack::{Devices, Unpacker};

/// A stream that is not longer than this may be any number of times as long as its blob.
const SMALL: u64 = 64 << 20;

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

/// What a layer may be and may have.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The longest tar stream, and the largest file, in bytes.
    pub max_size: u64,
    /// How many times as long as its blob a long stream may be.
    pub max_ratio: u64,
    pub devices: Devices,
}

/// Unpacks the blob into `directory`.
///
/// # Errors
/// The blob is not what it must be (that is said rather than what came of it), or cannot be unpacked.
pub fn unpack(blob: Verified, directory: &Path, rules: &Rules, report: &Report) -> Result<Unpacked> {
    let (writer, stream) = chunks::channel();
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new()
            .name("read".to_owned())
            .spawn_scoped(scope, move || decompress(blob, &writer, rules, report))
            .context("cannot start a thread")?;
        let unpacked = unpack_tar(stream, directory, rules, report);
        let read = reader.join().map_err(|_panic| anyhow!("a thread panicked"))?;
        read?;
        unpacked
    })
}

fn decompress(mut blob: Verified, writer: &Writer, rules: &Rules, report: &Report) -> Result<()> {
    let (decompressed, busy) = send_all(&mut blob, writer, rules);
    let bomb =
        decompressed.as_ref().err().and_then(|error| error.downcast_ref::<Bomb>()).map(|bomb| bomb.option);
    // Whatever went wrong: if the blob is not the right one, that is why. Of a bomb nobody wants the rest.
    let finished = if bomb.is_some() { Ok(()) } else { blob.finish() };
    let (times, read) = (blob.times(), blob.counter().load(Ordering::Relaxed));
    report.spent(Phase::Download, times.waiting, read);
    report.spent(Phase::Verify, times.hashing, read);
    report.spent(Phase::Decompress, busy.saturating_sub(times.waiting + times.hashing), 0);
    finished?;
    match bomb {
        Some(option) => decompressed.hint(format!("{option} sets the limit")),
        None => decompressed,
    }
}

/// How it went, and how long reading and decompressing took.
fn send_all(blob: &mut Verified, writer: &Writer, rules: &Rules) -> (Result<()>, Duration) {
    let mut busy = Duration::ZERO;
    let sent = (|| {
        let read = blob.counter();
        let mut length = 0;
        let since = Instant::now();
        let mut decoder = decompress::decoder(blob).context("cannot decompress")?;
        busy += since.elapsed();
        loop {
            let since = Instant::now();
            let mut memory = writer.memory();
            let n = decoder.read(&mut memory).context("cannot decompress")?;
            busy += since.elapsed();
            length += n as u64;
            rules.check(length, read.load(Ordering::Relaxed))?;
            // Nobody reads any more when unpacking has failed, and the other thread says so.
            if n == 0 || writer.send(memory, n).is_err() {
                return Ok(());
            }
        }
    })();
    (sent, busy)
}

/// A stream that is out of all proportion.
#[derive(Debug)]
struct Bomb {
    text: String,
    /// What sets the limit.
    option: &'static str,
}

impl std::fmt::Display for Bomb {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Bomb {}

impl Rules {
    fn check(&self, length: u64, read: u64) -> Result<(), Bomb> {
        if length > self.max_size {
            let text = format!("it unpacks to more than {} bytes", self.max_size);
            return Err(Bomb { text, option: "--max-size" });
        }
        if length > SMALL && length / self.max_ratio.max(1) > read {
            let text = format!("its first {read} bytes unpack to more than {} times as many", self.max_ratio);
            return Err(Bomb { text, option: "--max-ratio" });
        }
        Ok(())
    }
}

fn unpack_tar(mut stream: Reader, directory: &Path, rules: &Rules, report: &Report) -> Result<Unpacked> {
    let mut unpacker = Unpacker::new(directory, rules.devices)?;
    let since = Instant::now();
    let mut archive = Archive::new(&mut stream);
    while let Some(entry) = archive.next()? {
        if entry.size > rules.max_size {
            // A sparse file may be larger than its stream.
            return Err(anyhow!("a file of {} bytes", entry.size)).hint("--max-size sets the limit");
        }
        unpacker.add(&entry, archive.body())?;
    }
    // The digest is of the whole stream, not up to the end of the archive.
    archive.drain()?;
    let size = unpacker.finish()?;
    report.spent(Phase::Unpack, since.elapsed().saturating_sub(stream.waited + stream.hashed), stream.length);
    report.spent(Phase::Verify, stream.hashed, stream.length);
    Ok(Unpacked { length: stream.length, diff_id: stream.digest(), size })
}
