//! The signals that gocker-sh is sent while it works: read from a descriptor, so that none ends it half-way.

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// `si_code` of a signal that the kernel sent, such as a terminal does on Ctrl-C (sigaction(2), SI_KERNEL).
const SI_KERNEL: i32 = 0x80;

/// All signals that can be held, held.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    found: SigSet,
}

/// What has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    ChildEnded,
    Signal(Signal, Origin),
}

/// Whether the other processes of our group have the signal, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The terminal sent it to the whole foreground process group.
    Terminal,
    /// A process sent it, to us alone as far as anyone can tell.
    Process,
}

impl Signals {
    pub fn hold() -> Result<Signals> {
        let mut held = SigSet::all();
        // Faults of this process itself must end it, and a write to a closed pipe is an error, not a signal.
        for own in
            [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGPIPE, Signal::SIGURG]
        {
            held.remove(own);
        }
        let mut found = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&held), Some(&mut found))
            .context("cannot hold signals: sigprocmask")?;
        let fd = SignalFd::with_flags(&held, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .context("cannot hold signals: signalfd")?;
        Ok(Signals { fd, found })
    }

    /// The mask that was in force before.
    pub fn found(&self) -> SigSet {
        self.found
    }

    /// The next of the signals that have come, if any.
    pub fn next(&self) -> Result<Option<Event>> {
        let (signal, si_code) = loop {
            let Some(info) = self.fd.read_signal().context("cannot read signals")? else {
                return Ok(None);
            };
            // The real-time signals have no names here, and nobody sends them to a client.
            if let Ok(signal) = Signal::try_from(info.ssi_signo.cast_signed()) {
                break (signal, info.ssi_code);
            }
        };
        if signal == Signal::SIGCHLD {
            return Ok(Some(Event::ChildEnded));
        }
        let origin = if si_code == SI_KERNEL { Origin::Terminal } else { Origin::Process };
        Ok(Some(Event::Signal(signal, origin)))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // What came and was not read takes effect now.
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.found), None).ok();
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether a signal asks a process to end.
pub fn ends(signal: Signal) -> bool {
    matches!(signal, Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT)
}
