//! The watcher of a detached container: a process of its own that keeps the log and, when nsrun has ended, notes how and
//! takes the container down.
//!
//! It is told the container's id, and has the owner's lock as its stdin. The first watcher also inherits the container's
//! outputs, and is told the number of the terminal among them: the container may have ended before it looks. All else it reads from disk, so that it does not
//! matter whether it is the container's first watcher or takes over from one that was killed. It starts anew, by
//! execve(2), to be small: nothing of what was parsed and planned is in its memory.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use stage::{Id, Roots};

use crate::cli::Global;
use crate::facts::{Fact, Facts};
use crate::life::{self, Session};
use crate::log;
use crate::record::{Detached, Process, Record};
use crate::signals::Signals;
use crate::spawn::{self, Blocked, Command, Stream, Tools};
use crate::store::{Owner, Store};
use crate::streams::{self, STDERR, STDOUT, Streams};

/// The word that makes a gocker-sh a watcher.
pub const VERB: &str = "watch";
/// So long a piece of output without a newline waits for the rest, milliseconds.
const PARTIAL_WAITS: u16 = 20;
/// Larger pieces do not wait. docker's figure, too.
const LONGEST: usize = 16 << 10;

/// Starts a watcher, which inherits the owner's lock; the first one also the streams.
pub fn start(tools: &Tools, owner: &Owner, id: &Id, streams: Option<&Streams>) -> Result<()> {
    let mut arguments = vec![VERB.to_owned(), id.to_string()];
    arguments.extend(streams.and_then(Streams::master_number).map(|number| number.to_string()));
    let command = Command {
        tool: "gocker-sh",
        arguments,
        stdin: Stream::Fd(owner.fd()),
        stdout: Stream::Null,
        stderr: Stream::Null,
        inherited: streams.map(Streams::outputs).unwrap_or_default(),
        blocked: Blocked::AsNow,
        session: spawn::Session::Own,
    };
    tools.start(&command).map(drop)
}

/// Watches one container to its end. Its own end is the container's.
pub fn watch(roots: Roots, id: &str, terminal: Option<&str>) -> Result<u8> {
    let id: Id = id.parse()?;
    let store = Store::new(&roots);
    let signals = Signals::hold()?;
    let record = Record::read(&store, &id)?.context("there is no record")?;
    let Some(detached) = &record.detached else { bail!("container {id} is not detached") };
    let terminal = match terminal {
        Some(number) => Some(streams::copy_of(std::process::id().cast_signed(), number.parse()?)?),
        None => None,
    };
    let copied = copy_output(&store, &record, detached, terminal);
    let hold = store.hold_as_watcher(&id)?;
    let (code, error) = how_it_ended(&store, &id, copied);
    let global = Global { roots, trace: None, verbose: false };
    let tools = Tools::new(&global)?;
    // What was changed meanwhile (a new name) counts.
    let record = Record::read(&store, &id)?.unwrap_or(record);
    life::wind_up(Session { store: &store, tools: &tools, signals: &signals, hold }, record, code, error)?;
    Ok(0)
}

/// The exit code, and what is wrong if nsrun does not tell it.
fn how_it_ended(store: &Store, id: &Id, copied: Result<()>) -> (Option<u8>, String) {
    let code = Facts::all(&store.run_dir(id)).ok().and_then(|facts| {
        facts.into_iter().find_map(|fact| match fact {
            Fact::Stopped(code) => Some(code),
            Fact::Running(_) => None,
        })
    });
    match (code, copied) {
        (Some(_), Err(error)) => (code, format!("the log is not complete: {error:#}")),
        (Some(_), Ok(())) => (code, String::new()),
        (None, _) => (None, "nsrun was killed".to_owned()),
    }
}

/// A stream of the container, and its piece that has no newline yet.
struct Source {
    name: &'static str,
    file: File,
    partial: Vec<u8>,
    open: bool,
}

/// Writes what comes to the log until nsrun has ended and nothing is left.
fn copy_output(store: &Store, record: &Record, detached: &Detached, terminal: Option<OwnedFd>) -> Result<()> {
    let nsrun = alive(&detached.nsrun)?;
    let directory = store.run_dir(&record.id);
    let master = match terminal {
        Some(terminal) => Ok(Some(terminal)),
        None => streams::master_of(detached),
    };
    let mut sources = match master {
        Ok(Some(master)) => vec![Source::new(STDOUT, File::from(master))],
        Ok(None) => vec![
            Source::new(STDOUT, streams::open_to_read(&directory.join(STDOUT))?),
            Source::new(STDERR, streams::open_to_read(&directory.join(STDERR))?),
        ],
        // It has ended meanwhile, and its terminal with it.
        Err(_) if !detached.nsrun.is_alive() => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut log = log::Writer::open(log::path(store, &record.id), record.log)?;
    let mut buffer = [0u8; LONGEST];
    while !turn(nsrun.as_ref(), &mut sources, &mut log, &mut buffer)? {}
    for source in &mut sources {
        source.flush(&mut log)?;
    }
    Ok(())
}

/// Waits once and takes what has come. Whether there will be no more.
fn turn(
    nsrun: Option<&OwnedFd>,
    sources: &mut [Source],
    log: &mut log::Writer,
    buffer: &mut [u8],
) -> Result<bool> {
    let waiting = sources.iter().any(|source| !source.partial.is_empty());
    let timeout = match (nsrun, waiting) {
        (None, _) => PollTimeout::ZERO,
        (_, true) => PollTimeout::from(PARTIAL_WAITS),
        (_, false) => PollTimeout::NONE,
    };
    let (ended, ready) = {
        let mut fds: Vec<PollFd> =
            sources.iter().map(|source| PollFd::new(source.file.as_fd(), source.wanted())).collect();
        fds.extend(nsrun.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        poll(&mut fds, timeout).context("cannot wait: poll")?;
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        (nsrun.is_none() || ready.last() == Some(&true), ready)
    };
    let mut quiet = true;
    for (source, _) in sources.iter_mut().zip(ready).filter(|(source, ready)| *ready && source.open) {
        quiet = false;
        source.take(log, buffer)?;
    }
    if quiet && waiting {
        sources.iter_mut().try_for_each(|source| source.flush(log))?;
    }
    Ok(ended && quiet)
}

impl Source {
    fn new(name: &'static str, file: File) -> Source {
        Source { name, file, partial: Vec::new(), open: true }
    }

    fn wanted(&self) -> PollFlags {
        if self.open { PollFlags::POLLIN } else { PollFlags::empty() }
    }

    fn take(&mut self, log: &mut log::Writer, buffer: &mut [u8]) -> Result<()> {
        let count = match self.file.read(buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            // The other end of a terminal is gone: EIO.
            Err(_) => 0,
        };
        self.open = count > 0;
        for piece in buffer[..count].split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() >= LONGEST {
                self.flush(log)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, log: &mut log::Writer) -> Result<()> {
        if !self.partial.is_empty() {
            log.add(self.name, &self.partial)?;
            self.partial.clear();
        }
        Ok(())
    }
}

/// A descriptor that becomes readable when the process ends; `None` if it has.
pub fn alive(process: &Process) -> Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(process.pid) else { return Ok(None) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(errno) => {
            return Err(errno).with_context(|| format!("cannot watch process {}: pidfd_open", process.pid));
        }
    };
    // Only now is it certain that the descriptor is of the process that is looked at.
    Ok(process.is_alive().then_some(pidfd))
}
