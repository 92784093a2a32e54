//! Where a created container waits to be started: a listening socket in its record.
//!
//! runc has a FIFO there. A socket answers more: that somebody listens is the kernel's word that the container is
//! created and not yet started, a dead one refuses at once, and why the program cannot be executed comes back on the
//! connection.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept4, bind, connect, listen, socket,
};

use crate::call::Call;
use crate::record::GATE;
use crate::report::{End, Point};
use crate::sys;

/// Starters that may wait while the container is frozen.
const BACKLOG: i32 = 16;

/// What a process waits for, all set up, before it executes its program.
#[derive(Debug, Default)]
pub enum Gate {
    /// The word of the nsrun that made it.
    #[default]
    Word,
    /// The same, once it has said that it is ready.
    Ready,
    /// A start by another nsrun.
    Socket(OwnedFd),
}

impl Gate {
    /// Makes the socket in the record of a container.
    pub fn at(record: &Path) -> Result<Gate> {
        let make = || -> Result<OwnedFd> {
            let socket = new_socket(SockFlag::empty())?;
            with_address(record, |address| bind(socket.as_raw_fd(), address).call("bind"))?;
            listen(&socket, Backlog::new(BACKLOG)?).call("listen")?;
            Ok(socket)
        };
        make().with_context(|| format!("cannot make {}", record.join(GATE).display())).map(Gate::Socket)
    }
}

/// In the container: waits until somebody starts it, and answers that it has heard. What goes wrong then is for them.
pub fn wait(socket: &OwnedFd) -> Result<End> {
    loop {
        let accepted = accept4(socket.as_raw_fd(), SockFlag::SOCK_CLOEXEC);
        let connection = match accepted {
            Err(Errno::EINTR) => continue,
            accepted => End::from(sys::received(accepted.call("accept")?)),
        };
        // One that only looked (`state`) says nothing.
        if connection.may_go().is_some() {
            connection.reach(Point::Ready)?;
            return Ok(connection);
        }
    }
}

/// A connection to the container that waits there. `None`: none does; it was started, or is dead.
pub fn knock(record: &Path) -> Result<Option<End>> {
    let socket = new_socket(SockFlag::SOCK_NONBLOCK)?;
    let connected = with_address(record, |address| Ok(connect(socket.as_raw_fd(), address)));
    let connected = match connected {
        Ok(connected) => connected,
        // There is no record.
        Err(_) if !record.exists() => return Ok(None),
        Err(error) => return Err(error),
    };
    match connected {
        Ok(()) => {
            let flags = rustix::fs::fcntl_getfl(&socket).call("fcntl F_GETFL")?;
            rustix::fs::fcntl_setfl(&socket, flags - rustix::fs::OFlags::NONBLOCK).call("fcntl F_SETFL")?;
            Ok(Some(End::from(socket)))
        }
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno)
            .context("connect")
            .with_context(|| format!("cannot reach {}", record.join(GATE).display())),
    }
}

fn new_socket(more: SockFlag) -> Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC | more, None).call("socket")
}

/// By the record's descriptor: an address has 108 bytes, a path may have more.
fn with_address<T>(record: &Path, act: impl FnOnce(&UnixAddr) -> Result<T>) -> Result<T> {
    let directory = File::open(record).context("open")?;
    let path = format!("/proc/self/fd/{}/{GATE}", directory.as_fd().as_raw_fd());
    act(&UnixAddr::new(path.as_str())?)
}
