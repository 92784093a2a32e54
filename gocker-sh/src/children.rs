//! Processes that run side by side: reads what they print, waits for all of them, minds the signals meanwhile.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::signals::{Event, Origin, Signals};

/// A process that was started here.
#[derive(Debug)]
pub struct Child {
    pub tool: &'static str,
    pub words: Vec<String>,
    pub pid: Pid,
    pub started: Instant,
    pub ended: Option<(WaitStatus, Instant)>,
    pub stdout: Option<Capture>,
    pub stderr: Option<Capture>,
}

/// The end to read of a pipe, and what has come out of it.
#[derive(Debug)]
pub struct Capture {
    pipe: Option<File>,
    pub text: Vec<u8>,
}

impl Capture {
    pub fn of(pipe: OwnedFd) -> Capture {
        Capture { pipe: Some(File::from(pipe)), text: Vec::new() }
    }

    /// Takes what is there; the pipe is closed when nothing more will come.
    pub fn read(&mut self) -> Result<()> {
        let mut buffer = [0u8; 16384];
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let count = match pipe.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            read => read.context("cannot read from a stage")?,
        };
        self.text.extend_from_slice(&buffer[..count]);
        if count == 0 {
            self.pipe = None;
        }
        Ok(())
    }

    pub fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    pub fn pipe(&self) -> Option<&File> {
        self.pipe.as_ref()
    }
}

impl Child {
    /// The exit code, 128+n for a death by signal n. `None` while it runs.
    pub fn code(&self) -> Option<u8> {
        self.ended.map(|(status, _)| code(status))
    }

    /// Whether it was ended by a signal: then it had no chance to take back what it did.
    pub fn was_killed(&self) -> bool {
        matches!(self.ended, Some((WaitStatus::Signaled(..), _)))
    }

    /// Notes its end, if it has come.
    pub fn look(&mut self) -> Result<()> {
        if self.ended.is_some() {
            return Ok(());
        }
        match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
            Ok(status) => self.ended = Some((status, Instant::now())),
            Err(errno) => {
                return Err(errno).with_context(|| format!("cannot wait for {}: waitpid", self.tool));
            }
        }
        Ok(())
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Result<()> {
        while self.ended.is_none() {
            match waitpid(self.pid, None) {
                Ok(status) => self.ended = Some((status, Instant::now())),
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    return Err(errno).with_context(|| format!("cannot wait for {}: waitpid", self.tool));
                }
            }
        }
        Ok(())
    }

    /// Sends it a signal, if it has not ended yet.
    pub fn signal(&self, signal: Signal) {
        if self.ended.is_none() {
            // Not yet waited for, so the pid is still its own; that it is a zombie by now is no failure.
            kill(self.pid, signal).ok();
        }
    }

    fn open_captures(&mut self) -> impl Iterator<Item = &mut Capture> {
        [&mut self.stdout, &mut self.stderr].into_iter().flatten().filter(|capture| capture.is_open())
    }
}

/// Waits until every child has ended and all that they print is read. `on_change` is called when a child has
/// ended, `on_signal` when a signal has come.
pub fn wait_for_all(
    children: &mut [Child],
    signals: &Signals,
    mut on_change: impl FnMut(&[Child]),
    mut on_signal: impl FnMut(&[Child], Signal, Origin),
) -> Result<()> {
    loop {
        let open = children.iter_mut().any(|child| child.open_captures().next().is_some());
        if !open && children.iter().all(|child| child.ended.is_some()) {
            return Ok(());
        }
        wait_readable(children, signals)?;
        while let Some(event) = signals.next()? {
            match event {
                Event::ChildEnded => {
                    for child in &mut *children {
                        child.look()?;
                    }
                    on_change(children);
                }
                Event::Signal(signal, origin) => on_signal(children, signal, origin),
            }
        }
    }
}

/// Sleeps until something has come, and reads what the children have printed.
fn wait_readable(children: &mut [Child], signals: &Signals) -> Result<()> {
    let mut captures: Vec<&mut Capture> = children.iter_mut().flat_map(Child::open_captures).collect();
    let ready: Vec<bool> = {
        let pipes = captures.iter().filter_map(|capture| capture.pipe());
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(pipes.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot wait: poll"),
        }
        fds.iter().skip(1).map(|fd| fd.any().unwrap_or(false)).collect()
    };
    for (capture, _) in captures.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
        capture.read()?;
    }
    Ok(())
}

/// The exit code that a shell would show.
pub fn code(status: WaitStatus) -> u8 {
    match status {
        WaitStatus::Exited(_, code) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
        WaitStatus::Signaled(_, signal, _) => 128 + u8::try_from(signal as i32).unwrap_or(0),
        _ => u8::MAX,
    }
}
