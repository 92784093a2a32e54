//! `--init`: a small process at PID 1 that reaps orphans and passes signals on to the payload.
//!
//! It is not a program of the image, nor a second execve of nsrun: after the set-up, the first process of the
//! container forks, its child becomes the payload, and it stays as it is, the same process image. So its
//! `/proc/1/exe` is nsrun's own file on the host, which the container must not get to write to (CVE-2019-5736).
//! It is not dumpable (and never executes anything, which would make it so again): to open `/proc/1/exe` takes
//! CAP_SYS_PTRACE, which a container does not have. Who has it all the same still meets ETXTBSY, as long as this process
//! or nsrun outside lives, and no process of the container outlives PID 1. A sealed copy of the file (memfd) would cost a
//! second process start and a copy of it in memory for each container.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::root::Root;
use crate::call::Call;
use crate::report::End;
use crate::start::Start;
use crate::sys::{self, Fork, Parent};
use crate::wait::forwarded;

/// Forks the payload and sees it to its end. Returns in the payload only, with what kept it from starting.
pub fn reap(start: &Start, root: &Root, slave: Option<OwnedFd>, line: &End) -> Result<()> {
    let payload =
        match sys::fork_into(0, None, Parent::This).call("clone3").context("cannot start the command")? {
            Fork::Child => return start.become_payload(root, slave, line),
            Fork::Parent(child) => child.pid,
        };
    drop(slave);
    stay_alone()?;
    // Its end of the line would hide from nsrun that the payload's program has begun.
    sys::close_everything();
    // Held since nsrun started; a signal that is held is not ignored, not even by PID 1.
    let signals = SigSet::all();
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => {
                if let Some(code) = collect(payload) {
                    sys::exit_now(code);
                }
            }
            Ok(signal) if forwarded(signal) => {
                kill(payload, signal).ok();
            }
            _ => {}
        }
    }
}

/// In a session of its own, too, and with nothing to lose but the right to signal any user's process.
fn stay_alone() -> Result<()> {
    rustix::process::setsid().call("setsid").context("cannot make a session")?;
    let kill = rustix::thread::CapabilitySet::KILL;
    let sets = rustix::thread::CapabilitySets {
        effective: kill,
        permitted: kill,
        inheritable: rustix::thread::CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).call("capset").context("cannot drop capabilities")
}

/// Reaps whatever has ended; the exit code when the payload has.
fn collect(payload: Pid) -> Option<i32> {
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)).ok()? {
            WaitStatus::Exited(pid, code) if pid == payload => return Some(code),
            WaitStatus::Signaled(pid, signal, _) if pid == payload => return Some(128 + signal as i32),
            WaitStatus::StillAlive => return None,
            _ => {}
        }
    }
}
