//! `exec`: starts a command in a group and waits for it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use stage::{Codes, Explain};

use crate::group::CgroupPath;
use crate::hierarchy::{self, Version};
use crate::sys::{self, Fork};

/// The exit code is the command's own; 126 and 127 if it cannot be executed or found, 125 if it never came to that.
pub fn command(group: &CgroupPath, argv: &[OsString]) -> Result<u8> {
    run(group, argv).code(Codes::NOT_RUN)
}

fn run(group: &CgroupPath, argv: &[OsString]) -> Result<u8> {
    let (version, hierarchies) = hierarchy::ours()?;
    let dirs: Vec<PathBuf> =
        hierarchies.iter().map(|one| group.below(&one.mount)).filter(|dir| dir.exists()).collect();
    let Some(first) = dirs.first() else {
        return Err(anyhow!("cannot run a command in {group}: there is no such cgroup"))
            .hint("cgctl ls lists what there is");
    };
    let held = held();
    held.thread_block().context("cannot run a command: sigprocmask")?;
    let forked = match version {
        // In the group from its first instruction on, without the grace period that moving a process there costs.
        Version::V2 => {
            let dir = File::open(first).with_context(|| format!("cannot open {}", first.display()))?;
            sys::fork(Some(dir.as_fd()))
        }
        Version::V1 => sys::fork(None),
    };
    match forked.with_context(|| format!("cannot run a command in {group}: clone3"))? {
        Fork::Parent(pid) => wait(Pid::from_raw(pid), &held),
        Fork::Child => become_command(version, &dirs, argv),
    }
}

/// Does not come back unless it fails.
fn become_command(version: Version, dirs: &[PathBuf], argv: &[OsString]) -> Result<u8> {
    if version == Version::V1 {
        for dir in dirs {
            // A thread that moves itself waits for nobody; cgroup.procs would wait for a grace period (8 to 16 ms).
            let file = dir.join("tasks");
            std::fs::write(&file, "0").with_context(|| format!("cannot enter {}: write", file.display()))?;
        }
    }
    let error = Command::new(&argv[0]).args(&argv[1..]).exec();
    let code = match error.kind() {
        io::ErrorKind::NotFound => Codes::NOT_FOUND,
        _ => Codes::NOT_EXECUTABLE,
    };
    Err(error).with_context(|| format!("cannot run {}: exec", argv[0].display())).code(code)
}

/// The signals that are the command's. Those that stop (SIGTSTP) act on both, as the shell expects.
fn held() -> SigSet {
    use Signal::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
    [SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2].into_iter().collect()
}

fn wait(pid: Pid, held: &SigSet) -> Result<u8> {
    let terminal = io::stdin().is_terminal();
    loop {
        match held.wait().context("cannot wait for the command: sigwait")? {
            Signal::SIGCHLD => {
                let status =
                    waitpid(pid, Some(WaitPidFlag::WNOHANG)).context("cannot wait for the command")?;
                if let Some(code) = code(status) {
                    return Ok(code);
                }
            }
            // The terminal has sent it to the command, too.
            Signal::SIGINT | Signal::SIGQUIT if terminal => {}
            // It may just have ended.
            signal => kill(pid, signal).unwrap_or(()),
        }
    }
}

/// As a shell has it: 128 and the signal that killed it. `None` while it runs.
fn code(status: WaitStatus) -> Option<u8> {
    match status {
        WaitStatus::Exited(_, code) => u8::try_from(code).ok(),
        WaitStatus::Signaled(_, signal, _) => u8::try_from(128 + signal as i32).ok(),
        _ => None,
    }
}
