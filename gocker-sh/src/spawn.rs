//! Starts a stage as a child process: the tool beside this executable, posix_spawn(3), and no descriptor but those
//! that are named.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, pipe2};

use crate::cli::Global;

/// Where the tools are, and the environment they are given.
#[derive(Debug)]
pub struct Tools {
    beside: PathBuf,
    roots: [(&'static str, PathBuf); 2],
    environment: Vec<CString>,
    verbose: bool,
}

/// What a child's stdin, stdout or stderr is.
#[derive(Clone, Copy, Debug)]
pub enum Stream<'a> {
    Inherit,
    /// `/dev/null`: for stdin also the sign that no stage is upstream.
    Null,
    Fd(BorrowedFd<'a>),
}

/// Which signals a child starts with blocked.
#[derive(Clone, Debug)]
pub enum Blocked {
    /// Those that were when gocker-sh started: the child is to be ended by them.
    AsFound(SigSet),
    /// All that gocker-sh holds: the child must get through.
    AsNow,
}

/// One process to start.
#[derive(Debug)]
pub struct Command<'a> {
    pub tool: &'static str,
    pub arguments: Vec<String>,
    pub stdin: Stream<'a>,
    pub stdout: Stream<'a>,
    pub stderr: Stream<'a>,
    /// Further descriptors, which keep their numbers.
    pub inherited: Vec<BorrowedFd<'a>>,
    pub blocked: Blocked,
    pub session: Session,
}

/// Whether a child is part of what the terminal and the shell control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    Callers,
    /// A new one: no Ctrl-C, no hang-up reaches it.
    Own,
}

/// `POSIX_SPAWN_SETSID` of glibc and musl, which nix does not name.
const SETSID: i32 = 0x80;

impl Tools {
    /// The environment tells every tool the roots that this one was given.
    pub fn new(global: &Global) -> Result<Tools> {
        let executable = std::env::current_exe().context("cannot find the tools: readlink /proc/self/exe")?;
        let beside = executable.parent().unwrap_or(Path::new("/")).to_owned();
        let roots = [
            ("GOCKER_ROOT", global.roots.root.clone()),
            ("GOCKER_RUN_ROOT", global.roots.run.run_root.clone()),
        ];
        let kept = std::env::vars_os().filter(|(key, _)| roots.iter().all(|(name, _)| key != name));
        let mut environment = Vec::new();
        for (key, value) in kept {
            environment.push(assignment(&key, &value)?);
        }
        for (key, value) in &roots {
            environment.push(assignment(OsStr::new(key), value.as_os_str())?);
        }
        Ok(Tools { beside, roots, environment, verbose: global.verbose })
    }

    /// The executable of a tool: beside this one, else what PATH has.
    pub fn path(&self, tool: &str) -> Result<PathBuf> {
        let path = self.beside.join(tool);
        if path.exists() {
            return Ok(path);
        }
        let directories = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&directories)
            .map(|directory| directory.join(tool))
            .find(|path| path.exists())
            .with_context(|| {
                format!("cannot run {tool}: it is neither in {} nor in PATH", self.beside.display())
            })
    }

    /// The variables that tell a tool the roots that this one was given.
    pub fn roots(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.roots.iter().map(|(name, path)| (*name, path.as_path()))
    }

    /// The tool's arguments as it gets them, `--verbose` included when it was asked for.
    pub fn words(&self, mut arguments: Vec<String>) -> Vec<String> {
        if self.verbose {
            arguments.insert(0, "--verbose".to_owned());
        }
        arguments
    }

    pub fn start(&self, command: &Command) -> Result<Pid> {
        let context = || format!("cannot run {}: posix_spawn", command.tool);
        let path = self.path(command.tool)?;
        let mut words = vec![CString::new(command.tool)?];
        for word in &command.arguments {
            words.push(CString::new(word.as_str()).with_context(context)?);
        }
        let actions = file_actions(command).with_context(context)?;
        let attributes = attributes(command).with_context(context)?;
        posix_spawn(path.as_path(), &actions, &attributes, &words, &self.environment).with_context(context)
    }
}

fn assignment(key: &OsStr, value: &OsStr) -> Result<CString> {
    Ok(CString::new([key.as_bytes(), b"=", value.as_bytes()].concat())?)
}

fn file_actions(command: &Command) -> nix::Result<PosixSpawnFileActions> {
    let mut actions = PosixSpawnFileActions::init()?;
    for (number, stream) in [command.stdin, command.stdout, command.stderr].into_iter().enumerate() {
        let number = RawFd::try_from(number).unwrap_or_default();
        match stream {
            Stream::Inherit => {}
            Stream::Null => actions.add_open(number, "/dev/null", OFlag::O_RDWR, Mode::empty())?,
            Stream::Fd(fd) => actions.add_dup2(fd.as_raw_fd(), number)?,
        }
    }
    for fd in &command.inherited {
        // To itself: posix_spawn then only clears FD_CLOEXEC, in the child.
        actions.add_dup2(fd.as_raw_fd(), fd.as_raw_fd())?;
    }
    Ok(actions)
}

fn attributes(command: &Command) -> nix::Result<PosixSpawnAttr> {
    let mut attributes = PosixSpawnAttr::init()?;
    // Rust's start-up code ignores SIGPIPE, and what is ignored stays so across execve.
    let mut flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF;
    attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE))?;
    if command.session == Session::Own {
        flags |= PosixSpawnFlags::from_bits_retain(SETSID);
    }
    if let Blocked::AsFound(mask) = &command.blocked {
        flags |= PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK;
        attributes.set_sigmask(mask)?;
    }
    attributes.set_flags(flags)?;
    Ok(attributes)
}

/// A pipe that no child inherits unless it is named: the end to read, the end to write.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe2(OFlag::O_CLOEXEC).context("cannot make a pipe: pipe2")
}

impl<'a> From<&'a OwnedFd> for Stream<'a> {
    fn from(fd: &'a OwnedFd) -> Stream<'a> {
        Stream::Fd(fd.as_fd())
    }
}
