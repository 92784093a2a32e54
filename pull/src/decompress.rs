//! What a layer is compressed with, decided by its first bytes, and the decoder for it.

use std::io::{self, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

/// Bytes read at a time from a compressed stream.
const BUFFER: usize = 64 << 10;

/// The content of `stream`: gzip, zstd, or as it is.
pub fn decoder<'a>(mut stream: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = Vec::with_capacity(4);
    (&mut stream).take(4).read_to_end(&mut magic)?;
    let kind = Kind::of(&magic);
    let whole = Cursor::new(magic).chain(stream);
    Ok(match kind {
        Kind::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, whole))),
        Kind::Zstd => {
            Box::new(zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(BUFFER, whole))?)
        }
        Kind::Plain => Box::new(whole),
    })
}

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Gzip,
    Zstd,
    Plain,
}

impl Kind {
    /// By the first four bytes (RFC 1952, RFC 8878; a zstd stream may begin with a skippable frame).
    pub fn of(magic: &[u8]) -> Kind {
        match magic {
            [0x1f, 0x8b, ..] => Kind::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Kind::Zstd,
            _ => Kind::Plain,
        }
    }
}
