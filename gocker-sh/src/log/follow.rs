//! Reads a log, from its oldest file on, and what is added to it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

use super::rotated;

/// Rotated files are looked for up to this number.
const MOST_FILES: u32 = 1000;

/// Where reading has come to.
pub struct Follower {
    path: PathBuf,
    /// Oldest first; the last is the one that is written to, or was.
    files: std::collections::VecDeque<File>,
    /// The beginning of a line whose end is not written yet.
    partial: Vec<u8>,
}

impl Follower {
    /// A log that nothing was written to yet is an empty one.
    pub fn open(path: &Path) -> Result<Follower> {
        let mut files = std::collections::VecDeque::new();
        // The newest first: what is turned over meanwhile is then opened twice rather than never.
        for number in 0..MOST_FILES {
            let name = if number == 0 { path.to_owned() } else { rotated(path, number) };
            match File::open(&name) {
                Ok(file) => {
                    let same = |other: &File| identity(other).is_some_and(|one| Some(one) == identity(&file));
                    if !files.iter().any(same) {
                        files.push_front(file);
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound && number > 0 => break,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", name.display())),
            }
        }
        Ok(Follower { path: path.to_owned(), files, partial: Vec::new() })
    }

    /// The entries that have been added since the last time.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<Vec<T>> {
        let mut found = Vec::new();
        loop {
            if let Some(file) = self.files.front_mut() {
                let mut text = std::mem::take(&mut self.partial);
                file.read_to_end(&mut text)
                    .with_context(|| format!("cannot read {}", self.path.display()))?;
                let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                self.partial = text.split_off(end);
                let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                // A line that a power failure has torn is nothing to fail for.
                found.extend(lines.filter_map(|line| serde_json::from_slice(line).ok()));
            }
            if !self.move_on() {
                return Ok(found);
            }
        }
    }

    /// To the next file, if this one will not grow any more.
    fn move_on(&mut self) -> bool {
        if self.files.len() > 1 {
            self.files.pop_front();
            return true;
        }
        let Ok(newest) = File::open(&self.path) else { return false };
        let current = self.files.front().and_then(identity);
        if current.is_some() && current == identity(&newest) {
            return false;
        }
        // Turned over: what was added to the old one before that is read first.
        self.files.push_back(newest);
        true
    }
}

fn identity(file: &File) -> Option<(u64, u64)> {
    file.metadata().ok().map(|meta| (meta.dev(), meta.ino()))
}
