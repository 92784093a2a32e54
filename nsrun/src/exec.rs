//! `nsrun exec ID COMMAND`: one process that enters a running container, its cgroup included.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};
use oci_spec::runtime::Process;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use stage::{Explain, RunRoot};

use crate::call::Call;
use crate::container::cgroup::Door;
use crate::container::{become_root, drop_groups, open_terminal};
use crate::document::Source;
use crate::options::ExecOptions;
use crate::record::{self, State};
use crate::report::{self, End};
use crate::spec::env::{self, Client};
use crate::spec::image;
use crate::start::{Start, current_root, die_with_parent, hide};
use crate::stdio::Stdin;
use crate::sys::{self, Fork, Parent};
use crate::terminal::Callers;
use crate::wait::{Signals, Watch};

/// All but the cgroup's: on v2 clone3 moves the child to its cgroup as seen from this process's cgroup namespace.
const NAMESPACES: [(&str, CloneFlags); 7] = [
    ("user", CloneFlags::CLONE_NEWUSER),
    ("mnt", CloneFlags::CLONE_NEWNS),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("net", CloneFlags::CLONE_NEWNET),
    ("time", CloneFlags::from_bits_retain(0x80)),
];

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
    let proc = crate::container::root::open_proc_fs()?;
    join(&container, &state).with_context(|| format!("cannot enter container {}", options.id))?;
    let start = prepare(options, &state, &client, (stdin, &callers))?;
    let child = match sys::fork_into(0, door.for_clone(), Parent::This)
        .call("clone3")
        .context("cannot start the command")?
    {
        Fork::Parent(child) => child,
        Fork::Child => {
            drop(ours);
            if let Err(error) = enter(&start, (&door, &proc), &container, &childs) {
                childs.send_failure(&error);
            }
            sys::exit_now(i32::from(stage::Codes::NOT_RUN))
        }
    };
    drop(childs);
    start.settings.write_score(proc.as_fd(), &child.pid.to_string())?;
    ours.go(child.pid.as_raw())?;
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

/// Joins what the container has of its own: those that differ from the caller's.
fn join(container: &OwnedFd, state: &State) -> Result<()> {
    let target = format!("/proc/{}/ns", state.pid);
    let is_other = |name: &str| {
        let of = |dir: &str| std::fs::read_link(format!("{dir}/{name}")).ok();
        of(&target) != of("/proc/self/ns")
    };
    let wanted: Vec<_> = NAMESPACES.iter().filter(|(name, _)| is_other(name)).collect();
    let words = wanted.iter().map(|(name, _)| format!("--{}", if *name == "mnt" { "mount" } else { name }));
    let words = ["nsenter".to_owned(), format!("--target={}", state.pid)].into_iter().chain(words);
    stage::shell(&words.chain(["--cgroup".to_owned()]).collect::<Vec<_>>());
    let flags = wanted.iter().fold(CloneFlags::empty(), |flags, (_, flag)| flags | *flag);
    if flags.contains(CloneFlags::CLONE_NEWUSER) {
        drop_groups()?;
    }
    setns(container, flags).call("setns")?;
    if flags.contains(CloneFlags::CLONE_NEWUSER) { become_root() } else { Ok(()) }
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
        let sets = container.capabilities().clone().unwrap_or_default();
        let bounding = sets.bounding().clone().unwrap_or_default();
        process.set_capabilities(Some(crate::spec::defaults::capabilities(user.uid(), &bounding)));
    }
    process
        .set_terminal(Some(wanted.tty))
        .set_args(Some(options.command.clone()))
        .set_env(Some(variables))
        .set_cwd(image::cwd(wanted.workdir.as_deref(), cwd)?)
        .set_user(user);
    let start = Start::new(&process, &accounts, stdin, callers.as_ref().and_then(Callers::window))?;
    let start = state.linux.iter().try_fold(start, Start::with)?;
    start.under(state.filter.clone(), state.id.as_str(), Path::new("/"))
}

/// In the child, which is in all namespaces but one.
fn enter(start: &Start, (door, proc): (&Door, &OwnedFd), container: &OwnedFd, line: &End) -> Result<()> {
    die_with_parent()?;
    start.settings.write_labels(proc.as_fd())?;
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
