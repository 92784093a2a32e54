//! Writes a log, and turns its files over when they are full.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

use super::rotated;
use crate::record::{LogLimits, now};

/// A log that is written to.
pub struct Writer {
    path: PathBuf,
    file: File,
    size: u64,
    limits: LogLimits,
}

#[derive(Serialize)]
struct Line<'a> {
    log: &'a str,
    stream: &'a str,
    time: String,
}

impl Writer {
    /// Goes on behind what is there.
    pub fn open(path: PathBuf, limits: LogLimits) -> Result<Writer> {
        let file = append(&path)?;
        let size = file.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
        Ok(Writer { path, file, size, limits })
    }

    /// Adds one entry.
    pub fn add(&mut self, stream: &str, text: &[u8]) -> Result<()> {
        self.add_line(serde_json::to_vec(&Line { log: &String::from_utf8_lossy(text), stream, time: now() })?)
    }

    /// Adds what is a line without its end.
    pub fn add_line(&mut self, mut line: Vec<u8>) -> Result<()> {
        line.push(b'\n');
        let length = line.len() as u64;
        if self.size > 0 && self.size + length > self.limits.max_size {
            self.turn_over()?;
        }
        // One write: a follower never sees half a line for long, and O_APPEND keeps two watchers apart.
        self.file.write_all(&line).with_context(|| format!("cannot write {}", self.path.display()))?;
        self.size += length;
        Ok(())
    }

    /// Moves every file one number up; the last is overwritten.
    fn turn_over(&mut self) -> Result<()> {
        let name = |number: u32| if number == 0 { self.path.clone() } else { rotated(&self.path, number) };
        for number in (1..self.limits.max_file).rev() {
            std::fs::rename(name(number - 1), name(number)).ok();
        }
        if self.limits.max_file < 2 {
            std::fs::remove_file(&self.path).ok();
        }
        self.file = append(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

fn append(path: &std::path::Path) -> Result<File> {
    let open = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    open.with_context(|| format!("cannot write {}", path.display()))
}
