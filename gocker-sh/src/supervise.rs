//! Starts nsrun, hands it the finished document and stays with it: notes what it reports, forwards signals, gets the code.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use serde::Deserialize;
use stage::Document;

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

/// nsrun, started while the stages are still at work: it waits for their document at the end of a pipe.
pub struct Waiting {
    child: Child,
    document: File,
    facts: Capture,
}

impl Waiting {
    pub fn start(bench: &Bench, arguments: &[String]) -> Result<Waiting> {
        let (document, give) = pipe()?;
        let (facts, report) = pipe()?;
        let mut words = vec![
            "--die-with-parent".to_owned(),
            format!("--doc=/dev/fd/{}", document.as_raw_fd()),
            format!("--json-fd={}", report.as_raw_fd()),
        ];
        words.extend_from_slice(arguments);
        let command = Command {
            tool: "nsrun",
            arguments: bench.tools.words(words),
            stdin: Stream::Inherit,
            stdout: Stream::Inherit,
            stderr: Stream::Inherit,
            inherited: vec![bench.hold.inherited(), document.as_fd(), report.as_fd()],
            blocked: Blocked::AsFound(bench.signals.found()),
        };
        let child = spawn(bench, command)?;
        Ok(Waiting { child, document: File::from(give), facts: Capture::of(facts) })
    }

    /// There will be no document. It has done nothing yet that could be left behind.
    pub fn dismiss(mut self) -> Result<Child> {
        self.child.signal(Signal::SIGKILL);
        self.child.wait()?;
        Ok(self.child)
    }

    /// Hands it the document and sees it to its end. `on_running` is called once, as soon as the payload's own program
    /// has begun.
    pub fn run(
        self,
        bench: &Bench,
        document: &Document,
        on_running: impl FnMut(Process) -> Result<()>,
    ) -> Result<Child> {
        let Waiting { child, document: mut pipe, facts } = self;
        match pipe.write_all(document.to_line()?.as_bytes()) {
            // It has ended already, and said why.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written.context("cannot hand the document to nsrun")?,
        }
        drop(pipe);
        let mut watch = Watch { child, facts, read_to: 0, running: false, on_running };
        watch.see_it_end(bench)?;
        Ok(watch.child)
    }
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
        // Its end may have come, and been taken for another child's, while the stages were at work.
        self.child.look()?;
        while self.child.ended.is_none() {
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
        }
        self.drain()
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
