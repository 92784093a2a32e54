//! The end of a container, for those who wait for it: its moment, and its exit code.

use std::os::fd::OwnedFd;

use anyhow::Result;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use stage::Id;

use crate::facts::{self, Fact, Facts};
use crate::record::{Process, Record};
use crate::store::Store;
use crate::watch;

/// A container that runs, or has just ended.
pub struct Ending {
    /// Readable when it ends. `None` when it has.
    pub pidfd: Option<OwnedFd>,
    /// Opened now: with `--rm` the file is gone by the time that it matters.
    facts: Option<Facts>,
}

impl Ending {
    /// Of a container that was started. What ends is nsrun; in the foreground, where its pid is not recorded, the command.
    pub fn of(store: &Store, record: &Record) -> Result<Ending> {
        let process: Option<&Process> =
            record.detached.as_ref().map(|detached| &detached.nsrun).or(record.process.as_ref());
        let pidfd = process.filter(|_| record.end.is_none()).map(watch::alive).transpose()?.flatten();
        let facts = Facts::at_rest(&store.run_dir(&record.id).join(facts::FILE)).ok();
        Ok(Ending { pidfd, facts })
    }

    /// Waits until it has ended, at most so long. Whether it has.
    pub fn wait(&self, timeout: PollTimeout) -> Result<bool> {
        let Some(pidfd) = &self.pidfd else { return Ok(true) };
        let mut fds = [PollFd::new(std::os::fd::AsFd::as_fd(pidfd), PollFlags::POLLIN)];
        loop {
            match poll(&mut fds, timeout) {
                Ok(count) => return Ok(count > 0),
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The exit code of what has ended, once whoever watches it has taken it down.
    pub fn code(mut self, store: &Store, id: &Id) -> Result<u8> {
        store.wait_unowned(id)?;
        if let Some(end) = Record::read(store, id)?.and_then(|record| record.end) {
            return Ok(end.exit_code);
        }
        let Some(facts) = &mut self.facts else { return Ok(137) };
        facts.drain()?;
        let mut code = None;
        while let Some(fact) = facts.next()? {
            if let Fact::Stopped(told) = fact {
                code = Some(told);
            }
        }
        Ok(code.unwrap_or(137))
    }
}
