//! What a layer is compressed with, decided by its first bytes, and the decoder for it.

use std::io::{self, BufReader, Cursor, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flate2::bufread::MultiGzDecoder;

/// Bytes read at a time from a compressed stream.
const BUFFER: usize = 64 << 10;
/// The largest window of a zstd stream, as a power of two: what is kept in memory. RFC 8878 asks for 8 MiB; the compressors
/// of images use no more.
const MAX_WINDOW_LOG: u32 = 24;
/// Of streams with a larger window than this only one is decompressed at a time, so that layers side by side stay small.
const SMALL_WINDOW: u64 = 2 << 20;

static LARGE_WINDOW: Mutex<()> = Mutex::new(());

/// The content of `stream`: gzip, zstd, or as it is.
pub fn decoder<'a>(mut stream: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut head = Vec::with_capacity(HEAD);
    (&mut stream).take(HEAD as u64).read_to_end(&mut head)?;
    let (kind, window) = (Kind::of(&head), window(&head));
    let whole = Cursor::new(head).chain(stream);
    Ok(match kind {
        Kind::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, whole))),
        Kind::Zstd => {
            let turn = match window {
                Some(window) if window <= SMALL_WINDOW => None,
                _ => Some(LARGE_WINDOW.lock().unwrap_or_else(PoisonError::into_inner)),
            };
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(BUFFER, whole))?;
            decoder.window_log_max(MAX_WINDOW_LOG)?;
            Box::new(InTurn { decoder, _turn: turn })
        }
        Kind::Plain => Box::new(whole),
    })
}

/// A decoder, and the right to its memory.
struct InTurn<R> {
    decoder: R,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl<R: Read> Read for InTurn<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer)
    }
}

/// As much of a stream as a zstd frame's header can have (RFC 8878, 3.1.1.1).
const HEAD: usize = 18;

/// The window of the zstd frame that a stream begins with. `None`: it does not begin with one.
fn window(head: &[u8]) -> Option<u64> {
    let [0x28, 0xb5, 0x2f, 0xfd, descriptor, rest @ ..] = head else { return None };
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let byte = *rest.first()?;
        let base = 1u64 << (10 + (byte >> 3));
        return Some(base + base / 8 * u64::from(byte & 7));
    }
    // The content is the window: its size follows the dictionary's id.
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let (length, offset) = [(1, 0), (2, 256), (4, 0), (8, 0)][usize::from(descriptor >> 6)];
    let field = rest.get(dictionary..dictionary + length)?;
    let size = field.iter().rev().fold(0u64, |size, byte| size << 8 | u64::from(*byte));
    size.checked_add(offset)
}

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Gzip,
    Zstd,
    Plain,
}

impl Kind {
    /// By the first four bytes or more (RFC 1952, RFC 8878; a zstd stream may begin with a skippable frame).
    pub fn of(magic: &[u8]) -> Kind {
        match magic {
            [0x1f, 0x8b, ..] => Kind::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Kind::Zstd,
            _ => Kind::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zstd_frame_announces_its_window() {
        // What zstd(1) writes with -1, -19 and --ultra -22 from a pipe, and for a small file.
        let magic = [0x28, 0xb5, 0x2f, 0xfd];
        let of = |rest: &[u8]| window(&[&magic, rest].concat());
        assert_eq!(of(&[0x04, 0x48]), Some(512 << 10));
        assert_eq!(of(&[0x04, 0x68]), Some(8 << 20));
        assert_eq!(of(&[0x04, 0x88]), Some(128 << 20));
        assert_eq!(of(&[0x24, 0x05]), Some(5));
        assert_eq!(of(&[0x64, 0x00, 0x01]), Some(512));
        assert_eq!(of(&[]), None);
        assert_eq!(window(b"\x1f\x8b"), None);
    }
}
