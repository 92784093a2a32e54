//! A tar stream as a sequence of entries: ustar, GNU and PAX, with limits on all that is read into memory.
//!
//! The tar crate reads the fields of a header; what headers mean together is decided here, because a layer may
//! lie in all of them. Knows no file system.

mod entry;
mod pax;
mod sparse;

use std::io::{self, BufRead, Read};

use anyhow::{Context, Result, bail};
use tar::{EntryType, Header};

pub use entry::{Entry, Kind, MAX_PATH, Time};
pub use sparse::Segment;

use pax::Pax;

const BLOCK: usize = 512;
/// The largest PAX header: extended attributes may have 64 KiB each.
const MAX_PAX: u64 = 1 << 20;

/// A tar stream, read from its beginning.
pub struct Archive<R> {
    reader: R,
    /// Bytes left of the current entry's content.
    left: u64,
    /// Bytes behind the content, up to the next block.
    padding: u64,
}

/// What came before a header and belongs to it.
#[derive(Default)]
struct Extensions {
    pax: Option<Pax>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: BufRead> Archive<R> {
    pub fn new(reader: R) -> Archive<R> {
        Archive { reader, left: 0, padding: 0 }
    }

    /// The next entry; what was not read of the one before is skipped. `None` at the end of the archive (the
    /// stream may go on).
    pub fn next(&mut self) -> Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                return extensions.at_end();
            };
            match header.entry_type() {
                EntryType::XHeader => {
                    let pax = Pax::parse(&self.extension(&header, MAX_PAX)?)?;
                    put(&mut extensions.pax, pax, "PAX header")?;
                }
                EntryType::XGlobalHeader => {
                    Pax::parse(&self.extension(&header, MAX_PAX)?)?.only_comments()?
                }
                EntryType::GNULongName => put(&mut extensions.name, self.long_name(&header)?, "long name")?,
                EntryType::GNULongLink => put(&mut extensions.link, self.long_name(&header)?, "long link")?,
                _ => return self.entry(&header, extensions).map(Some),
            }
        }
    }

    /// The content of the current entry.
    pub fn body(&mut self) -> impl BufRead {
        Body { archive: self }
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &R {
        &self.reader
    }

    /// Reads the stream to its end, behind the end of the archive.
    pub fn drain(mut self) -> io::Result<()> {
        io::copy(&mut self.reader, &mut io::sink())?;
        Ok(())
    }

    fn entry(&mut self, header: &Header, extensions: Extensions) -> Result<Entry> {
        let (mut entry, stored) =
            entry::read(header, &extensions.pax.unwrap_or_default(), extensions.name, extensions.link)?;
        // The map of an old sparse file stands before its content, which the size does not count.
        if header.entry_type() == EntryType::GNUSparse {
            entry.sparse = Some(sparse::old_map(header, &mut self.reader).context("malformed sparse map")?);
        }
        self.expect(stored);
        if entry.sparse_in_body {
            entry.sparse = Some(sparse::map_in_body(&mut self.body()).context("malformed sparse map")?);
        }
        if let Some(segments) = &entry.sparse {
            sparse::check(segments, entry.size, self.left).context("malformed sparse map")?;
        }
        Ok(entry)
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn skip(&mut self) -> Result<()> {
        let rest = self.left.checked_add(self.padding).context("malformed tar: size out of range")?;
        let skipped = io::copy(&mut (&mut self.reader).take(rest), &mut io::sink())?;
        // The padding behind the last entry may be missing; its content may not.
        if skipped < self.left {
            bail!("malformed tar: it ends inside an entry");
        }
        self.expect(0);
        Ok(())
    }

    /// The next header; `None` at a block of zeros or at the end of the stream.
    fn header(&mut self) -> Result<Option<Header>> {
        let Some(block) = read_block(&mut self.reader)? else { return Ok(None) };
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        let plain = |range: &[u8]| range.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let sum = plain(&block[..148]) + 8 * u32::from(b' ') + plain(&block[156..]);
        match header.cksum() {
            Ok(stored) if stored == sum => Ok(Some(header)),
            _ => bail!("malformed tar: header checksum mismatch"),
        }
    }

    /// The content of a header that describes the next one.
    fn extension(&mut self, header: &Header, limit: u64) -> Result<Vec<u8>> {
        let size = header.entry_size().context("malformed tar")?;
        if size > limit {
            bail!("malformed tar: a header of {size} bytes");
        }
        self.expect(size);
        let mut bytes = Vec::new();
        self.body().read_to_end(&mut bytes)?;
        if bytes.len() as u64 != size {
            bail!("malformed tar: it ends inside a header");
        }
        Ok(bytes)
    }

    fn long_name(&mut self, header: &Header) -> Result<Vec<u8>> {
        let mut name = self.extension(header, MAX_PATH as u64 + 1)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }
}

impl Extensions {
    fn at_end(self) -> Result<Option<Entry>> {
        if self.pax.is_some() || self.name.is_some() || self.link.is_some() {
            bail!("malformed tar: it ends behind a header for the next entry");
        }
        Ok(None)
    }
}

fn put<T>(place: &mut Option<T>, value: T, what: &str) -> Result<()> {
    if place.replace(value).is_some() {
        bail!("malformed tar: two of {what} for one entry");
    }
    Ok(())
}

/// `None` at the end of the stream.
fn read_block(reader: &mut impl Read) -> Result<Option<[u8; BLOCK]>> {
    let mut block = [0; BLOCK];
    let mut filled = 0;
    while filled < BLOCK {
        match reader.read(&mut block[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => bail!("malformed tar: it ends inside a header"),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(block))
}

struct Body<'a, R> {
    archive: &'a mut Archive<R>,
}

impl<R: BufRead> BufRead for Body<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.archive.left == 0 {
            return Ok(&[]);
        }
        let bytes = self.archive.reader.fill_buf()?;
        let most = bytes.len().min(usize::try_from(self.archive.left).unwrap_or(usize::MAX));
        Ok(&bytes[..most])
    }

    fn consume(&mut self, bytes: usize) {
        self.archive.left -= bytes as u64;
        self.archive.reader.consume(bytes);
    }
}

impl<R: BufRead> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}
