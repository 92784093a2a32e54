//! Hooks: programs of the caller's, run at points of the container's life (runtime-spec, config.md and runtime.md).
//!
//! Each gets the container's state on stdin. All of a kind run in order; the first that fails ends it.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use oci_spec::runtime::{Hook, Hooks};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::call::Call;
use crate::record::State;
use crate::status::{OciState, Status};

/// So much of what a hook says on stderr is repeated, in bytes.
const MAX_WORDS: u64 = 1024;

/// When it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

impl Kind {
    /// In the order of a life.
    pub const ALL: [Kind; 6] = [
        Kind::Prestart,
        Kind::CreateRuntime,
        Kind::CreateContainer,
        Kind::StartContainer,
        Kind::Poststart,
        Kind::Poststop,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Prestart => "prestart",
            Kind::CreateRuntime => "createRuntime",
            Kind::CreateContainer => "createContainer",
            Kind::StartContainer => "startContainer",
            Kind::Poststart => "poststart",
            Kind::Poststop => "poststop",
        }
    }

    #[allow(deprecated, reason = "docker's network comes by a prestart hook")]
    pub fn of(self, hooks: &Hooks) -> &[Hook] {
        let list = match self {
            Kind::Prestart => hooks.prestart(),
            Kind::CreateRuntime => hooks.create_runtime(),
            Kind::CreateContainer => hooks.create_container(),
            Kind::StartContainer => hooks.start_container(),
            Kind::Poststart => hooks.poststart(),
            Kind::Poststop => hooks.poststop(),
        };
        list.as_deref().unwrap_or_default()
    }
}

/// Whether a container has any of a kind.
pub fn has(state: &State, kind: Kind) -> bool {
    !of(state, kind).is_empty()
}

fn of(state: &State, kind: Kind) -> &[Hook] {
    let hooks = state.bundle.as_ref().and_then(|bundle| bundle.hooks.as_ref());
    hooks.map_or(&[], |hooks| kind.of(hooks))
}

/// Runs all of a kind, in this process's namespaces. `pid` is the container's first process as this process sees it.
pub fn run(kind: Kind, state: &State, status: Status, pid: i32) -> Result<()> {
    of(state, kind).iter().try_for_each(|hook| one(kind, hook, &OciState::of(state, status, pid)))
}

/// The same, but one that fails does not keep the others from running. What failed.
pub fn run_each(kind: Kind, state: &State, status: Status, pid: i32) -> Vec<anyhow::Error> {
    let run = |hook| one(kind, hook, &OciState::of(state, status, pid)).err();
    of(state, kind).iter().filter_map(run).collect()
}

fn one(kind: Kind, hook: &Hook, state: &OciState) -> Result<()> {
    stage::shell(&[hook.path()]);
    let text = serde_json::to_vec(state)?;
    execute(hook, &text).with_context(|| format!("cannot run {} hook {}", kind.name(), hook.path().display()))
}

fn execute(hook: &Hook, state: &[u8]) -> Result<()> {
    // Files in memory: a hook that does not read, or whose children keep stderr open, holds up nothing.
    let (mut stdin, mut stderr) = (memory("state")?, memory("stderr")?);
    stdin.write_all(state).and_then(|()| stdin.rewind()).context("write")?;
    let mut command = Command::new(hook.path());
    let words = hook.args().as_deref().unwrap_or_default();
    if let Some((first, rest)) = words.split_first() {
        command.arg0(first).args(rest);
    }
    let variables = hook.env().iter().flatten().filter_map(|entry| entry.split_once('='));
    command.env_clear().envs(variables);
    command.stdin(stdin).stdout(Stdio::null()).stderr(stderr.try_clone().context("dup")?);
    let mut child = command.spawn().context("execve")?;
    let limit = hook.timeout().map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
    let status = wait(&mut child, limit)?;
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    stderr.rewind().and_then(|()| stderr.take(MAX_WORDS).read_to_string(&mut said)).ok();
    match said.trim_end() {
        "" => bail!("{status}"),
        said => bail!("{status}: {said}"),
    }
}

fn memory(name: &str) -> Result<File> {
    rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC).call("memfd_create").map(File::from)
}

/// The end of a hook; one that takes longer than it may is killed.
fn wait(child: &mut Child, limit: Option<Duration>) -> Result<ExitStatus> {
    if let Some(limit) = limit {
        let pid = Pid::from_raw(i32::try_from(child.id())?).context("it has no pid")?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).call("pidfd_open")?;
        let deadline = std::time::Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let left = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], left) {
                Err(Errno::EINTR) => {}
                Ok(0) if std::time::Instant::now() < deadline => {}
                Ok(0) => {
                    child.kill().context("kill")?;
                    child.wait().context("wait")?;
                    bail!("it took longer than its timeout, {} s", limit.as_secs());
                }
                ready => {
                    ready.call("poll")?;
                    break;
                }
            }
        }
    }
    child.wait().context("wait")
}
