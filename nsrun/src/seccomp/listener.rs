//! Hands the notify descriptor of a filter to the agent that will answer (OCI runtime-spec, config-linux.md, "The
//! Container Process State").
//!
//! The connection is made on the host, before there is any container; the descriptor comes to be in the payload's
//! process, with its filter already in force, and goes out by one sendmsg(2).

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::{Value, json};

use super::Listener;

/// The way to the agent, and what it will be told.
#[derive(Debug)]
pub struct Connection {
    socket: UnixStream,
    state: Value,
}

impl Connection {
    pub fn open(listener: &Listener, id: &str, bundle: &Path) -> Result<Connection> {
        let Listener { path, metadata } = listener;
        let socket = UnixStream::connect(path).context("connect");
        let socket =
            socket.with_context(|| format!("cannot use linux.seccomp.listenerPath {}", path.display()))?;
        let state = json!({
            "ociVersion": "1.0.2",
            "fds": ["seccompFd"],
            "metadata": metadata,
            "state": {"ociVersion": "1.0.2", "id": id, "status": "creating", "bundle": bundle},
        });
        Ok(Connection { socket, state })
    }

    pub fn hand_over(&self, notify: BorrowedFd, pid: i32) -> Result<()> {
        let mut state = self.state.clone();
        state["pid"] = pid.into();
        state["state"]["pid"] = pid.into();
        let text = serde_json::to_vec(&state)?;
        let (fds, parts) = ([notify.as_raw_fd()], [IoSlice::new(&text)]);
        let rights = [ControlMessage::ScmRights(&fds)];
        let sent = sendmsg::<()>(self.socket.as_raw_fd(), &parts, &rights, MsgFlags::MSG_NOSIGNAL, None);
        sent.map(drop).context("sendmsg").context("cannot hand over the seccomp listener")
    }
}
