//! `delete`: all that was made for a container is taken back.

use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use stage::Explain;

use super::cgroup::{self, Ask};
use super::options::DeleteOptions;
use super::{find, kill, log, pause};
use crate::call::Call;
use crate::container::hooks::{self, Kind};
use crate::record::{self, Life, State, StateRoot};
use crate::status::Status;
use crate::sys;

/// Milliseconds after which a process that has been killed and does not end is looked at again.
const LOOK_AGAIN: u8 = 50;

pub fn delete(roots: &StateRoot, options: &DeleteOptions) -> Result<()> {
    stage::need_root()?;
    let id = &options.id.0;
    if options.force {
        return undo(roots, id);
    }
    let (record, state) = find(roots, id, "delete")?;
    match Status::of(&record, &state)? {
        Status::Stopped | Status::Created => take_back(&record, &state),
        status => {
            Err(anyhow!("cannot delete container {id}: it is {status}")).hint("kill it first, or use --force")
        }
    }
}

/// `nsrun undo` and `delete --force`: whatever there is of it, goes.
pub fn undo(roots: &StateRoot, id: &str) -> Result<()> {
    stage::need_root()?;
    let record = roots.of(id);
    match State::read(&record) {
        Ok(Some(state)) => take_back(&record, &state),
        // It has just begun, or its nsrun was killed then. A record that cannot be read names no process; what it was
        // of has died with its nsrun.
        Ok(None) | Err(_) => forget(&record),
    }
}

/// Ends and removes everything, in reverse order of its making; goes on when one step fails, and then keeps the record.
pub fn take_back(record: &Path, state: &State) -> Result<()> {
    let bundle = state.bundle.as_ref();
    let creator = bundle.and_then(|bundle| bundle.creator).filter(|creator| *creator != Life::own());
    stage::attempt_all([
        Box::new(move || creator.map_or(Ok(()), end_creator)),
        Box::new(|| end_first(state)),
        Box::new(|| match bundle {
            Some(bundle) => cgroup::ask(&bundle.cgroups_path, Ask::Undo).map(drop),
            None => Ok(()),
        }),
    ])?;
    // Last, and only then: what is still there is found by its record.
    forget(record)?;
    // Each runs whatever became of the one before it (runtime-spec, runtime.md "Lifecycle").
    for failed in hooks::run_each(Kind::Poststop, state, Status::Stopped, 0) {
        log::warn(&failed);
    }
    Ok(())
}

fn forget(record: &Path) -> Result<()> {
    if record.exists() {
        stage::shell(&["rm".as_ref(), "-r".as_ref(), record.as_os_str()]);
    }
    record::remove(record)
}

/// The nsrun that is making the container: the processes it has started die with it.
fn end_creator(creator: Life) -> Result<()> {
    let Some(pid) = Pid::from_raw(creator.pid) else { return Ok(()) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        opened => opened.call("pidfd_open").context("cannot end the making of the container")?,
    };
    if creator.goes_on() {
        sys::send_signal(pidfd.as_fd(), libc::SIGKILL).ok();
        while !ends_within(pidfd.as_fd(), PollTimeout::NONE)? {}
    }
    Ok(())
}

/// The first process, and with it all of its pid namespace.
fn end_first(state: &State) -> Result<()> {
    let Some(pidfd) = kill::hold(state)? else { return Ok(()) };
    stage::shell(&["kill", "-KILL", &state.pid.to_string()]);
    match sys::send_signal(pidfd.as_fd(), libc::SIGKILL) {
        Ok(()) => {
            // A freezer that outlives the nsrun which began to pause the container may come to its end only now.
            loop {
                let thawed = pause::thaw_to_die(state);
                if ends_within(pidfd.as_fd(), PollTimeout::from(LOOK_AGAIN))? {
                    return Ok(());
                }
                thawed?;
            }
        }
        Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(errno) => bail!("cannot end process {}: pidfd_send_signal: {errno}", state.pid),
    }
}

fn ends_within(pidfd: std::os::fd::BorrowedFd, time: PollTimeout) -> Result<bool> {
    match poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], time) {
        Err(nix::errno::Errno::EINTR) => Ok(false),
        ready => ready.call("poll").map(|ready| ready > 0).context("cannot wait for its end"),
    }
}
