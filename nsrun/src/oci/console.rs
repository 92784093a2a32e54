//! `--console-socket`: the master end of the container's terminal goes to the engine.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::call::Call;

/// Who takes it, reached while the path means what the caller meant.
#[derive(Debug)]
pub struct Console(UnixStream);

impl Console {
    pub fn reach(socket: &Path) -> Result<Console> {
        let stream = UnixStream::connect(socket).context("connect");
        stream.map(Console).with_context(|| format!("cannot use console socket {}", socket.display()))
    }

    /// Sends it by SCM_RIGHTS, with a name for who wants one.
    pub fn hand_over(&self, master: impl AsFd) -> Result<()> {
        let fds = [master.as_fd().as_raw_fd()];
        let (text, rights) = ([IoSlice::new(b"/dev/ptmx")], [ControlMessage::ScmRights(&fds)]);
        let sent = sendmsg::<()>(self.0.as_raw_fd(), &text, &rights, MsgFlags::MSG_NOSIGNAL, None);
        sent.map(drop).call("sendmsg").context("cannot hand over the terminal")
    }
}
