//! How a process becomes the payload: the last steps, the same for `nsrun` and `nsrun exec`.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use oci_spec::runtime::{Linux, Process};
use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::termios::Winsize;
use stage::{Codes, Explain};

use crate::call::Call;
use crate::container::hooks;
use crate::container::identity::Identity;
use crate::container::root::{Kind, Links, Root};
use crate::container::settings::Settings;
use crate::gate::{self, Gate};
use crate::record::State;
use crate::report::{End, Point};
use crate::seccomp::{Connection, Filter};
use crate::spec::env;
use crate::spec::user::Accounts;
use crate::status::Status;
use crate::stdio::{self, Stdin};
use crate::sys;

/// A process of the configuration, ready to be started.
#[derive(Debug)]
pub struct Start {
    program: String,
    argv: Vec<CString>,
    env: Vec<CString>,
    /// The paths to try, in order.
    candidates: Vec<CString>,
    cwd: PathBuf,
    pub identity: Identity,
    pub settings: Settings,
    pub terminal: bool,
    pub window: Option<Winsize>,
    pub stdin: Stdin,
    filter: Option<Filter>,
    listener: Option<Connection>,
    pub release: Release,
}

/// How the payload begins, and what it begins with. By default: at nsrun's word, tied to nsrun's life.
#[derive(Debug, Default)]
pub struct Release {
    pub gate: Gate,
    /// Whether it goes on when nsrun ends.
    pub outlives: bool,
    /// So many of the caller's descriptors, from 3 on, stay open in the payload.
    pub descriptors: u32,
    /// For the hooks that run at the last moment.
    pub state: Option<State>,
}

/// A program that may be executed.
struct Program<'a> {
    path: &'a CString,
    /// What it is, if it is there.
    kind: Option<FileType>,
}

impl Start {
    /// # Errors
    /// A word or a variable has a zero byte in it.
    pub fn new(
        process: &Process,
        accounts: &Accounts,
        stdin: Stdin,
        window: Option<Winsize>,
    ) -> Result<Start> {
        let words = process.args().clone().unwrap_or_default();
        let mut variables = process.env().clone().unwrap_or_default();
        if env::value(&variables, "HOME").is_none_or(str::is_empty) {
            variables.retain(|entry| !entry.starts_with("HOME="));
            variables.push(format!("HOME={}", accounts.home(process.user().uid())));
        }
        let program = words.first().cloned().context("no command specified")?;
        Ok(Start {
            candidates: c_strings(&candidates(&program, env::value(&variables, "PATH").unwrap_or_default()))?,
            argv: c_strings(&words)?,
            env: c_strings(&variables)?,
            program,
            cwd: process.cwd().clone(),
            identity: Identity::of(process),
            settings: Settings::of(process)?,
            terminal: process.terminal().unwrap_or(false),
            window: window.or_else(|| process.console_size().as_ref().and_then(window_of)),
            stdin,
            filter: None,
            listener: None,
            release: Release::default(),
        })
    }

    /// With what a container's configuration says of all its processes.
    ///
    /// # Errors
    /// A field of it cannot be honoured.
    pub fn with(mut self, linux: &Linux) -> Result<Start> {
        self.settings = self.settings.with(linux)?;
        Ok(self)
    }

    /// Under a filter, of which `listener` has been told.
    pub fn under(mut self, filter: Option<Filter>, listener: Option<Connection>) -> Start {
        self.listener = listener;
        self.filter = filter;
        self
    }

    /// Becomes the payload. `root` is this process's root by now. Returns only what went wrong, or nothing if nsrun
    /// has gone meanwhile.
    pub fn become_payload(&self, root: &Root, slave: Option<OwnedFd>, line: &End) -> Result<()> {
        // 1. The directory, while this process may still make it. By descriptor: a path of /proc/self/fd among its
        //    components would lead out of the container (CVE-2024-21626).
        self.enter_cwd(root)?;
        // 2. A session of its own: no signal of the caller's terminal reaches it but through nsrun, which passes
        //    each on once; and it cannot push input into that terminal (TIOCSTI, CVE-2017-5226).
        rustix::process::setsid().call("setsid").context("cannot make a session")?;
        match slave {
            Some(slave) => stdio::take_terminal(slave.as_fd())?,
            None => stdio::arrange(&self.stdin, root)?,
        }
        // 3. What takes privileges: limits, priorities.
        self.settings.apply()?;
        // 4. The ids and capabilities; from here on it can do no more than the payload, but load a filter.
        self.identity.assume(self.filter.is_some())?;
        // 5. Changing ids has made it as dumpable as fs.suid_dumpable says, and cleared the death signal. nsrun's word
        //    comes after it is set again: if nsrun died before, the word never comes; if it dies later, the signal does.
        hide()?;
        die_with_parent()?;
        if !matches!(self.release.gate, Gate::Word) {
            // Who makes the container is to hear of it; who starts it may be another.
            self.check_program(root)?;
            line.reach(Point::Ready)?;
        }
        let Some(pid) = line.may_go() else { return Ok(()) };
        if self.release.outlives {
            live_on()?;
        }
        match &self.release.gate {
            Gate::Socket(socket) => self.begin_when_started(socket, root, (line, pid)),
            Gate::Word | Gate::Ready => self.begin(root, pid),
        }
    }

