//! The caller's terminal, and the carrying of bytes between it and the payload's.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::termios::{OptionalActions, OutputModes, Termios, Winsize};

use crate::call::Call;
use crate::document::Source;
use crate::stdio::callers_terminal;

/// So much input is held for a payload that does not read; then the caller's terminal has to wait.
const MAX_PENDING: usize = 64 << 10;

/// The caller's side.
#[derive(Debug)]
pub struct Callers {
    /// `/dev/tty`, when stdin was the document.
    own: Option<OwnedFd>,
    /// Whether the payload gets what is typed.
    interactive: bool,
}

impl Callers {
    /// # Errors
    /// Input is to be passed on, and does not come from a terminal.
    pub fn find(interactive: bool, document: Source) -> Result<Callers> {
        if interactive && document == Source::Stdin {
            return Ok(Callers { own: Some(callers_terminal()?), interactive });
        }
        if interactive && !rustix::termios::isatty(rustix::stdio::stdin()) {
            bail!("cannot attach stdin to a TTY-enabled container because stdin is not a terminal");
        }
        Ok(Callers { own: None, interactive })
    }

    fn input(&self) -> BorrowedFd<'_> {
        self.own.as_ref().map_or(rustix::stdio::stdin(), AsFd::as_fd)
    }

    /// The size of the window, if there is one.
    pub fn window(&self) -> Option<Winsize> {
        let size = |fd| rustix::termios::tcgetwinsize(fd).ok();
        size(self.input()).or_else(|| size(rustix::stdio::stdout()))
    }
}

/// A terminal's settings, put back when this goes, on every way out.
#[derive(Debug)]
struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    fn enter(terminal: BorrowedFd, change: impl Fn(&mut Termios)) -> Result<Raw> {
        let enter = || -> Result<Raw> {
            let before = rustix::termios::tcgetattr(terminal).call("tcgetattr")?;
            let terminal = rustix::io::fcntl_dupfd_cloexec(terminal, 3).call("fcntl F_DUPFD")?;
            let mut raw = before.clone();
            change(&mut raw);
            rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &raw).call("tcsetattr")?;
            Ok(Raw { terminal, before })
        };
        enter().context("cannot set the terminal to raw mode")
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may have hung up: then there is nothing to put back.
        rustix::termios::tcsetattr(&self.terminal, OptionalActions::Drain, &self.before).ok();
    }
}

/// Carries bytes both ways. No end waits for the other: the payload may neither read nor write.
#[derive(Debug)]
pub struct Relay {
    callers: Callers,
    /// `None` once the payload's side has hung up.
    master: Option<OwnedFd>,
    reads_input: bool,
    pending: VecDeque<u8>,
    /// Dropped with this.
    _raw: Option<Raw>,
}

/// What poll(2) said of a relay's descriptors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Events {
    input: bool,
    output: bool,
    writable: bool,
}

impl Relay {
    pub fn start(callers: Callers, master: OwnedFd) -> Result<Relay> {
        let flags = rustix::fs::fcntl_getfl(&master).call("fcntl F_GETFL")?;
        rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK).call("fcntl F_SETFL")?;
        let raw = if callers.interactive {
            Some(Raw::enter(callers.input(), Termios::make_raw)?)
        } else if rustix::termios::isatty(rustix::stdio::stdout()) {
            // The payload's terminal has made CR LF of each LF already.
            let plain = |settings: &mut Termios| settings.output_modes.remove(OutputModes::OPOST);
            Some(Raw::enter(rustix::stdio::stdout(), plain)?)
        } else {
            None
        };
        let reads_input = callers.interactive;
        let relay = Relay { callers, master: Some(master), reads_input, pending: VecDeque::new(), _raw: raw };
        // It may have changed between the making of the terminal and now.
        relay.resize();
        Ok(relay)
    }

    /// Gives the payload the caller's window size; it gets SIGWINCH if that is a change.
    pub fn resize(&self) {
        if let (Some(size), Some(master)) = (self.callers.window(), &self.master) {
            rustix::termios::tcsetwinsize(master, size).ok();
        }
    }

    /// What to wait for: first the master, then the input.
    pub fn wanted(&self) -> Vec<PollFd<'_>> {
        let mut fds = Vec::new();
        if let Some(master) = &self.master {
            let mut flags = PollFlags::POLLIN;
            flags.set(PollFlags::POLLOUT, !self.pending.is_empty());
            fds.push(PollFd::new(master.as_fd(), flags));
        }
        if self.reads_input && self.master.is_some() && self.pending.len() < MAX_PENDING {
            fds.push(PollFd::new(self.callers.input(), PollFlags::POLLIN));
        }
        fds
    }

    /// Reads the answers to [`wanted`](Relay::wanted).
    pub fn events(&self, fds: &[PollFd]) -> Events {
        let of = |index: usize| fds.get(index).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        let came = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
        Events {
            output: self.master.is_some() && of(0).intersects(came),
            writable: self.master.is_some() && of(0).contains(PollFlags::POLLOUT),
            input: of(1).intersects(came),
        }
    }

    pub fn carry(&mut self, events: Events) -> Result<()> {
        if events.input {
            self.read_input();
        }
        if events.writable || events.input {
            self.write_pending();
        }
        if events.output {
            self.carry_output()?;
        }
        Ok(())
    }

    fn read_input(&mut self) {
        let mut bytes = [0u8; 4096];
        match rustix::io::read(self.callers.input(), &mut bytes) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Hung up, or we are in the background: nothing more comes.
            Ok(0) | Err(_) => self.reads_input = false,
            Ok(length) => self.pending.extend(&bytes[..length]),
        }
    }

    fn write_pending(&mut self) {
        let Some(master) = &self.master else { return };
        while !self.pending.is_empty() {
            match rustix::io::write(master, self.pending.as_slices().0) {
                Ok(length) => drop(self.pending.drain(..length)),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// One piece of output. Whether there may be more.
    fn carry_output(&mut self) -> Result<bool> {
        let Some(master) = &self.master else { return Ok(false) };
        let mut bytes = [0u8; 16 << 10];
        match rustix::io::read(master, &mut bytes) {
            Err(Errno::INTR) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            // EIO: no process has the other end open any more.
            Ok(0) | Err(_) => {
                self.master = None;
                Ok(false)
            }
            Ok(length) => {
                write_all(&bytes[..length]).context("cannot write the command's output: write stdout")?;
                Ok(true)
            }
        }
    }

    /// The payload has ended: what it wrote before is still to come. Others may hold the terminal open; they are not
    /// waited for.
    pub fn drain(&mut self) {
        while self.carry_output().unwrap_or(false) {}
    }
}

fn write_all(mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable()?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// stdout may be non-blocking: whoever shares it with us has decided that.
fn wait_writable() -> rustix::io::Result<()> {
    let mut fds = [PollFd::new(rustix::stdio::stdout(), PollFlags::POLLOUT)];
    nix::poll::poll(&mut fds, nix::poll::PollTimeout::NONE)
        .map(drop)
        .or_else(|errno| if errno == nix::errno::Errno::EINTR { Ok(()) } else { Err(Errno::IO) })
}
