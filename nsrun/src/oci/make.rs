//! The making of a container, to the point where only its program is missing: what `create` and `run` share.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use oci_spec::runtime::Process;
use stage::{Durability, Explain};

use super::bundle::Loaded;
use super::console::Console;
use super::options::MakeOptions;
use super::{cgroup, delete, resources, time};
use crate::call::Call;
use crate::container::cgroup::Door;
use crate::container::hooks::{self, Kind};
use crate::container::root::Root;
use crate::container::{Container, Life, check};
use crate::gate::Gate;
use crate::record::{self, Bundle, State, StateRoot};
use crate::report::{End, Heard, Point};
use crate::seccomp::Filter;
use crate::start::{Release, Start};
use crate::status::Status;
use crate::stdio::Stdin;
use crate::sys::{self, Child};
use crate::terminal::Callers;
use crate::wait::Signals;

/// A container that is made, and waits for the word.
pub struct Made {
    pub record: PathBuf,
    pub state: State,
    pub child: Child,
    pub line: End,
    /// The master end of its terminal, if nobody else has it.
    pub master: Option<OwnedFd>,
}

/// How it is made.
pub struct Way<'a> {
    pub signals: &'a Signals,
    /// The caller's terminal, if it is to be the container's.
    pub callers: Option<&'a Callers>,
    pub outlives: bool,
    /// Where it waits, given its record.
    pub gate: fn(&Path) -> Result<Gate>,
}

/// What the paths of the command line name: the work goes on in the bundle.
pub struct Paths {
    pid_file: Option<PathBuf>,
    console: Option<Console>,
}

impl Paths {
    pub fn of(options: &MakeOptions) -> Result<Paths> {
        let pid_file = options.pid_file.as_ref().map(std::path::absolute).transpose();
        Ok(Paths {
            pid_file: pid_file.context("cannot find the working directory")?,
            console: options.console_socket.as_deref().map(Console::reach).transpose()?,
        })
    }
}

/// # Errors
/// One of those that the payload is to get is not there. To be asked before anything is opened that could take its number.
pub fn check_descriptors(count: u32) -> Result<()> {
    match (3..3 + count).find(|number| !sys::is_open(*number)) {
        Some(number) => bail!("cannot pass on {count} descriptors: number {number} is not open"),
        None => Ok(()),
    }
}

/// Makes it. If that fails, nothing is left of it.
pub fn make(
    roots: &StateRoot,
    options: &MakeOptions,
    loaded: &Loaded,
    paths: &Paths,
    way: &Way,
) -> Result<Made> {
    let process = loaded.spec.process().as_ref().context("process: it is missing")?;
    if process.terminal() == Some(true) && paths.console.is_none() && way.callers.is_none() {
        return Err(anyhow!("cannot give container {} a terminal: nobody has its other end", options.id.0))
            .hint("--console-socket names who takes it");
    }
    check(&loaded.spec)?;
    let record = roots.of(&options.id.0);
    let mut state = first_state(options, loaded, process.clone())?;
    record::begin(&record, &state.id, &[])?;
    match set_up(&record, &mut state, options, loaded, (paths, way)) {
        Ok((child, line, master)) => Ok(Made { record, state, child, line, master }),
        Err(error) => {
            let left = delete::take_back(&record, &state).err();
            Err(error).left(left.map(|left| format!("{left:#}")).into_iter().collect())
        }
    }
}

fn first_state(options: &MakeOptions, loaded: &Loaded, process: Process) -> Result<State> {
    let spec = &loaded.spec;
    let linux = spec.linux().as_ref().context("linux: it is missing")?;
    let wanted = linux.cgroups_path().clone();
    Ok(State {
        linux: crate::run::of_every_process(linux),
        filter: linux.seccomp().as_ref().map(Filter::compile).transpose()?,
        id: options.id.0.clone(),
        pid: 0,
        start_time: 0,
        cgroup: None,
        process,
        bundle: Some(Bundle {
            oci_version: spec.version().clone(),
            path: loaded.dir.clone(),
            rootfs: spec.root().as_ref().map(|root| root.path().clone()).unwrap_or_default(),
            created: time::now(),
            annotations: spec.annotations().clone().unwrap_or_default(),
            hooks: spec.hooks().clone(),
            cgroups_path: wanted
                .filter(|path| !path.as_os_str().is_empty())
                .unwrap_or(options.id.0.clone().into()),
            creator: Some(record::Life::own()),
        }),
    })
}

