//! A throwaway host: own network, mount and process-id namespaces, own `/run` and `/var/lib/gocker` (tmpfs),
//! own cgroup parent. Its end takes everything with it, whatever happened to the test; before that, the test
//! fails if something was left.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::output::Output;
use crate::snapshot::{Snapshot, remove_cgroups_of_the_dead};
use crate::{bins, images};

/// PATH inside: the tools, then the system's.
fn path() -> String {
    format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", bins::dir().display())
}

/// What PID 1 of the host does before it says that it is ready: private tmpfs over all that the tools write to.
const BOOT: &str = r#"
set -e
mount -t tmpfs tmpfs /run
mkdir -p /var/lib/gocker /run/netns /run/cwd
mount -t tmpfs tmpfs /var/lib/gocker
ip link set lo up
cd /run/cwd
echo ready
# Not exec: the shell, which waits, also reaps the orphans of the host.
cat
exit 0
"#;

pub struct Host {
    name: String,
    init: Child,
    /// Closing it ends `cat` and with that PID 1 of the host, and with it every process of the host.
    keep: Option<ChildStdin>,
    pub pid: u32,
    before: Option<Snapshot>,
    checked: bool,
}

impl Host {
    /// A host with nothing on it, named after the running test.
    pub fn new() -> Host {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gocker-test-{}-{count}", std::process::id());
        bins::dir();
        if count == 0 {
            remove_cgroups_of_the_dead();
        }
        let mut init = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--mount-proc",
                "--kill-child",
                "--propagation",
                "private",
            ])
            .args(["sh", "-c", BOOT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(init.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the throwaway host did not come up");
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", init.id())).unwrap();
        let pid = children.split_whitespace().next().unwrap().parse().unwrap();
        let keep = init.stdin.take();
        let mut host = Host { name, init, keep, pid, before: None, checked: false };
        host.before = Some(host.snapshot());
        host
    }

    /// A host whose store holds the images of [`images::IMAGES`] (shared between tests: do not remove them).
    pub fn with_images() -> Host {
        let store = images::store();
        let host = Host::new();
        host.sh(&format!(
            "mkdir -p /var/lib/gocker/pull && mount --bind {} /var/lib/gocker/pull",
            store.display()
        ))
        .ok();
        host.settled()
    }

    /// Takes the host as it is now for what it must be again in the end. Not after a container has been there: the
    /// kernel removes its interface some milliseconds later, and the snapshot would hold what is about to go.
    pub fn settled(mut self) -> Host {
        self.before = Some(self.snapshot());
        self
    }

    /// The cgroup below which this host's containers live, as `GOCKER_CGROUP_PARENT`.
    pub fn cgroup_parent(&self) -> String {
        format!("/{}", self.name)
    }

    /// A path of the host as this process reaches it.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid))
    }

    /// A command on the host, not started yet. `PATH` finds the tools under test first.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, argv: &[S]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args([
                "--net",
                "--mount",
                "--pid",
                "--root",
                &format!("--wd=/proc/{}/cwd", self.pid),
                "--target",
                &self.pid.to_string(),
                "--",
            ])
            .args(argv)
            .env_clear()
            .env("PATH", path())
            .env("HOME", "/root")
            .env("GOCKER_CGROUP_PARENT", self.cgroup_parent())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end, stdin from `/dev/null`.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, argv: &[S]) -> Output {
        finish(self.command(argv), None)
    }

    /// Runs a command to its end with this on stdin (a pipe).
    pub fn feed<S: AsRef<std::ffi::OsStr>>(&self, argv: &[S], stdin: &str) -> Output {
        finish(self.command(argv), Some(stdin))
    }

    /// Runs a POSIX shell script to its end.
    pub fn sh(&self, script: &str) -> Output {
        self.run(&["sh", "-c", script])
    }

    /// Starts a command; both its outputs are pipes, its stdin is one, too.
    pub fn start<S: AsRef<std::ffi::OsStr>>(&self, argv: &[S]) -> Running {
        Running::start(self, argv)
    }

    /// What is on the host now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self)
    }

    /// Fails unless the host is as it was when it was [`settled`](Host::settled). What the kernel removes behind
    /// our back (a veth whose namespace died) is waited for.
    #[track_caller]
    pub fn assert_clean(&self) {
        self.assert_same(self.before.as_ref().unwrap());
    }

    /// Fails unless the host is as `before` says.
    #[track_caller]
    pub fn assert_same(&self, before: &Snapshot) {
        if let Err(difference) = before.wait_for(self) {
            panic!("left on the host:\n{difference}");
        }
    }
}

impl Default for Host {
    fn default() -> Host {
        Host::new()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let leak = match (&self.before, std::thread::panicking() || self.checked) {
            (Some(before), false) => before.wait_for(self).err(),
            _ => None,
        };
        self.checked = true;
        drop(self.keep.take());
        thaw_cgroups(&self.cgroup_parent());
        self.init.wait().unwrap();
        remove_cgroups(&self.cgroup_parent());
        if let Some(difference) = leak {
            panic!("left on the host:\n{difference}");
        }
    }
}

