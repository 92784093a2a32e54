//! `nsrun undo ID`: what runs in the container is killed, its record removed.

use std::os::fd::AsFd;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use stage::{Id, RunRoot};

use crate::call::Call;
use crate::record::{self, State};

pub fn undo(roots: &RunRoot, id: &Id) -> Result<()> {
    stage::need_root()?;
    let dir = record::dir(roots, id);
    // A record that cannot be read names no process; what it was of, has died with its nsrun.
    if let Ok(Some(state)) = State::read(&dir) {
        kill(&state)?;
    }
    if dir.exists() {
        stage::shell(&["rm".as_ref(), "-r".as_ref(), dir.as_os_str()]);
    }
    record::remove(&dir)
}

/// Kills PID 1 of the container, which takes all others with it, and waits until it is gone.
fn kill(state: &State) -> Result<()> {
    let context = || format!("cannot end process {}", state.pid);
    let Some(pid) = Pid::from_raw(state.pid) else { return Ok(()) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        opened => opened.call("pidfd_open").with_context(context)?,
    };
    // Only now is it certain that the descriptor is of the process that is looked at.
    if !state.is_running() {
        return Ok(());
    }
    stage::shell(&["kill", "-KILL", &state.pid.to_string()]);
    match pidfd_send_signal(&pidfd, Signal::KILL) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        sent => sent.call("pidfd_send_signal").with_context(context)?,
    }
    loop {
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            waited => return waited.map(drop).call("poll").with_context(context),
        }
    }
}