fn set_up(
    record: &Path,
    state: &mut State,
    options: &MakeOptions,
    loaded: &Loaded,
    (paths, way): (&Paths, &Way),
) -> Result<(Child, End, Option<OwnedFd>)> {
    // 1. Whoever finds the record knows from here on who makes the container, and which cgroup will be its.
    state.write(record)?;
    let bundle = state.bundle.as_ref().context("it has no bundle")?;
    state.cgroup =
        Some(cgroup::create(&bundle.cgroups_path, &resources::complete(loaded.resources.clone()))?);
    // 2. The first process. It dies with this one until it gets the word.
    let mut start = start(state, loaded, way)?;
    let has_last_hooks = hooks::has(state, Kind::StartContainer);
    start.release = Release {
        gate: (way.gate)(record)?,
        outlives: way.outlives,
        descriptors: options.preserve_fds,
        state: has_last_hooks.then(|| state.clone()),
    };
    let container = Container {
        spec: &loaded.spec,
        start: &start,
        door: Door::open(state.cgroup.as_ref())?,
        init: false,
        life: Life { state: Some(state), no_pivot: options.no_pivot, no_new_keyring: options.no_new_keyring },
    };
    let (child, line) = container.launch()?;
    let pid = child.pid.as_raw();
    let made = until_ready(&line, state, pid, (paths, way)).and_then(|master| {
        // 3. On record before the word: whether or not it hears it, delete knows whom to end.
        state.pid = pid;
        state.start_time = record::start_time(child.pid).unwrap_or(0);
        if let Some(bundle) = &mut state.bundle {
            bundle.creator = None;
        }
        state.write(record)?;
        write_pid(paths, pid)?;
        Ok(master)
    });
    match made {
        Ok(master) => Ok((child, line, master)),
        Err(error) => {
            sys::send_signal(child.pidfd.as_fd(), libc::SIGKILL).ok();
            crate::wait::reap(&child).and(Err(error))
        }
    }
}

fn start(state: &State, loaded: &Loaded, way: &Way) -> Result<Start> {
    let root = loaded.spec.root().as_ref().context("root: it is missing")?.path();
    let context = || format!("cannot use root file system {}", root.display());
    let inside = Root::open(root).call("open").with_context(context)?;
    let accounts = crate::run::accounts(&inside)?;
    let linux = loaded.spec.linux().as_ref().context("linux: it is missing")?;
    let start =
        Start::new(&state.process, &accounts, Stdin::Inherited, way.callers.and_then(Callers::window))?;
    let listener = Filter::connect(state.filter.as_ref(), &state.id, &loaded.dir)?;
    Ok(start.with(linux)?.under(state.filter.clone(), listener))
}

fn write_pid(paths: &Paths, pid: i32) -> Result<()> {
    match &paths.pid_file {
        Some(file) => stage::replace_file(file, pid.to_string().as_bytes(), Durability::UntilReboot),
        None => Ok(()),
    }
}

/// Does nsrun's part until the container is ready.
fn until_ready(line: &End, state: &State, pid: i32, (paths, way): (&Paths, &Way)) -> Result<Option<OwnedFd>> {
    let mut master = None;
    loop {
        wait(line, way.signals)?;
        match line.hear()? {
            Heard::Terminal(terminal) => match &paths.console {
                Some(console) => console.hand_over(terminal)?,
                None => master = Some(terminal),
            },
            Heard::Reached(Point::Made) => {
                hooks::run(Kind::Prestart, state, Status::Creating, pid)?;
                hooks::run(Kind::CreateRuntime, state, Status::Creating, pid)?;
                line.go(pid)?;
            }
            Heard::Reached(Point::Ready) => return Ok(master),
            Heard::Failed(error) => return Err(error),
            Heard::Child(..) | Heard::Closed => {
                bail!("cannot make container {}: its first process has died", state.id)
            }
        }
    }
}

/// Until it says something, or somebody wants this to end.
fn wait(line: &End, signals: &Signals) -> Result<()> {
    loop {
        let mut fds =
            [PollFd::new(line.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            polled => polled.call("poll").context("cannot wait for the container")?,
        };
        if fds[0].any() == Some(true) {
            return Ok(());
        }
        signals.check()?;
    }
}
