//! What nsrun reports of a payload with `--json-fd`: through a pipe in the foreground; of a detached container in a file,
//! which also those can read who come later.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde::Deserialize;

use crate::record::Process;

/// The file in a container's run directory.
pub const FILE: &str = "facts";

/// One thing that was reported.
#[derive(Clone, Debug)]
pub enum Fact {
    /// The payload's own program has begun.
    Running(Process),
    /// It has ended, with this code.
    Stopped(u8),
}

/// One line of `--json-fd`.
#[derive(Deserialize)]
struct Line {
    process: ProcessLine,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProcessLine {
    status: String,
    exit_code: Option<u8>,
    #[serde(flatten)]
    process: Option<Process>,
}

/// Where the facts come from, and how far they have been read.
#[derive(Debug)]
pub struct Facts {
    from: File,
    /// Tells of new text in a file; a pipe tells itself.
    news: Option<Inotify>,
    text: Vec<u8>,
    read_to: usize,
    open: bool,
}

impl Facts {
    pub fn of_pipe(pipe: OwnedFd) -> Facts {
        Facts { from: File::from(pipe), news: None, text: Vec::new(), read_to: 0, open: true }
    }

    /// The facts of a detached container; the file must be there.
    pub fn of_file(path: &Path) -> Result<Facts> {
        let context = || format!("cannot watch {}", path.display());
        let news = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .context("inotify_init1")
            .with_context(context)?;
        news.add_watch(path, AddWatchFlags::IN_MODIFY).context("inotify_add_watch").with_context(context)?;
        let from = File::open(path).with_context(context)?;
        Ok(Facts { from, news: Some(news), text: Vec::new(), read_to: 0, open: true })
    }

    /// What becomes readable when there is something new; `None` when nothing more will come.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.news {
            Some(news) => Some(news.as_fd()),
            None => self.open.then(|| self.from.as_fd()),
        }
    }

    /// The facts of a detached container as they are when they are read; nobody waits for more. An inotify instance would
    /// cost some milliseconds, which the kernel takes to close it.
    pub fn at_rest(path: &Path) -> Result<Facts> {
        let from = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Facts { from, news: None, text: Vec::new(), read_to: 0, open: true })
    }

    /// Takes what is there now.
    pub fn read(&mut self) -> Result<()> {
        let mut buffer = [0u8; 4096];
        if let Some(news) = &self.news {
            // Only the awakening matters; several changes are one.
            while news.read_events().is_ok_and(|events| !events.is_empty()) {}
        }
        loop {
            let count = match self.from.read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.context("cannot read what nsrun reports")?,
            };
            self.text.extend_from_slice(&buffer[..count]);
            if count == 0 {
                self.open = false;
            }
            // A pipe would block here: one piece at a time.
            if count == 0 || self.news.is_none() {
                return Ok(());
            }
        }
    }

    /// Takes all that will ever come of nsrun, which has ended.
    pub fn drain(&mut self) -> Result<()> {
        while self.news.is_none() && self.open {
            self.read()?;
        }
        self.read()
    }

    /// The next fact that has been read.
    pub fn next(&mut self) -> Result<Option<Fact>> {
        while let Some(length) = self.text[self.read_to..].iter().position(|byte| *byte == b'\n') {
            let line = &self.text[self.read_to..self.read_to + length];
            self.read_to += length + 1;
            let line: Line = serde_json::from_slice(line).context("cannot read what nsrun reports")?;
            match (line.process.status.as_str(), line.process.process, line.process.exit_code) {
                ("running", Some(process), _) => return Ok(Some(Fact::Running(process))),
                ("stopped", _, Some(code)) => return Ok(Some(Fact::Stopped(code))),
                _ => {}
            }
        }
        Ok(None)
    }

    /// All that has been reported in a container's run directory so far.
    pub fn all(run_dir: &Path) -> Result<Vec<Fact>> {
        let mut facts = Facts::at_rest(&run_dir.join(FILE))?;
        facts.drain()?;
        let mut all = Vec::new();
        while let Some(fact) = facts.next()? {
            all.push(fact);
        }
        Ok(all)
    }
}