/// A command that runs.
pub struct Running {
    pub child: Child,
    /// Its process id on this machine (not nsenter's).
    pub pid: u32,
    command: String,
}

impl Running {
    fn start<S: AsRef<std::ffi::OsStr>>(host: &Host, argv: &[S]) -> Running {
        let mut words =
            vec!["sh".into(), "-c".into(), "read -r go <&3; exec 3<&-; exec \"$@\"".into(), "sh".into()];
        words.extend(argv.iter().map(|word| word.as_ref().to_owned()));
        // nsenter's child must be known before it may go: it waits for a line on descriptor 3.
        let gate = Gate::new();
        let mut command = Command::new("sh");
        command.args(["-c", "exec 3<\"$0\"; exec \"$@\"", gate.path.to_str().unwrap()]);
        let inner = host.command(&words);
        command.arg(inner.get_program()).args(inner.get_args()).env_clear();
        for (key, value) in inner.get_envs() {
            command.env(key, value.unwrap_or_default());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let mut gate_end = File::options().write(true).open(&gate.path).unwrap();
        let pid = loop {
            let children =
                std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
            if let Some(pid) = children.split_whitespace().next() {
                break pid.parse().unwrap();
            }
            std::thread::yield_now();
        };
        gate_end.write_all(b"go\n").unwrap();
        Running { child, pid, command: show(argv) }
    }

    /// Its process id as the host has it, once it has become the command `name`.
    pub fn inner_pid(&self, name: &str) -> i32 {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.pid)).unwrap();
        while read("comm").trim_end() != name {
            std::thread::yield_now();
        }
        let status = read("status");
        let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
        pids.split_whitespace().next_back().unwrap().parse().unwrap()
    }

    /// Sends a signal to the command itself.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid.cast_signed()), signal).unwrap();
    }

    /// Reads stdout up to and with this line.
    #[track_caller]
    pub fn wait_for_line(&mut self, wanted: &str) {
        let stdout = self.child.stdout.as_mut().unwrap();
        let mut seen = Vec::new();
        let mut byte = [0u8];
        loop {
            if stdout.read(&mut byte).unwrap() == 0 {
                let mut stderr = String::new();
                self.child.stderr.as_mut().unwrap().read_to_string(&mut stderr).unwrap();
                panic!(
                    "{}: ended without {wanted:?}: {}\n{stderr}",
                    self.command,
                    String::from_utf8_lossy(&seen)
                );
            }
            seen.push(byte[0]);
            if byte[0] == b'\n'
                && seen.strip_suffix(b"\n").unwrap().rsplit(|b| *b == b'\n').next() == Some(wanted.as_bytes())
            {
                return;
            }
        }
    }

    /// Closes its stdin and waits for its end.
    pub fn end(mut self) -> Output {
        drop(self.child.stdin.take());
        output(self.child.wait_with_output().unwrap(), self.command)
    }
}

struct Gate {
    path: PathBuf,
}

impl Gate {
    fn new() -> Gate {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gocker-gate-{}-{count}", std::process::id()));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        Gate { path }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
    }
}

/// Runs a command to its end.
pub fn finish(mut command: Command, stdin: Option<&str>) -> Output {
    let shown = show(&command.get_args().skip(7).collect::<Vec<_>>());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if stdin.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().unwrap();
    if let Some(text) = stdin {
        // A command that does not read its stdin is no error here.
        child.stdin.take().unwrap().write_all(text.as_bytes()).ok();
    }
    output(child.wait_with_output().unwrap(), shown)
}

fn output(end: std::process::Output, command: String) -> Output {
    use std::os::unix::process::ExitStatusExt;
    let code = end.status.code().unwrap_or_else(|| 128 + end.status.signal().unwrap());
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output { command, code, stdout: text(end.stdout), stderr: text(end.stderr) }
}

fn show<S: AsRef<std::ffi::OsStr>>(argv: &[S]) -> String {
    argv.iter().map(|word| word.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Thaws what a test has left frozen: on cgroup v1 it would not die with the host.
fn thaw_cgroups(parent: &str) {
    for dir in crate::snapshot::cgroup_dirs(parent) {
        std::fs::write(Path::new(&dir).join("freezer.state"), "THAWED").ok();
    }
}

/// Removes this test's cgroups, in every hierarchy, bottom up. Nothing runs in them any more.
fn remove_cgroups(parent: &str) {
    for dir in crate::snapshot::cgroup_dirs(parent).iter().rev() {
        std::fs::remove_dir(dir).ok();
    }
    for root in crate::snapshot::cgroup_roots() {
        std::fs::remove_dir(Path::new(&root).join(&parent[1..])).ok();
    }
}
