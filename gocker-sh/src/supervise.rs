//! Starts nsrun on the finished document and stays with it: notes what it reports, forwards signals, gets the code.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Deserialize;

use crate::chain::{Bench, spawn};
use crate::children::{Capture, Child};
use crate::record::Process;
use crate::signals::{Event, Origin};
use crate::spawn::{Blocked, Command, Stream, pipe};

/// One line of `--json-fd`.
#[derive(Deserialize)]
struct Fact {
    process: ProcessFact,
}

#[derive(Deserialize)]
struct ProcessFact {
    status: String,
    #[serde(flatten)]
    process: Option<Process>,
}

/// Runs nsrun to its end. `on_running` is called once, as soon as the payload's own program has begun.
pub fn supervise(
    bench: &Bench,
    arguments: &[String],
    document: &OwnedFd,
    on_running: impl FnMut(Process) -> Result<()>,
) -> Result<Child> {
    let (read, write) = pipe()?;
    let mut words = vec![
        "--die-with-parent".to_owned(),
        format!("--doc=/dev/fd/{}", document.as_raw_fd()),
        format!("--json-fd={}", write.as_raw_fd()),
    ];
    words.extend_from_slice(arguments);
    let command = Command {
        tool: "nsrun",
        arguments: bench.tools.words(words),
        stdin: Stream::Inherit,
        stdout: Stream::Inherit,
        stderr: Stream::Inherit,
        inherited: vec![bench.hold.inherited(), document.as_fd(), write.as_fd()],
        blocked: Blocked::AsFound(bench.signals.found()),
    };
    let child = spawn(bench, command)?;
    drop(write);
    let mut watch = Watch { child, facts: Capture::of(read), read_to: 0, running: false, on_running };
    watch.see_it_end(bench)?;
    Ok(watch.child)
}

struct Watch<F> {
    child: Child,
    facts: Capture,
    /// How far the facts have been looked at.
    read_to: usize,
    /// Whether the payload's own program has begun.
    running: bool,
    on_running: F,
}

impl<F: FnMut(Process) -> Result<()>> Watch<F> {
    fn see_it_end(&mut self, bench: &Bench) -> Result<()> {
        loop {
            if self.wait_readable(bench)? {
                self.facts.read()?;
                self.look_at_facts()?;
            }
            while let Some(event) = bench.signals.next()? {
                match event {
                    Event::ChildEnded => self.child.look()?,
                    Event::Signal(signal, Origin::Process) => self.child.signal(signal),
                    // nsrun is in the terminal's foreground process group, too.
                    Event::Signal(_, Origin::Terminal) => {}
                }
            }
            if self.child.ended.is_some() {
                return self.drain();
            }
        }
    }

    /// Sleeps until something has come. Whether facts have.
    fn wait_readable(&self, bench: &Bench) -> Result<bool> {
        let mut fds = vec![PollFd::new(bench.signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.facts.pipe().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot wait: poll"),
        }
        Ok(fds.get(1).and_then(PollFd::any).unwrap_or(false))
    }

    /// nsrun has ended: what it still had to say is in the pipe.
    fn drain(&mut self) -> Result<()> {
        while self.facts.is_open() {
            self.facts.read()?;
        }
        self.look_at_facts()
    }

    fn look_at_facts(&mut self) -> Result<()> {
        while let Some(length) = self.facts.text[self.read_to..].iter().position(|byte| *byte == b'\n') {
            let line = &self.facts.text[self.read_to..self.read_to + length];
            self.read_to += length + 1;
            let fact: Fact = serde_json::from_slice(line).context("cannot read what nsrun reports")?;
            if let (false, "running", Some(process)) =
                (self.running, fact.process.status.as_str(), fact.process.process)
            {
                self.running = true;
                (self.on_running)(process)?;
            }
        }
        Ok(())
    }
}
