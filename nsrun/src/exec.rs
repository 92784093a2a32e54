//! `nsrun exec ID COMMAND`: one process that enters a running container, its cgroup included.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};
use oci_spec::runtime::Process;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use stage::Explain;

use crate::call::Call;
use crate::container::affinity::Affinity;
use crate::container::cgroup::Door;
use crate::container::root::Root;
use crate::container::{become_root, drop_groups, open_terminal};
use crate::document::Source;
use crate::json;
use crate::oci::console::Console;
use crate::oci::make;
use crate::options::ExecOptions;
use crate::record::{State, StateRoot};
use crate::report::{self, End, Heard};
use crate::seccomp::{Connection, Filter};
use crate::spec::env::{self, Client};
use crate::spec::image;
use crate::spec::user::Accounts;
use crate::start::{Release, Start, current_root, die_with_parent, hide};
use crate::status::Status;
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

/// What is arranged for the command outside, before the way in.
struct Outside {
    /// As the engine has it.
    process: Option<Process>,
    client: Client,
    callers: Option<Callers>,
    pid_file: Option<File>,
    console: Option<Console>,
}

pub fn exec(roots: &StateRoot, options: &ExecOptions) -> Result<u8> {
    make::check_descriptors(options.preserve_fds)?;
    stage::need_root()?;
    let id = &options.id.0;
    let record = roots.of(id);
    let Some(state) = State::read(&record)? else {
        return Err(anyhow!("cannot run in container {id}: there is none of that id"))
            .hint("nsrun ls lists those there are");
    };
    if Status::of(&record, &state)? == Status::Paused {
        bail!("cannot run in container {id}: it is paused");
    }
    let signals = Signals::hold()?;
    let outside = arrange(options)?;
    let bundle = state.bundle.as_ref().map_or(record.as_path(), |bundle| &bundle.path);
    let listener = Filter::connect(state.filter.as_ref(), id, bundle)?;
    let affinity = affinity(outside.process.as_ref(), &state.process)?;
    affinity.begin()?;
    let container = hold(&state)?;
    let door = Door::open(state.cgroup.as_ref())?;
    let (ours, childs) = report::line().context("cannot start the command")?;
    // Before it can be seen from inside: nothing there may look into it or trace it (CVE-2016-9962). What the fork
    // below makes is the same; execve(2) makes the payload an ordinary process again.
    hide()?;
    let proc = crate::container::root::open_proc_fs()?;
    join(&container, &state).with_context(|| format!("cannot enter container {id}"))?;
    let start = prepare(options, &state, &outside, listener)?;
    let child = match sys::fork_into(0, door.for_clone(), Parent::This)
        .call("clone3")
        .context("cannot start the command")?
    {
        Fork::Parent(child) => child,
        Fork::Child => {
            drop(ours);
            if let Err(error) = enter(&start, (&door, &affinity, &proc), &container, &childs) {
                childs.send_failure(&error);
            }
            sys::exit_now(i32::from(stage::Codes::NOT_RUN))
        }
    };
    drop(childs);
    if let Some(mut file) = outside.pid_file {
        write!(file, "{}", child.pid).context("cannot write the pid file")?;
    }
    start.settings.write_score(proc.as_fd(), &child.pid.to_string())?;
    ours.go(child.pid.as_raw())?;
    match options.detach {
        true => see_begin(&ours, outside.console.as_ref()).map(|()| 0),
        false => Watch::new(child, ours, &signals, outside.callers).see_out(|| Ok(())),
    }
}

fn arrange(options: &ExecOptions) -> Result<Outside> {
    let read = |path: &PathBuf| -> Result<Process> { json::read(&std::fs::read(path)?) };
    let process = options
        .process
        .as_ref()
        .map(|path| read(path).with_context(|| format!("cannot read the process from {}", path.display())));
    let process = process.transpose()?;
    let tty = options.options.tty || process.as_ref().and_then(Process::terminal) == Some(true);
    let interactive = match process {
        Some(_) => rustix::termios::isatty(rustix::stdio::stdin()),
        None => options.options.interactive,
    };
    if tty && options.detach != options.console_socket.is_some() {
        return Err(anyhow!("cannot give the command a terminal: nobody has its other end")).hint(
            "--console-socket names who takes it from a command that is not waited for, and only from such",
        );
    }
    let attached = tty && !options.detach;
    let create = |path: &PathBuf| {
        File::create(path).with_context(|| format!("cannot write pid file {}", path.display()))
    };
    Ok(Outside {
        process,
        client: Client::read(&options.options.env_file)?,
        callers: attached.then(|| Callers::find(interactive, Source::Elsewhere)).transpose()?,
        pid_file: options.pid_file.as_ref().map(create).transpose()?,
        console: options.console_socket.as_deref().map(Console::reach).transpose()?,
    })
}

