//! Waiting for an interface to go: the kernel removes those of a dead namespace some milliseconds later.

use std::cell::OnceCell;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use crate::netlink::Netlink;

/// RTNLGRP_LINK
const LINKS: u32 = 1;
const RTM_DELLINK: u16 = 17;
/// Without any departure. A thousand namespaces die in less.
const PATIENCE: Duration = Duration::from_secs(2);

/// An ear for links that go, opened when first needed.
#[derive(Default)]
pub struct Departure {
    socket: OnceCell<Netlink>,
}

impl Departure {
    /// From now on no departure is missed.
    pub fn listen(&self) -> Result<()> {
        self.heard()?;
        Ok(())
    }

    /// `true` when a link has gone since the last call (or nobody knows: the first call), `false` when it is
    /// no use to wait longer.
    pub fn wait(&self) -> Result<bool> {
        let first = self.socket.get().is_none();
        let socket = self.heard()?;
        if first {
            return Ok(true);
        }
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = Vec::with_capacity(32 * 1024);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, timeout) {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno).context("cannot wait for netlink: poll"),
            }
            let mut gone = false;
            socket.receive(&mut buffer, 0, |_, message| {
                gone |= message.message_type() == RTM_DELLINK;
                Ok(())
            })?;
            if gone {
                return Ok(true);
            }
        }
    }

    fn heard(&self) -> Result<&Netlink> {
        if let Some(socket) = self.socket.get() {
            return Ok(socket);
        }
        let socket = Netlink::listen(NETLINK_ROUTE, LINKS)?;
        Ok(self.socket.get_or_init(|| socket))
    }
}
