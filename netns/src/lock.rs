//! The lock of a network namespace, between those who set up containers in it and those who make or remove what
//! these share.
//!
//! It is a flock(2) on the namespace itself, not on a file of ours: bridge, rules and forwarding belong to the
//! namespace, whatever state directory a caller uses. All set-ups hold it together; one that finds something
//! missing holds it alone, to its end, so that it can take back what it made while nobody can be using it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::retry_on_intr;

use crate::pin::OWN;

/// The lock, and the namespace that it is of: the thread's own, when the lock was taken. Closing the file frees it.
pub struct Lock(File);

impl Lock {
    /// With others, but with nobody who holds it alone.
    pub fn together() -> Result<Lock> {
        Lock::take(FlockOperation::LockShared)
    }

    pub fn alone() -> Result<Lock> {
        Lock::take(FlockOperation::LockExclusive)
    }

    fn take(how: FlockOperation) -> Result<Lock> {
        let namespace = File::open(OWN).with_context(|| format!("cannot open {OWN}"))?;
        retry_on_intr(|| flock(&namespace, how)).context("cannot lock the network namespace: flock")?;
        Ok(Lock(namespace))
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
