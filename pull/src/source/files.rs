//! The files in a tar archive, by name, each to be read by itself. A compressed archive is first written out, into a
//! file without a name.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use stage::Explain;

use super::open;
use crate::decompress;
use crate::interrupt;
use crate::layer::Rules;
use crate::manifest;
use crate::store::Store;
use crate::tarball::{Archive, Kind};

/// An archive whose table of contents has been read.
pub struct Files {
    file: Arc<File>,
    ranges: HashMap<Vec<u8>, Range>,
}

/// Where a file's content lies in the archive.
#[derive(Clone, Copy)]
pub struct Range {
    offset: u64,
    pub length: u64,
}

impl Range {
    /// Without its first bytes.
    pub fn from(self, at: u64) -> Range {
        let at = at.min(self.length);
        Range { offset: self.offset + at, length: self.length - at }
    }
}

impl Files {
    /// Reads which files the archive has.
    pub fn open_at(path: &Path, store: &Store, rules: &Rules) -> Result<Files> {
        let mut file = open(path)?;
        // What cannot be read twice, a pipe, is written down, too.
        if !file.metadata().context("stat")?.is_file() || is_compressed(&mut file)? {
            file = written_out(file, store, rules)?;
        }
        let mut ranges = HashMap::new();
        let mut links = Vec::new();
        let mut archive = Archive::new(Counted { reader: BufReader::new(file.try_clone()?), at: 0 });
        while let Some(entry) = archive.next()? {
            let name = clean(&entry.path);
            match entry.kind {
                Kind::File => {
                    let range = Range { offset: archive.get_ref().at, length: entry.size };
                    ranges.insert(name, range);
                }
                // A layer that two images share is there once.
                Kind::Hardlink(target) => links.push((name, clean(&target))),
                Kind::Symlink(target) => {
                    let parent = name.iter().rposition(|c| *c == b'/').map_or(0, |slash| slash + 1);
                    links.push((name.clone(), clean(&[&name[..parent], &target].concat())));
                }
                _ => {}
            }
        }
        for (name, target) in links {
            if let Some(range) = ranges.get(&target).copied() {
                ranges.insert(name, range);
            }
        }
        Ok(Files { file: Arc::new(file), ranges })
    }

    /// Where a file is.
    pub fn range(&self, name: &str) -> Result<Range> {
        self.ranges.get(&clean(name.as_bytes())).copied().with_context(|| format!("{name:?} is not in it"))
    }

    /// The bytes there.
    pub fn read(&self, range: Range) -> impl Read + Send + use<> {
        Part { file: Arc::clone(&self.file), range }
    }

    /// All of a file that is not larger than a manifest may be.
    pub fn small(&self, name: &str) -> Result<Vec<u8>> {
        let range = self.range(name)?;
        if range.length > manifest::MAX_BYTES {
            bail!("{name:?} has {} bytes", range.length);
        }
        let mut bytes = Vec::new();
        self.read(range).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn is_compressed(file: &mut File) -> Result<bool> {
    let mut magic = Vec::new();
    file.take(4).read_to_end(&mut magic)?;
    file.rewind().context("seek")?;
    Ok(decompress::Kind::of(&magic) != decompress::Kind::Plain)
}

/// The content of a compressed file, in a file of the store's that is gone when it is closed.
fn written_out(file: File, store: &Store, rules: &Rules) -> Result<File> {
    let mut made = store.nameless()?;
    let mut decoder = decompress::decoder(file).context("cannot decompress")?;
    let (mut buffer, mut length) = (vec![0; 64 << 10], 0);
    loop {
        interrupt::check()?;
        let n = decoder.read(&mut buffer).context("cannot decompress")?;
        if n == 0 {
            break;
        }
        length += n as u64;
        if length > rules.max_size {
            let error = anyhow!("it unpacks to more than {} bytes", rules.max_size);
            return Err(error).hint("--max-size sets the limit");
        }
        io::Write::write_all(&mut made, &buffer[..n]).context("cannot decompress: write")?;
    }
    made.seek(SeekFrom::Start(0)).context("seek")?;
    Ok(made)
}

/// Without `.` and `..`: names are only compared.
fn clean(name: &[u8]) -> Vec<u8> {
    let mut elements: Vec<&[u8]> = Vec::new();
    for element in name.split(|c| *c == b'/') {
        match element {
            b"" | b"." => {}
            b".." => drop(elements.pop()),
            element => elements.push(element),
        }
    }
    elements.join(&b'/')
}

struct Counted {
    reader: BufReader<File>,
    at: u64,
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes as u64;
        self.reader.consume(bytes);
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// A part of a file that others read at the same time.
struct Part {
    file: Arc<File>,
    range: Range,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.range.length).unwrap_or(usize::MAX));
        let n = self.file.read_at(&mut buffer[..want], self.range.offset)?;
        self.range = self.range.from(n as u64);
        Ok(n)
    }
}
