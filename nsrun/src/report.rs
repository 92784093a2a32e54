//! The line between nsrun and the process that becomes the payload.
//!
//! A socket pair that execve(2) closes: from the child come the terminal's master end, the points at which nsrun has
//! something to do, and, whole, the error that kept it from starting; that nothing more comes means that the payload's
//! own program has begun. To the child goes one word: go. When nsrun is gone, so is the word, and the child never starts.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType, recvmsg,
    sendmsg, shutdown, socketpair,
};
use serde::{Deserialize, Serialize};
use stage::{Explain, Explained};

/// The longest error that is reported, in bytes.
const MAX: usize = 16 << 10;

/// What an error is, on its way.
#[derive(Debug, Deserialize, Serialize)]
struct Failure {
    text: String,
    code: Option<u8>,
    kernel: Option<String>,
    hint: Option<String>,
}

/// One end.
#[derive(Debug)]
pub struct End(OwnedFd);

/// What nsrun hears.
#[derive(Debug)]
pub enum Heard {
    /// The process that becomes the payload, from the one in between: its pid and a descriptor of it.
    Child(i32, OwnedFd),
    /// The master end of the payload's terminal.
    Terminal(OwnedFd),
    /// It waits, and goes on at the word.
    Reached(Point),
    /// Why the payload never started.
    Failed(anyhow::Error),
    /// The child's end is closed: its program runs, or it died.
    Closed,
}

/// A point of the OCI life cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The container's world is made, its root is not yet its root: the time of `prestart` and `createRuntime`.
    Made,
    /// All that is left is to execute the program.
    Ready,
}

impl Point {
    fn word(self) -> &'static [u8] {
        match self {
            Point::Made => b"made",
            Point::Ready => b"ready",
        }
    }
}

/// nsrun's end and the child's. To be made while /proc is still the host's.
pub fn line() -> Result<(End, End)> {
    anyhow::ensure!(crate::sys::is_single_threaded(), "nsrun has more than one thread");
    let (ours, childs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .context("socketpair")?;
    Ok((End(ours), End(childs)))
}

impl From<OwnedFd> for End {
    fn from(socket: OwnedFd) -> End {
        End(socket)
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl End {
    /// To the child: it may go on. It learns its pid as the host counts.
    pub fn go(&self, pid: i32) -> Result<()> {
        match self.send(&pid.to_ne_bytes(), &[]) {
            // It has failed, and its reason is on the way.
            Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            sent => sent.context("cannot start the command: sendmsg"),
        }
    }

    /// In the child: waits for the word, and is told its own pid. `None`: nsrun is gone.
    pub fn may_go(&self) -> Option<i32> {
        let mut word = [0u8; 4];
        let heard = self.receive(&mut word).is_ok_and(|(length, _)| length == word.len());
        heard.then(|| i32::from_ne_bytes(word))
    }

    pub fn send_child(&self, pid: i32, pidfd: BorrowedFd) -> Result<()> {
        let sent = self.send(pid.to_string().as_bytes(), &[pidfd.as_raw_fd()]);
        sent.context("cannot hand over the container: sendmsg")
    }

    /// In the child: says where it is.
    pub fn reach(&self, point: Point) -> Result<()> {
        self.send(point.word(), &[]).context("cannot report to nsrun: sendmsg")
    }

    /// In the child: nothing more will be said here, though the socket stays open.
    pub fn hang_up(&self) {
        // It fails only if the other end is gone.
        shutdown(self.0.as_raw_fd(), Shutdown::Both).ok();
    }

    pub fn send_terminal(&self, master: BorrowedFd) -> Result<()> {
        self.send(b"", &[master.as_raw_fd()]).context("cannot hand over the terminal: sendmsg")
    }

    pub fn send_failure(&self, error: &anyhow::Error) {
        let known = Explained::of(error);
        let failure = Failure {
            text: format!("{error:#}").chars().take(MAX / 8).collect(),
            code: known.and_then(|known| known.code),
            kernel: known.and_then(|known| known.kernel.clone()),
            hint: known.and_then(|known| known.hint.clone()),
        };
        if let Ok(text) = serde_json::to_vec(&failure) {
            // If nobody listens any more, nobody wants to know.
            self.send(&text, &[]).ok();
        }
    }

    /// The next thing the child says.
    pub fn hear(&self) -> Result<Heard> {
        let mut text = vec![0; MAX];
        let (length, fd) = self.receive(&mut text).context("cannot hear from the command: recvmsg")?;
        match (length, fd) {
            (length, Some(fd)) => match std::str::from_utf8(&text[..length])?.parse() {
                Ok(pid) => Ok(Heard::Child(pid, fd)),
                Err(_) => Ok(Heard::Terminal(fd)),
            },
            (0, None) => Ok(Heard::Closed),
            (length, None) => {
                match [Point::Made, Point::Ready].into_iter().find(|it| it.word() == &text[..length]) {
                    Some(point) => Ok(Heard::Reached(point)),
                    None => Ok(Heard::Failed(decoded(&text[..length])?)),
                }
            }
        }
    }

    fn send(&self, text: &[u8], fds: &[RawFd]) -> nix::Result<()> {
        let rights = [ControlMessage::ScmRights(fds)];
        // A message without a byte is no message.
        let text = if text.is_empty() { &b"T"[..] } else { text };
        let control = if fds.is_empty() { &[][..] } else { &rights[..] };
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(text)], control, flags, None).map(drop)
    }

    fn receive(&self, text: &mut [u8]) -> nix::Result<(usize, Option<OwnedFd>)> {
        let mut space = nix::cmsg_space!([RawFd; 1]);
        loop {
            let mut parts = [IoSliceMut::new(text)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let message = match recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), flags) {
                // The other end has closed without reading all it was sent. That is told first, and once; what it had
                // sent before is still to come (unix(7) does not say so, the kernel's datagram receive does).
                Err(Errno::EINTR | Errno::ECONNRESET) => continue,
                message => message?,
            };
            let mut fd = None;
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(fds) = control {
                    fd = fds.first().copied().map(crate::sys::received);
                }
            }
            return Ok((message.bytes, fd));
        }
    }
}

fn decoded(text: &[u8]) -> Result<anyhow::Error> {
    let failure: Failure =
        serde_json::from_slice(text).context("cannot read why the command did not start")?;
    let mut result: Result<()> = Err(anyhow!(failure.text));
    if let Some(code) = failure.code {
        result = result.code(code);
    }
    if let Some(kernel) = failure.kernel {
        result = result.kernel(kernel);
    }
    if let Some(hint) = failure.hint {
        result = result.hint(hint);
    }
    match result {
        Err(error) => Ok(error),
        Ok(()) => Ok(anyhow!("the command did not start")),
    }
}
