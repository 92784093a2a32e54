//! nsrun while the payload runs: waits for it, forwards signals, carries its terminal.
//!
//! The payload has a session of its own (start.rs), so a signal of the caller's terminal reaches nsrun alone, and
//! the payload gets it once, from here: docker's behaviour, where the two are not even related.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use crate::call::Call;
use crate::report::{End, Heard};
use crate::sys::{self, Child};
use crate::terminal::{Callers, Relay};

/// All signals that can be held, read from a descriptor: none ends nsrun half-way.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    pub fn hold() -> Result<Signals> {
        let mut held = SigSet::all();
        // Faults of nsrun itself must end it; a closed pipe is an error of write(2).
        for own in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGPIPE] {
            held.remove(own);
        }
        held.thread_set_mask().call("sigprocmask").context("cannot hold signals")?;
        let fd = SignalFd::with_flags(&held, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        fd.call("signalfd").context("cannot hold signals").map(Signals)
    }

    /// # Errors
    /// One that ends a process has come.
    pub fn check(&self) -> Result<()> {
        while let Some(number) = self.next()? {
            if ends(number) {
                anyhow::bail!("interrupted by signal {number}");
            }
        }
        Ok(())
    }

    fn next(&self) -> Result<Option<i32>> {
        let info = self.0.read_signal().context("cannot read signals")?;
        Ok(info.map(|info| info.ssi_signo.cast_signed()))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether a signal to nsrun (or to PID 1 with `--init`) is meant for the payload: docker's list. Those about the
/// receiver's own child, pipe, socket and terminal are not.
pub fn forwarded(signal: Signal) -> bool {
    !matches!(signal, Signal::SIGCHLD | Signal::SIGPIPE | Signal::SIGURG | Signal::SIGTTIN | Signal::SIGTTOU)
}

fn is_forwarded(number: i32) -> bool {
    Signal::try_from(number).map_or(true, forwarded)
}

fn ends(number: i32) -> bool {
    [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT].contains(&number)
}

/// A process that is, or will be, the payload.
pub struct Watch<'a> {
    child: Child,
    /// `None` once its program has begun.
    line: Option<End>,
    signals: &'a Signals,
    callers: Option<Callers>,
    relay: Option<Relay>,
    /// A signal that asked to end before the payload had begun.
    interrupted: Option<i32>,
}

impl<'a> Watch<'a> {
    pub fn new(child: Child, line: End, signals: &'a Signals, callers: Option<Callers>) -> Watch<'a> {
        Watch { child, line: Some(line), signals, callers, relay: None, interrupted: None }
    }

    /// Until the end of the payload. `on_running` is called once its own program has begun. The exit code is the
    /// payload's, or 128 and the signal that killed it.
    ///
    /// # Errors
    /// Why the payload did not start. It is gone in any case.
    pub fn see_out(mut self, on_running: impl FnOnce() -> Result<()>) -> Result<u8> {
        let ended = self.watch(on_running);
        if ended.is_err() {
            sys::send_signal(self.child.pidfd.as_fd(), libc::SIGKILL).ok();
        }
        let code = reap(&self.child);
        if let (Some(relay), Ok(())) = (&mut self.relay, &ended) {
            relay.drain();
        }
        match (ended, self.interrupted) {
            (Err(error), _) => Err(error),
            (Ok(()), Some(signal)) => Ok(128 + u8::try_from(signal)?),
            (Ok(()), None) => code,
        }
    }

    /// From now on, bytes go between the caller's terminal and the payload's.
    pub fn carry(&mut self, master: OwnedFd) -> Result<()> {
        if let Some(callers) = self.callers.take() {
            self.relay = Some(Relay::start(callers, master)?);
        }
        Ok(())
    }

    /// The payload is not to start after all.
    ///
    /// # Errors
    /// Always: `why`.
    pub fn give_up<T>(self, why: anyhow::Error) -> Result<T> {
        sys::send_signal(self.child.pidfd.as_fd(), libc::SIGKILL).ok();
        reap(&self.child).and(Err(why))
    }

    fn watch(&mut self, on_running: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut on_running = Some(on_running);
        loop {
            let ready = self.wait()?;
            // What the child has said comes before its end, and before a signal that may have met it running.
            while self.line.is_some() && ready.line {
                if self.listen()?
                    && let Some(call) = on_running.take()
                    && self.interrupted.is_none()
                {
                    call()?;
                }
                if !readable(self.line.as_ref().map(AsFd::as_fd)) {
                    break;
                }
            }
            if let (Some(relay), Some(events)) = (&mut self.relay, ready.relay) {
                relay.carry(events)?;
            }
            if ready.signals {
                self.pass_on_signals()?;
            }
            if ready.ended && self.line.is_none() {
                return Ok(());
            }
        }
    }

    fn wait(&self) -> Result<Ready> {
        let mut fds = vec![
            PollFd::new(self.signals.0.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.child.pidfd.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(self.line.as_ref().map(|line| PollFd::new(line.as_fd(), PollFlags::POLLIN)));
        let own = fds.len();
        if let Some(relay) = &self.relay {
            fds.extend(relay.wanted());
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot wait: poll"),
        }
        let ready = |index: usize| fds.get(index).and_then(PollFd::any).unwrap_or(false);
        Ok(Ready {
            signals: ready(0),
            ended: ready(1),
            line: self.line.is_some() && ready(2),
            relay: self.relay.as_ref().map(|relay| relay.events(&fds[own..])),
        })
    }

    /// Hears one thing; whether it was that the payload's program has begun.
    fn listen(&mut self) -> Result<bool> {
        let Some(line) = &self.line else { return Ok(false) };
        match line.hear()? {
            Heard::Failed(error) => Err(error),
            Heard::Terminal(master) => self.carry(master).map(|()| false),
            Heard::Child(..) => anyhow::bail!("cannot start the command: it was started twice"),
            // It was at that point when it got the word.
            Heard::Reached(_) => Ok(false),
            Heard::Closed => {
                self.line = None;
                Ok(true)
            }
        }
    }

    fn pass_on_signals(&mut self) -> Result<()> {
        while let Some(number) = self.signals.next()? {
            match (&self.relay, number) {
                (Some(relay), libc::SIGWINCH) => relay.resize(),
                _ if self.line.is_some() && ends(number) => {
                    // There is no program yet that could handle it.
                    self.interrupted = Some(number);
                    self.send(libc::SIGKILL)?;
                }
                _ if is_forwarded(number) => self.send(number)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn send(&self, signal: i32) -> Result<()> {
        match sys::send_signal(self.child.pidfd.as_fd(), signal) {
            // It has ended: poll will say so.
            Err(Errno::ESRCH) => Ok(()),
            sent => sent.call("pidfd_send_signal").with_context(|| format!("cannot forward signal {signal}")),
        }
    }
}

struct Ready {
    signals: bool,
    ended: bool,
    line: bool,
    relay: Option<crate::terminal::Events>,
}

fn readable(fd: Option<BorrowedFd>) -> bool {
    let Some(fd) = fd else { return false };
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// Waits for the end of the process, which for PID 1 is the end of all processes of its namespace.
pub fn reap(child: &Child) -> Result<u8> {
    loop {
        match waitid(Id::PIDFd(child.pidfd.as_fd()), WaitPidFlag::WEXITED) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for the command: waitid"),
            Ok(WaitStatus::Exited(_, code)) => return Ok(u8::try_from(code & 0xff)?),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + u8::try_from(signal as i32)?),
            Ok(_) => {}
        }
    }
}
