//! A layer's blob on its way into the store: what has come is on disk at once, so that the next try, of this process or
//! of another, goes on from there.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use stage::{Explain, Lock};

use crate::blob::{Stream, Unfinished};
use crate::fetch::Blobs;
use crate::manifest::Descriptor;
use crate::store::{Store, remove_file};

/// A blob that nobody else works on meanwhile.
pub struct Download<'a> {
    store: &'a Store,
    what: &'a Descriptor,
    lock: Lock,
    partial: PathBuf,
    /// Bytes that an earlier try has left.
    pub resumed: u64,
}

impl<'a> Download<'a> {
    /// Waits until nobody else fetches the blob. One that is here whole is read and checked like a part of one.
    pub fn begin(store: &'a Store, what: &'a Descriptor) -> Result<Download<'a>> {
        let lock = store.lock_blob(&what.digest)?;
        let (whole, partial) = (store.blob(&what.digest), store.partial_blob(&what.digest));
        if whole.exists() {
            std::fs::rename(&whole, &partial)
                .with_context(|| format!("cannot read {}: rename", whole.display()))?;
        }
        let kept = std::fs::metadata(&partial).map_or(0, |meta| meta.len());
        if kept > what.size {
            remove_file(&partial)?;
        }
        Ok(Download { store, what, lock, partial, resumed: if kept > what.size { 0 } else { kept } })
    }

    /// The whole blob: what is here, then what `blobs` has behind that, which is written down as it is read.
    pub fn stream(&self, blobs: &dyn Blobs) -> Result<Stream> {
        let context = || format!("cannot write {}", self.partial.display());
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.partial);
        let file = file.with_context(context)?;
        let kept = File::open(&self.partial).with_context(context)?.take(self.resumed);
        if self.resumed == self.what.size {
            return Ok(Box::new(kept));
        }
        let source = blobs.blob(self.what, self.resumed)?;
        Ok(Box::new(kept.chain(Tee { source, file })))
    }

    /// Puts the blob where it belongs if all went well. Else a part that may be right stays for the next try, if the
    /// source can go on from there.
    pub fn end<T>(self, done: Result<T>, blobs: &dyn Blobs) -> Result<T> {
        let kept = match &done {
            Ok(_) => self.keep(),
            Err(error) if blobs.resumes() && error.is::<Unfinished>() => Ok(()),
            Err(_) => remove_file(&self.partial),
        };
        match (done, kept.and_then(|()| self.lock.remove())) {
            (Ok(done), kept) => kept.map(|()| done),
            (failed, Ok(())) => failed,
            (failed, Err(left)) => failed.left(vec![format!("{left:#}")]),
        }
    }

    fn keep(&self) -> Result<()> {
        let whole = self.store.blob(&self.what.digest);
        std::fs::rename(&self.partial, &whole)
            .with_context(|| format!("cannot make {}: rename", whole.display()))
    }
}

/// Writes down what is read.
struct Tee {
    source: Stream,
    file: File,
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buffer)?;
        self.file.write_all(&buffer[..n])?;
        Ok(n)
    }
}