/// Until the command's own program runs.
fn see_begin(line: &End, console: Option<&Console>) -> Result<()> {
    loop {
        match line.hear()? {
            Heard::Terminal(master) => {
                if let Some(console) = console {
                    console.hand_over(master)?;
                }
            }
            Heard::Reached(_) | Heard::Child(..) => {}
            Heard::Failed(error) => return Err(error),
            Heard::Closed => return Ok(()),
        }
    }
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

/// The process to start: the engine's, or the container's own, as far as nothing else was typed. The account files are
/// read inside.
fn prepare(
    options: &ExecOptions,
    state: &State,
    outside: &Outside,
    listener: Option<Connection>,
) -> Result<Start> {
    let root = current_root()?;
    let process = match &outside.process {
        Some(process) => of_engine(process, &state.process, options),
        None => typed(options, state, &outside.client, &root)?,
    };
    let has_home =
        env::value(process.env().as_deref().unwrap_or_default(), "HOME").is_some_and(|it| !it.is_empty());
    let accounts = if has_home { Accounts::default() } else { crate::run::accounts(&root)? };
    let stdin = match outside.process.is_some() || options.detach {
        true => Stdin::Inherited,
        false => Stdin::of(options.options.interactive, Source::Elsewhere)?,
    };
    let mut start =
        Start::new(&process, &accounts, stdin, outside.callers.as_ref().and_then(Callers::window))?;
    start = state.linux.iter().try_fold(start, Start::with)?;
    start = start.under(state.filter.clone(), listener);
    start.release =
        Release { outlives: options.detach, descriptors: options.preserve_fds, ..Release::default() };
    Ok(start)
}

/// The engine's, else the container's.
fn affinity(engines: Option<&Process>, container: &Process) -> Result<Affinity> {
    let process = engines.filter(|process| process.exec_cpu_affinity().is_some());
    Affinity::of(process.unwrap_or(container))
}

/// What it leaves open is as the container has it.
fn of_engine(process: &Process, container: &Process, options: &ExecOptions) -> Process {
    let mut process = process.clone();
    if process.capabilities().is_none() {
        process.set_capabilities(container.capabilities().clone());
    }
    if process.rlimits().as_ref().is_none_or(Vec::is_empty) {
        process.set_rlimits(container.rlimits().clone());
    }
    if process.oom_score_adj().is_none() {
        process.set_oom_score_adj(container.oom_score_adj());
    }
    if process.apparmor_profile().as_deref().is_none_or(str::is_empty) {
        process.set_apparmor_profile(container.apparmor_profile().clone());
    }
    if process.selinux_label().as_deref().is_none_or(str::is_empty) {
        process.set_selinux_label(container.selinux_label().clone());
    }
    if options.options.tty {
        process.set_terminal(Some(true));
    }
    process
}

fn typed(options: &ExecOptions, state: &State, client: &Client, root: &Root) -> Result<Process> {
    let wanted = &options.options;
    let container = &state.process;
    let variables = env::of_exec(container.env().as_deref().unwrap_or_default(), wanted, client)?;
    let user = match &wanted.user {
        Some(user) => crate::run::accounts(root)?.user(user)?,
        None => container.user().clone(),
    };
    let mut process: Process = container.clone();
    if user.uid() != container.user().uid() {
        let bounding = container.capabilities().as_ref().and_then(|sets| sets.bounding().clone());
        let bounding = bounding.unwrap_or_default();
        process.set_capabilities(Some(crate::spec::defaults::capabilities(user.uid(), &bounding)));
    }
    process
        .set_terminal(Some(wanted.tty))
        .set_args(Some(options.command.clone()))
        .set_env(Some(variables))
        .set_cwd(image::cwd(wanted.workdir.as_deref(), container.cwd().to_str())?)
        .set_user(user);
    Ok(process)
}

/// In the child, which is in all namespaces but one.
fn enter(
    start: &Start,
    (door, affinity, proc): (&Door, &Affinity, &OwnedFd),
    container: &OwnedFd,
    line: &End,
) -> Result<()> {
    die_with_parent()?;
    start.settings.write_labels(proc.as_fd())?;
    // Its limits first, then the namespace in which its cgroup is the root.
    door.enter()?;
    affinity.end()?;
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
