//! The lock of a network namespace, between those who set up containers in it and those who make or remove what
//! these share.
//!
//! It is a flock(2) on the namespace itself, not on a file of ours: bridge, rules and forwarding belong to the
//! namespace, whatever state directory a caller uses. All set-ups hold it together; one that finds something
//! missing holds it alone, to its end, so that it can take back what it made while nobody can be using it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::pin::OWN;

/// The lock, and the namespace that it is of: the thread's own, when the lock was taken.
pub struct Lock(Flock<File>);

impl Lock {
    /// With others, but with nobody who holds it alone.
    pub fn together() -> Result<Lock> {
        Lock::take(FlockArg::LockShared)
    }

    pub fn alone() -> Result<Lock> {
        Lock::take(FlockArg::LockExclusive)
    }

    fn take(how: FlockArg) -> Result<Lock> {
        let mut namespace = File::open(OWN).with_context(|| format!("cannot open {OWN}"))?;
        loop {
            namespace = match Flock::lock(namespace, how) {
                Ok(locked) => return Ok(Lock(locked)),
                Err((namespace, Errno::EINTR)) => namespace,
                Err((_, errno)) => return Err(errno).context("cannot lock the network namespace: flock"),
            };
        }
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
