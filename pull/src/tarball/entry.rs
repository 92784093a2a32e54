//! One entry, as its header and what came before it say together.

use anyhow::{Context, Result, bail};
use tar::{EntryType, Header};

use super::pax::{Pax, number};
use super::sparse::{self, Segment};

/// The longest name of an entry, in bytes: what the kernel takes as a path.
pub const MAX_PATH: usize = 4096;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    /// To this target, verbatim.
    Symlink(Vec<u8>),
    /// To the entry of this name.
    Hardlink(Vec<u8>),
    /// Major and minor number.
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// Seconds since 1970 and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// One entry. Its name is as the archive has it: not to be trusted.
#[derive(Debug)]
pub struct Entry {
    pub path: Vec<u8>,
    pub kind: Kind,
    /// The twelve permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of a file: its size once it is unpacked.
    pub size: u64,
    /// Of a sparse file: where its content goes.
    pub sparse: Option<Vec<Segment>>,
    pub(super) sparse_in_body: bool,
}

/// The entry, and the size of its content in the archive.
pub fn read(
    header: &Header,
    pax: &Pax,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
) -> Result<(Entry, u64)> {
    let path =
        choose(pax.get("GNU.sparse.name").or(pax.get("path")), name, || header.path_bytes().into_owned())?;
    let link = choose(pax.get("linkpath"), link, || {
        header.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default()
    })?;
    let kind = kind(header, &path, link)?;
    let stored = match kind {
        // As Go's archive/tar: the others have no content, whatever their size says.
        Kind::File => {
            pax.number("size")?.map_or_else(|| header.entry_size(), Ok).context("malformed tar: size")?
        }
        _ => 0,
    };
    let layout = sparse::Layout::of(header, pax)?;
    let id = |key: &str, in_header: Result<u64>| -> Result<u32> {
        let number = pax.number(key)?.map_or(in_header, Ok)?;
        // 2^32-1 is chown(2)'s word for "leave it".
        let id = u32::try_from(number).ok().filter(|id| *id != u32::MAX);
        id.with_context(|| format!("malformed tar: {key} {number}"))
    };
    let entry = Entry {
        mode: field(header, 100..108, Header::mode)? & 0o7777,
        uid: id("uid", field(header, 108..116, Header::uid))?,
        gid: id("gid", field(header, 116..124, Header::gid))?,
        mtime: mtime(header, pax)?,
        xattrs: xattrs(pax),
        size: layout.real_size.unwrap_or(stored),
        sparse: layout.map,
        sparse_in_body: layout.in_body,
        path,
        kind,
    };
    Ok((entry, stored))
}

/// PAX says it, or a GNU header before, or the header itself. Both of the former would be one lie at least.
fn choose(pax: Option<&[u8]>, gnu: Option<Vec<u8>>, header: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>> {
    let name = match (pax, gnu) {
        (Some(_), Some(_)) => bail!("malformed tar: two names for one entry"),
        (Some(name), None) => name.to_vec(),
        (None, Some(name)) => name,
        (None, None) => header(),
    };
    if name.len() > MAX_PATH {
        bail!("malformed tar: a name of {} bytes", name.len());
    }
    if name.contains(&0) {
        bail!("malformed tar: a name with a zero byte");
    }
    Ok(name)
}

fn kind(header: &Header, path: &[u8], link: Vec<u8>) -> Result<Kind> {
    Ok(match header.entry_type() {
        // Before POSIX a directory was a file whose name ends in a slash.
        EntryType::Regular if path.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(link),
        EntryType::Link => Kind::Hardlink(link),
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char => device(header).map(|(major, minor)| Kind::CharDevice(major, minor))?,
        EntryType::Block => device(header).map(|(major, minor)| Kind::BlockDevice(major, minor))?,
        other => bail!("entries of type {:?} are not supported", char::from(other.as_byte())),
    })
}

fn device(header: &Header) -> Result<(u32, u32)> {
    let major = field(header, 329..337, Header::device_major)?.unwrap_or(0);
    let minor = field(header, 337..345, Header::device_minor)?.unwrap_or(0);
    // The kernel's dev_t has 12 and 20 bits (proc_devices(5)); more would become another device.
    if major >= 1 << 12 || minor >= 1 << 20 {
        bail!("malformed tar: device {major}:{minor}");
    }
    Ok((major, minor))
}

/// A number in a header. One that was left blank is 0, as for Go's archive/tar and GNU tar.
fn field<T: Default>(
    header: &Header,
    place: std::ops::Range<usize>,
    read: impl FnOnce(&Header) -> std::io::Result<T>,
) -> Result<T> {
    if header.as_bytes()[place].iter().all(|byte| matches!(byte, 0 | b' ')) {
        return Ok(T::default());
    }
    read(header).context("malformed tar")
}

fn mtime(header: &Header, pax: &Pax) -> Result<Time> {
    match pax.get("mtime") {
        Some(text) => decimal_time(text).context("malformed tar: PAX mtime"),
        // A time before 1970 is stored in base 256, which the tar crate reads without its sign.
        None => Ok(Time { seconds: field(header, 136..148, Header::mtime)?.cast_signed(), nanoseconds: 0 }),
    }
}

/// `-1.25` is three quarters of a second behind -2.
fn decimal_time(text: &[u8]) -> Result<Time> {
    let (negative, digits) = text.strip_prefix(b"-").map_or((false, text), |digits| (true, digits));
    let point = digits.iter().position(|c| *c == b'.');
    let (whole, fraction) =
        point.map_or((digits, &b""[..]), |point| (&digits[..point], &digits[point + 1..]));
    let seconds = i64::try_from(number(whole)?)?;
    let mut nine = [b'0'; 9];
    let kept = fraction.len().min(9);
    nine[..kept].copy_from_slice(&fraction[..kept]);
    let nanoseconds = u32::try_from(number(&nine)?)?;
    Ok(match (negative, nanoseconds) {
        (false, nanoseconds) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds: 0 },
        (true, nanoseconds) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

fn xattrs(pax: &Pax) -> Vec<(Vec<u8>, Vec<u8>)> {
    let named =
        |(key, value): (&[u8], &[u8])| Some((key.strip_prefix(b"SCHILY.xattr.")?.to_vec(), value.to_vec()));
    pax.records().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_nanoseconds_on_both_sides_of_1970() {
        let time = |text: &str| decimal_time(text.as_bytes()).map(|t| (t.seconds, t.nanoseconds)).ok();
        assert_eq!(time("1350244992.023960108"), Some((1_350_244_992, 23_960_108)));
        assert_eq!(time("5"), Some((5, 0)));
        assert_eq!(time("5.5"), Some((5, 500_000_000)));
        assert_eq!(time("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time("-3"), Some((-3, 0)));
        assert_eq!(time("1.1234567899"), Some((1, 123_456_789)));
        assert_eq!(time(""), None);
        assert_eq!(time("1e5"), None);
    }
}
