//! `kill`: a signal to the container's first process, or to all of them.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::options::KillOptions;
use super::{cgroup, find, pause};
use crate::call::Call;
use crate::record::{State, StateRoot};
use crate::status::Status;
use crate::sys;

pub fn kill(roots: &StateRoot, options: &KillOptions) -> Result<()> {
    let signal = number(&options.signal)?;
    let id = &options.id.0;
    let (record, state) = find(roots, id, "kill")?;
    let status = Status::of(&record, &state)?;
    stage::shell(&["kill", &format!("-{signal}"), &state.pid.to_string()]);
    match status {
        _ if options.all => all(&state, signal)?,
        // Engines look for these words.
        Status::Stopped | Status::Creating => bail!("cannot kill container {id}: container not running"),
        _ => first_process(&state, signal)?,
    }
    if signal == libc::SIGKILL { pause::thaw_to_die(&state) } else { Ok(()) }
}

/// Signals the first process. One that has ended is an error.
pub fn first_process(state: &State, signal: i32) -> Result<()> {
    let sent = match hold(state)? {
        Some(pidfd) => sys::send_signal(pidfd.as_fd(), signal),
        None => Err(Errno::ESRCH),
    };
    match sent {
        Err(Errno::ESRCH) => bail!("cannot kill container {}: container not running", state.id),
        sent => sent.call("pidfd_send_signal").with_context(|| format!("cannot kill container {}", state.id)),
    }
}

/// A descriptor of the first process. `None`: it has ended.
pub fn hold(state: &State) -> Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(state.pid) else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => Ok(None),
        opened => {
            let pidfd = opened.call("pidfd_open")?;
            // Only now is it certain that the descriptor is of the process that is looked at.
            Ok(state.is_running().then_some(pidfd))
        }
    }
}

/// Signals every process in the container's cgroup; of a container without one, the first.
fn all(state: &State, signal: i32) -> Result<()> {
    let Some(group) = &state.cgroup else { return first_process(state, signal) };
    let mut held = Vec::new();
    for pid in cgroup::processes(group).into_iter().filter_map(Pid::from_raw) {
        match pidfd_open(pid, PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => {}
            opened => {
                let context = || format!("cannot kill process {}", pid.as_raw_pid());
                held.push((pid.as_raw_pid(), opened.call("pidfd_open").with_context(context)?));
            }
        }
    }
    // A number that is still there is that of the process that is held: no other can have got it meanwhile.
    let still = cgroup::processes(group);
    for (pid, pidfd) in held.into_iter().filter(|(pid, _)| still.contains(pid)) {
        match sys::send_signal(pidfd.as_fd(), signal) {
            Err(Errno::ESRCH) => {}
            sent => sent.call("pidfd_send_signal").with_context(|| format!("cannot kill process {pid}"))?,
        }
    }
    Ok(())
}

/// `9`, `KILL`, `SIGKILL`, `kill`, `RTMIN+3`.
fn number(text: &str) -> Result<i32> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = |base: i32, rest: &str| match rest {
        "" => Some(base),
        rest => rest.parse::<i32>().ok().map(|offset| base + offset),
    };
    let number = match (name.parse::<i32>(), name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Ok(number), ..) => Some(number),
        (_, Some(rest), _) => real_time(libc::SIGRTMIN(), rest),
        (_, _, Some(rest)) => real_time(libc::SIGRTMAX(), rest),
        _ => format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32),
    };
    match number {
        Some(number) if (0..=libc::SIGRTMAX()).contains(&number) => Ok(number),
        _ => Err(anyhow!("cannot send signal {text:?}: there is no such signal")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, signal) in
            [("9", 9), ("KILL", 9), ("SIGTERM", 15), ("sighup", 1), ("RTMIN+3", 37), ("RTMAX-1", 63)]
        {
            assert_eq!(number(text).unwrap(), signal, "{text}");
        }
        for text in ["", "NIL", "65", "-1", "RTMIN+x", "SIG"] {
            assert!(number(text).is_err(), "{text}");
        }
    }
}