    /// What goes wrong from here on is for the one who starts it.
    fn begin_when_started(&self, socket: &OwnedFd, root: &Root, (line, pid): (&End, i32)) -> Result<()> {
        // A signal meanwhile does to it what it would do to any first process.
        sys::reset_signals();
        line.hang_up();
        let starter = gate::wait(socket)?;
        if let Err(error) = self.begin(root, pid) {
            starter.send_failure(&error);
        }
        sys::exit_now(i32::from(Codes::NOT_RUN))
    }

    /// `pid` is this process's, as the host counts.
    fn begin(&self, root: &Root, pid: i32) -> Result<()> {
        if let Some(state) = &self.release.state {
            let own = nix::unistd::getpid().as_raw();
            hooks::run(hooks::Kind::StartContainer, state, Status::Created, own)?;
        }
        let program = self.choose(root)?;
        // 6. Nothing that nsrun or its caller has open goes along, but what it was told to pass on. After every open,
        //    before execve.
        sys::close_at_exec_from(3 + self.release.descriptors)
            .call("close_range")
            .context("cannot close what is open")?;
        sys::reset_signals();
        // 7. The filter last of all: it need not allow anything of the above, nor does the capability to load it
        //    survive execve, which computes the payload's anew.
        if let Some(filter) = &self.filter {
            filter.load(self.listener.as_ref(), pid)?;
        }
        let errno = sys::execve(program.path, &self.argv, &self.env);
        self.failed(root, &program, errno)
    }

    /// Whether there is a program to execute, as far as that can be told without executing it.
    fn check_program(&self, root: &Root) -> Result<()> {
        let program = self.choose(root)?;
        match (program.kind, rustix::fs::accessat(CWD, program.path, Access::EXEC_OK, AtFlags::EACCESS)) {
            (None, _) => self.failed(root, &program, Errno::ENOENT),
            (Some(_), Err(rustix::io::Errno::ACCESS)) => self.failed(root, &program, Errno::EACCES),
            // What else could be wrong, execve(2) tells better.
            _ => Ok(()),
        }
    }

    fn enter_cwd(&self, root: &Root) -> Result<()> {
        let enter = || {
            let place = root.find_or_make(&self.cwd, Kind::Directory, Links::InRoot).call("openat2")?;
            rustix::process::fchdir(&place).call("fchdir")?;
            let cwd = rustix::process::getcwd(Vec::new()).call("getcwd")?;
            // The kernel's word for what is not below the root.
            anyhow::ensure!(!cwd.to_bytes().starts_with(b"("), "it is not in the container");
            Ok(())
        };
        enter().with_context(|| format!("cannot work in {}", self.cwd.display()))
    }

