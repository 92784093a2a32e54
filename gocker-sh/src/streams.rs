//! The standard streams of a detached container.
//!
//!     RUN_ROOT/gocker-sh/ID/stdin, stdout, stderr    named pipes
//!     RUN_ROOT/gocker-sh/ID/facts                    what nsrun reports
//!
//! A pipe is opened for reading and writing both, so that the container itself keeps it open: with the watcher dead, a
//! write fills the pipe and then waits for the next watcher, where one end alone would be a SIGPIPE. With a terminal,
//! nsrun is given the slave of one as its own, and inherits the master without knowing: whoever watches takes a copy
//! (pidfd_getfd(2)), and the terminal hangs up only with nsrun.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::stat::Mode;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustix::pty::OpenptFlags;

use crate::facts::{self, Facts};
use crate::options::Process as ProcessOptions;
use crate::record::Detached;
use crate::spawn::Stream;

pub const STDIN: &str = "stdin";
pub const STDOUT: &str = "stdout";
pub const STDERR: &str = "stderr";

/// The container's ends.
#[derive(Debug)]
pub struct Streams {
    directory: PathBuf,
    ends: Ends,
}

#[derive(Debug)]
enum Ends {
    Pipes { stdin: Option<File>, stdout: File, stderr: File },
    Terminal { master: OwnedFd, slave: OwnedFd },
}

impl Streams {
    /// Makes them in the run directory of a container that starts.
    pub fn make(directory: &Path, process: &ProcessOptions) -> Result<Streams> {
        // Also empties it, when the container has run before.
        let path = directory.join(facts::FILE);
        File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let ends = if process.tty {
            terminal().context("cannot make a terminal")?
        } else {
            Ends::Pipes {
                stdin: process.interactive.then(|| fifo(&directory.join(STDIN))).transpose()?,
                stdout: fifo(&directory.join(STDOUT))?,
                stderr: fifo(&directory.join(STDERR))?,
            }
        };
        Ok(Streams { directory: directory.to_owned(), ends })
    }

    /// stdin, stdout and stderr of nsrun.
    pub fn standard(&self) -> [Stream<'_>; 3] {
        match &self.ends {
            Ends::Pipes { stdin, stdout, stderr } => [
                stdin.as_ref().map_or(Stream::Null, |fifo| Stream::Fd(fifo.as_fd())),
                Stream::Fd(stdout.as_fd()),
                Stream::Fd(stderr.as_fd()),
            ],
            Ends::Terminal { slave, .. } => [Stream::from(slave); 3],
        }
    }

    /// What the first watcher inherits: what the container has printed is there even if it has ended by then.
    pub fn outputs(&self) -> Vec<BorrowedFd<'_>> {
        match &self.ends {
            Ends::Pipes { stdout, stderr, .. } => vec![stdout.as_fd(), stderr.as_fd()],
            Ends::Terminal { master, .. } => vec![master.as_fd()],
        }
    }

    /// What nsrun has said that will have no watcher: why it did not start the container.
    pub fn said(&self) -> Vec<u8> {
        let mut said = Vec::new();
        let read = |file: File, said: &mut Vec<u8>| {
            let flags = rustix::fs::fcntl_getfl(&file)? | rustix::fs::OFlags::NONBLOCK;
            rustix::fs::fcntl_setfl(&file, flags)?;
            (&file).read_to_end(said)
        };
        let source = match &self.ends {
            Ends::Pipes { stderr, .. } => stderr.try_clone(),
            Ends::Terminal { master, .. } => master.try_clone().map(File::from),
        };
        // It ends with EAGAIN, or EIO for a terminal that is hung up: then all has come.
        source.and_then(|file| read(file, &mut said)).ok();
        said
    }

    /// What nsrun inherits for others.
    pub fn master(&self) -> Option<BorrowedFd<'_>> {
        match &self.ends {
            Ends::Pipes { .. } => None,
            Ends::Terminal { master, .. } => Some(master.as_fd()),
        }
    }

    /// The master's number in nsrun.
    pub fn master_number(&self) -> Option<i32> {
        self.master().map(|fd| fd.as_raw_fd())
    }

    pub fn facts(&self) -> Result<Facts> {
        Facts::of_file(&self.directory.join(facts::FILE))
    }

    /// What nsrun writes its facts to.
    pub fn report(&self) -> Result<OwnedFd> {
        let path = self.directory.join(facts::FILE);
        let file = OpenOptions::new().append(true).open(&path);
        file.map(OwnedFd::from).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A named pipe, both ends in one descriptor. The modes let any user of the container open `/dev/stdout`; nobody else
/// can reach it.
fn fifo(path: &Path) -> Result<File> {
    let context = || format!("cannot make {}", path.display());
    match nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o666)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno).context("mkfifo").with_context(context),
    }
    let file = OpenOptions::new().read(true).write(true).open(path).with_context(context)?;
    file.set_permissions(PermissionsExt::from_mode(0o666)).with_context(context)?;
    Ok(file)
}

fn terminal() -> Result<Ends> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags).context("posix_openpt")?;
    rustix::pty::unlockpt(&master).context("unlockpt")?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).context("ioctl TIOCGPTPEER")?;
    Ok(Ends::Terminal { master, slave })
}

/// The watcher's end of a pipe: reads do not block.
pub fn open_to_read(path: &Path) -> Result<File> {
    let open = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path);
    open.with_context(|| format!("cannot read {}", path.display()))
}

/// A copy of the terminal's master that nsrun holds. `None` for a container without a terminal.
pub fn master_of(detached: &Detached) -> Result<Option<OwnedFd>> {
    detached.terminal.map(|number| copy_of(detached.nsrun.pid, number)).transpose()
}

/// A copy of the descriptor that a process has under this number.
pub fn copy_of(pid: i32, number: i32) -> Result<OwnedFd> {
    let context = || format!("cannot reach the container's terminal in process {pid}");
    let pid = Pid::from_raw(pid).with_context(context)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("pidfd_open").with_context(context)?;
    let master = pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty());
    master.context("pidfd_getfd").with_context(context)
}
