//! Starts nsrun, hands it the finished document and stays with it: notes what it reports, forwards signals, gets the code.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use stage::Document;

use crate::chain::{Bench, spawn};
use crate::children::Child;
use crate::facts::{Fact, Facts};
use crate::record::Process;
use crate::signals::{Event, Origin};
use crate::spawn::{Blocked, Command, Session, Stream, pipe};
use crate::streams::Streams;

/// How nsrun stands to this process.
#[derive(Clone, Copy, Debug)]
pub enum Tie<'a> {
    /// Its streams are ours, and it dies with us.
    Bound,
    /// It carries on without us, with streams of its own.
    Loose(&'a Streams),
}

/// nsrun, started while the stages are still at work: it waits for their document at the end of a pipe.
pub struct Waiting {
    child: Child,
    document: File,
    facts: Facts,
    until: Until,
}

/// What became of the payload.
pub enum Fate {
    /// It ended with this code, nsrun said and is about to end itself.
    Told(Child, u8),
    /// nsrun has ended, or goes on without us: the payload never ran, is detached, or nobody knows how it ended.
    Untold(Child),
}

/// How long to stay with nsrun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Running,
    Ended,
}

impl Waiting {
    pub fn start(bench: &Bench, tie: Tie, arguments: &[String]) -> Result<Waiting> {
        let (document, give) = pipe()?;
        let (facts, report, until) = match tie {
            Tie::Bound => {
                let (facts, report) = pipe()?;
                (Facts::of_pipe(facts), report, Until::Ended)
            }
            Tie::Loose(streams) => (streams.facts()?, streams.report()?, Until::Running),
        };
        let mut words = vec![
            format!("--doc=/dev/fd/{}", document.as_raw_fd()),
            format!("--json-fd={}", report.as_raw_fd()),
        ];
        if let Tie::Bound = tie {
            words.insert(0, "--die-with-parent".to_owned());
        }
        words.extend_from_slice(arguments);
        let mut inherited = vec![bench.hold.inherited(), document.as_fd(), report.as_fd()];
        let (stdin, stdout, stderr, session) = match tie {
            Tie::Bound => (Stream::Inherit, Stream::Inherit, Stream::Inherit, Session::Callers),
            Tie::Loose(streams) => {
                inherited.extend(streams.master());
                let [stdin, stdout, stderr] = streams.standard();
                (stdin, stdout, stderr, Session::Own)
            }
        };
        let command = Command {
            tool: "nsrun",
            arguments: bench.tools.words(words),
            stdin,
            stdout,
            stderr,
            inherited,
            blocked: Blocked::AsFound(bench.signals.found()),
            session,
        };
        let child = spawn(bench, command)?;
        Ok(Waiting { child, document: File::from(give), facts, until })
    }

    pub fn pid(&self) -> Pid {
        self.child.pid
    }

    /// There will be no document. It has done nothing yet that could be left behind.
    pub fn dismiss(mut self) -> Result<Child> {
        self.child.signal(Signal::SIGKILL);
        self.child.wait()?;
        Ok(self.child)
    }

    /// Hands it the document and sees the payload to its end, a loose one only until it runs. `on_running` is called once,
    /// as soon as the payload's own program has begun.
    pub fn run(
        self,
        bench: &Bench,
        document: &Document,
        on_running: impl FnMut(Process) -> Result<()>,
    ) -> Result<Fate> {
        let Waiting { child, document: mut pipe, facts, until } = self;
        match pipe.write_all(document.to_line()?.as_bytes()) {
            // It has ended already, and said why.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written.context("cannot hand the document to nsrun")?,
        }
        drop(pipe);
        let mut watch = Watch { child, facts, until, running: false, stopped: None, on_running };
        watch.see_it_end(bench)?;
        Ok(match watch.stopped {
            Some(code) => Fate::Told(watch.child, code),
            None => Fate::Untold(watch.child),
        })
    }
}

struct Watch<F> {
    child: Child,
    facts: Facts,
    until: Until,
    /// Whether the payload's own program has begun.
    running: bool,
    /// The code it ended with. What nsrun does then concerns nobody else.
    stopped: Option<u8>,
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
            if self.stopped.is_some() || self.running && self.until == Until::Running {
                return Ok(());
            }
            while let Some(event) = bench.signals.next()? {
                match event {
                    Event::ChildEnded => self.child.look()?,
                    Event::Signal(signal, Origin::Process) => self.child.signal(signal),
                    // A bound nsrun is in the terminal's foreground process group, too.
                    Event::Signal(signal, Origin::Terminal) if self.until == Until::Running => {
                        self.child.signal(signal);
                    }
                    Event::Signal(_, Origin::Terminal) => {}
                }
            }
        }
        self.facts.drain()?;
        self.look_at_facts()
    }

    /// Sleeps until something has come. Whether facts have.
    fn wait_readable(&self, bench: &Bench) -> Result<bool> {
        let mut fds = vec![PollFd::new(bench.signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.facts.fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot wait: poll"),
        }
        Ok(fds.get(1).and_then(PollFd::any).unwrap_or(false))
    }

    fn look_at_facts(&mut self) -> Result<()> {
        while let Some(fact) = self.facts.next()? {
            match fact {
                Fact::Running(process) if !self.running => {
                    self.running = true;
                    (self.on_running)(process)?;
                }
                Fact::Running(_) => {}
                Fact::Stopped(code) => self.stopped = Some(code),
            }
        }
        Ok(())
    }
}