    /// The program, found with the rights that the payload will have.
    fn choose(&self, root: &Root) -> Result<Program<'_>> {
        let mut refused = None;
        for path in &self.candidates {
            let shown = Path::new(OsStr::from_bytes(path.as_bytes()));
            let there = root.find(shown, Links::InRoot);
            if shown.is_absolute() && leads_out(root, shown, SCRIPTS) {
                self.failed(root, &Program { path, kind: None }, Errno::ELOOP)?;
            }
            let stat = there.and_then(|place| rustix::fs::statat(place, c"", AtFlags::EMPTY_PATH));
            let kind = stat.ok().map(|stat| FileType::from_raw_mode(stat.st_mode));
            let program = Program { path, kind };
            if !self.is_searched() {
                return Ok(program);
            }
            let access = rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS);
            match (kind, access) {
                (Some(FileType::RegularFile), Ok(())) => return Ok(program),
                // As a shell does: another directory may have one that can be executed.
                (Some(_), _) => refused = refused.or(Some(program)),
                (None, _) => {}
            }
        }
        match refused {
            Some(program) => self.failed(root, &program, Errno::EACCES).map(|()| program),
            None => Err(anyhow!("exec: {:?}: executable file not found in $PATH", self.program))
                .code(Codes::NOT_FOUND),
        }
    }

    fn is_searched(&self) -> bool {
        !self.program.contains('/')
    }

    /// Says what execve(2) means by its error: the code follows from the errno alone.
    fn failed(&self, root: &Root, program: &Program, errno: Errno) -> Result<()> {
        let shown = program.path.to_string_lossy();
        let code = match errno {
            Errno::ENOENT | Errno::ENOTDIR => Codes::NOT_FOUND,
            _ => Codes::NOT_EXECUTABLE,
        };
        let failed: Result<()> =
            Err(anyhow!(errno)).context("execve").context(format!("cannot execute {shown}"));
        match (errno, program.kind) {
            (Errno::EACCES, Some(FileType::Directory)) => failed.hint("it is a directory"),
            (Errno::EACCES, Some(FileType::RegularFile)) => {
                failed.hint(format!("is it executable for user {}?", self.identity.uid()))
            }
            (Errno::ENOENT, Some(_)) => failed.hint(interpreter_missing(root, Path::new(shown.as_ref()))),
            (Errno::ENOEXEC, _) => {
                failed.hint("it is neither a program for this machine nor a script with a #! line")
            }
            (Errno::ELOOP, _) => failed.hint("a link of /proc could lead out of the container"),
            _ => failed,
        }
        .code(code)
    }
}

/// The file is there, so what is missing is what it needs to run.
fn interpreter_missing(root: &Root, path: &Path) -> String {
    match root.interpreter(path) {
        Some(interpreter) => format!("its interpreter {} is not in the container", interpreter.display()),
        None => "the program interpreter (dynamic loader) that it needs is not in the container".to_owned(),
    }
}

/// As many interpreters of interpreters as execve(2) follows.
const SCRIPTS: u32 = 5;

/// `/proc/self/exe` and its like, as the program, or as what a script wants to be interpreted by: executing it would run
/// nsrun's own file inside the container, where another process could write to it (CVE-2019-5736). Beside this, the file
/// is in use for as long as nsrun waits (ETXTBSY), and processes of nsrun inside are not dumpable, so their
/// `/proc/PID/exe` opens for nobody there. ELOOP is also execve's answer to a real loop.
fn leads_out(root: &Root, path: &Path, scripts: u32) -> bool {
    match root.find(path, Links::InRoot) {
        Err(errno) => errno == rustix::io::Errno::LOOP,
        Ok(_) if scripts == 0 => false,
        Ok(_) => root.interpreter(path).is_some_and(|next| leads_out(root, &next, scripts - 1)),
    }
}

/// Keeps the processes of the container from looking into this one, or tracing it, until execve(2) (CVE-2016-9962).
pub fn hide() -> Result<()> {
    prctl::set_dumpable(false).context("prctl").context("cannot hide the set-up from the container")
}

/// Has the kernel kill this process when nsrun ends.
pub fn die_with_parent() -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("prctl").context("cannot tie the command to nsrun")
}

/// No longer so: somebody has its pid on record.
fn live_on() -> Result<()> {
    prctl::set_pdeathsig(None).context("prctl").context("cannot untie the command from nsrun")
}

/// Of a console of the configuration; one without a size has the terminal's own.
fn window_of(size: &oci_spec::runtime::Box) -> Option<Winsize> {
    let (rows, columns) = (u16::try_from(size.height()).ok()?, u16::try_from(size.width()).ok()?);
    (rows > 0 || columns > 0).then_some(Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })
}

/// A program without a slash is searched; relative directories of PATH are not: what is run must not depend on where.
fn candidates(program: &str, path: &str) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    path.split(':').filter(|dir| dir.starts_with('/')).map(|dir| format!("{dir}/{program}")).collect()
}

fn c_strings(words: &[String]) -> Result<Vec<CString>> {
    let convert =
        |word: &String| CString::new(word.as_str()).with_context(|| format!("cannot pass on {word:?}"));
    words.iter().map(convert).collect()
}

/// Opens the root that this process has by now.
pub fn current_root() -> Result<Root> {
    crate::container::root::current().call("open").context("cannot open /")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_without_slash_is_searched_in_absolute_directories() {
        assert_eq!(candidates("a/b", "/x"), ["a/b"]);
        assert_eq!(candidates("b", "/x::.:/y/z:rel"), ["/x/b", "/y/z/b"]);
        assert!(candidates("b", "").is_empty());
    }
}
