//! Sparse files in tar: GNU's old format (a map in the header) and its three PAX formats.

use std::io::Read;

use anyhow::{Context, Result, bail};
use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::pax::{Pax, number};
use super::read_block;

/// The most segments of one file: a map is read into memory.
const MAX_SEGMENTS: usize = 1 << 16;

/// `length` bytes of content at `offset`; between segments there are holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub offset: u64,
    pub length: u64,
}

/// What PAX says of a sparse file.
#[derive(Default)]
pub struct Layout {
    pub real_size: Option<u64>,
    /// Formats 0.0 and 0.1.
    pub map: Option<Vec<Segment>>,
    /// Format 1.0: the map is the beginning of the content.
    pub in_body: bool,
}

impl Layout {
    pub fn of(header: &Header, pax: &Pax) -> Result<Layout> {
        if header.entry_type() == EntryType::GNUSparse {
            let gnu = header.as_gnu().context("malformed tar: a sparse file without a GNU header")?;
            return Ok(Layout {
                real_size: Some(gnu.real_size().context("malformed tar")?),
                ..Layout::default()
            });
        }
        let major = pax.number("GNU.sparse.major")?;
        if major == Some(1) {
            let real_size = pax.number("GNU.sparse.realsize")?;
            return Ok(Layout { real_size, map: None, in_body: true });
        }
        if pax.get("GNU.sparse.size").is_none() && major.is_none() && pax.get("GNU.sparse.map").is_none() {
            return Ok(Layout::default());
        }
        let map = match pax.get("GNU.sparse.map") {
            Some(list) => pairs(list.split(|c| *c == b','))?,
            None => pairs(pax.records().filter_map(|(key, value)| {
                matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes").then_some(value)
            }))?,
        };
        Ok(Layout { real_size: pax.number("GNU.sparse.size")?, map: Some(map), in_body: false })
    }
}

fn pairs<'a>(numbers: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Segment>> {
    let numbers: Result<Vec<u64>> = numbers.take(2 * MAX_SEGMENTS + 1).map(number).collect();
    let numbers = numbers.context("malformed sparse map")?;
    if numbers.len() % 2 != 0 {
        bail!("malformed sparse map: an odd number of numbers");
    }
    Ok(numbers.chunks_exact(2).map(|pair| Segment { offset: pair[0], length: pair[1] }).collect())
}

/// The map of an old GNU sparse file: four segments in its header, 21 in each block that follows.
pub fn old_map(header: &Header, reader: &mut impl Read) -> Result<Vec<Segment>> {
    let gnu = header.as_gnu().context("no GNU header")?;
    let mut segments = Vec::new();
    take(&gnu.sparse, &mut segments)?;
    let mut more = gnu.is_extended();
    while more {
        let block = read_block(reader)?.context("it ends inside the map")?;
        let mut extended = GnuExtSparseHeader::new();
        extended.as_mut_bytes().copy_from_slice(&block);
        take(extended.sparse(), &mut segments)?;
        more = extended.is_extended();
    }
    Ok(segments)
}

fn take(headers: &[GnuSparseHeader], segments: &mut Vec<Segment>) -> Result<()> {
    for header in headers.iter().filter(|header| !header.is_empty()) {
        segments.push(Segment { offset: header.offset()?, length: header.length()? });
    }
    if segments.len() > MAX_SEGMENTS {
        bail!("more than {MAX_SEGMENTS} segments");
    }
    Ok(())
}

/// The map at the beginning of the content (PAX format 1.0): decimal numbers, each on a line, filled up to a block.
pub fn map_in_body(body: &mut impl Read) -> Result<Vec<Segment>> {
    let mut lines = Lines { body, block: Vec::new(), at: 0 };
    let count = usize::try_from(lines.number()?)?;
    if count > MAX_SEGMENTS {
        bail!("more than {MAX_SEGMENTS} segments");
    }
    (0..count).map(|_| Ok(Segment { offset: lines.number()?, length: lines.number()? })).collect()
}

struct Lines<'a, R> {
    body: &'a mut R,
    block: Vec<u8>,
    at: usize,
}

impl<R: Read> Lines<'_, R> {
    fn number(&mut self) -> Result<u64> {
        let mut digits = Vec::new();
        loop {
            if self.at == self.block.len() {
                self.block = read_block(self.body)?.context("it ends inside the map")?.to_vec();
                self.at = 0;
            }
            let byte = self.block[self.at];
            self.at += 1;
            match byte {
                b'\n' => return number(&digits),
                _ if digits.len() < 20 => digits.push(byte),
                _ => bail!("a number of more than 20 digits"),
            }
        }
    }
}

/// # Errors
/// Segments overlap, are out of order, reach beyond the file, or are not as long as what is stored.
pub fn check(segments: &[Segment], real_size: u64, stored: u64) -> Result<()> {
    let (mut end, mut total) = (0u64, 0u64);
    for segment in segments {
        if segment.offset < end {
            bail!("segments overlap");
        }
        end = segment.offset.checked_add(segment.length).context("size out of range")?;
        total += segment.length;
    }
    if end > real_size || total != stored {
        bail!("it does not fit the size");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_must_fit_its_file() {
        let map = |pairs: &[(u64, u64)]| -> Vec<Segment> {
            pairs.iter().map(|(offset, length)| Segment { offset: *offset, length: *length }).collect()
        };
        assert!(check(&map(&[(0, 1), (5, 2), (10, 0)]), 10, 3).is_ok());
        assert!(check(&map(&[(5, 2), (0, 1)]), 10, 3).is_err());
        assert!(check(&map(&[(0, 3), (2, 2)]), 10, 5).is_err());
        assert!(check(&map(&[(9, 2)]), 10, 2).is_err());
        assert!(check(&map(&[(0, 2)]), 10, 3).is_err());
        assert!(check(&map(&[(u64::MAX, 2)]), 10, 2).is_err());
    }

    #[test]
    fn a_map_in_the_content_is_filled_up_to_a_block() {
        let mut body = b"2\n0\n5\n1000\n3\n".to_vec();
        body.resize(512, 0);
        body.extend(b"content");
        let mut reader = body.as_slice();
        let map = map_in_body(&mut reader).unwrap();
        assert_eq!(map, [Segment { offset: 0, length: 5 }, Segment { offset: 1000, length: 3 }]);
        assert_eq!(reader, b"content");
    }
}
