//! `nsrun exec ID COMMAND`: one process that enters a running container, its cgroup included.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};
use oci_spec::runtime::Process;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use stage::{Explain, RunRoot};

use crate::call::Call;
use crate::container::cgroup::Door;
use crate::container::open_terminal;
use crate::document::Source;
use crate::options::ExecOptions;
use crate::record::{self, State};
use crate::report::{self, End};
use crate::spec::env::{self, Client};
use crate::spec::image;
use crate::start::{Start, current_root, die_with_parent, hide};
use crate::stdio::Stdin;
use crate::sys::{self, Fork};
use crate::terminal::Callers;
use crate::wait::{Signals, Watch};

/// All but the cgroup's: on v2 clone3 moves the child to its cgroup as seen from this process's cgroup namespace.
const NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWNS
    .union(CloneFlags::CLONE_NEWPID)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWNET);

pub fn exec(roots: &RunRoot, options: &ExecOptions) -> Result<u8> {
    stage::need_root()?;
    let state = State::read(&record::dir(roots, &options.id))?;
    let Some(state) = state else {
        return Err(anyhow!("cannot run in container {}: there is none of that id", options.id))
            .hint("nsrun ls lists those there are");
    };
    let signals = Signals::hold()?;
    let client = Client::read(&options.process.env_file)?;
    let stdin = Stdin::of(options.process.interactive, Source::Elsewhere)?;
    let callers = options
        .process
        .tty
        .then(|| Callers::find(options.process.interactive, Source::Elsewhere))
        .transpose()?;
    let container = hold(&state)?;
    let door = Door::open(state.cgroup.as_ref())?;
    let (ours, childs) = report::line().context("cannot start the command")?;
    // Before it can be seen from inside: nothing there may look into it or trace it (CVE-2016-9962). What the fork
    // below makes is the same; execve(2) makes the payload an ordinary process again.
    hide()?;
    let target = state.pid.to_string();
    stage::shell(&[
        "nsenter", "--target", &target, "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup",
    ]);
    setns(&container, NAMESPACES)
        .call("setns")
        .with_context(|| format!("cannot enter container {}", options.id))?;
    let start = prepare(options, &state, &client, (stdin, &callers))?;
    let child =
        match sys::fork_into(0, door.for_clone()).call("clone3").context("cannot start the command")? {
            Fork::Parent(child) => child,
            Fork::Child => {
                drop(ours);
                if let Err(error) = enter(&start, &door, &container, &childs) {
                    childs.send_failure(&error);
                }
                sys::exit_now(i32::from(stage::Codes::NOT_RUN))
            }
        };
    drop(childs);
    ours.go()?;
    Watch::new(child, ours, &signals, callers).see_out(|| Ok(()))
}

/// A descriptor of the container's first process.
fn hold(state: &State) -> Result<OwnedFd> {
    let Some(pid) = Pid::from_raw(state.pid) else { bail!("container {} is not running", state.id) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => bail!("container {} is not running", state.id),
        opened => {
            opened.call("pidfd_open").with_context(|| format!("cannot enter container {}", state.id))?
        }
    };
    // Only now is it certain that the descriptor is of the process that is looked at.
    if !state.is_running() {
        bail!("container {} is not running", state.id);
    }
    Ok(pidfd)
}

/// The process to start: the container's own, as far as nothing else was typed. The account files are read inside.
fn prepare(
    options: &ExecOptions,
    state: &State,
    client: &Client,
    (stdin, callers): (Stdin, &Option<Callers>),
) -> Result<Start> {
    let wanted = &options.process;
    let container = &state.process;
    let root = current_root()?;
    let variables = container.env().as_deref().unwrap_or_default();
    let variables = env::of_exec(variables, wanted, client)?;
    let needs_accounts = wanted.user.is_some() || env::value(&variables, "HOME").is_none_or(str::is_empty);
    let accounts = if needs_accounts { crate::run::accounts(&root)? } else { Default::default() };
    let user = match &wanted.user {
        Some(user) => accounts.user(user)?,
        None => container.user().clone(),
    };
    let cwd = container.cwd().to_str();
    let mut process: Process = container.clone();
    if user.uid() != container.user().uid() {
        process.set_capabilities(Some(crate::spec::defaults::capabilities(user.uid())));
    }
    process
        .set_terminal(Some(wanted.tty))
        .set_args(Some(options.command.clone()))
        .set_env(Some(variables))
        .set_cwd(image::cwd(wanted.workdir.as_deref(), cwd)?)
        .set_user(user);
    Start::new(&process, &accounts, stdin, callers.as_ref().and_then(Callers::window))
}

/// In the child, which is in all namespaces but one.
fn enter(start: &Start, door: &Door, container: &OwnedFd, line: &End) -> Result<()> {
    die_with_parent()?;
    // Its limits first, then the namespace in which its cgroup is the root.
    door.enter()?;
    setns(container.as_fd(), CloneFlags::CLONE_NEWCGROUP)
        .call("setns")
        .context("cannot enter the container")?;
    let root = current_root()?;
    let slave = if start.terminal {
        let pty = open_terminal(&root, start.identity.uid(), start.window)?;
        line.send_terminal(pty.master.as_fd())?;
        Some(pty.slave)
    } else {
        None
    };
    start.become_payload(&root, slave, line)
}
