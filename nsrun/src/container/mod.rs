//! Executes an OCI runtime configuration: one process in new namespaces, which makes its own world and then becomes
//! the payload. It knows no image, no document and no option.

pub mod affinity;
pub mod cgroup;
mod check;
mod copy_up;
mod dev;
pub mod flags;
pub mod hooks;
pub mod identity;
mod init;
mod masks;
mod mounts;
mod namespaces;
mod pty;
pub mod root;
pub mod settings;
mod trees;

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::Pid;
use oci_spec::runtime::{Linux, LinuxNamespaceType, Spec};
use rustix::fs::Mode;
use rustix::mount::UnmountFlags;

use crate::call::Call;
use crate::record::State;
use crate::report::{self, End, Heard, Point};
use crate::start::{Start, current_root, die_with_parent, hide};
use crate::status::Status;
use crate::sys::{self, Child, Fork, Parent};
use cgroup::Door;
use namespaces::Namespaces;
use root::Root;
use trees::Trees;

pub use check::check;
pub use namespaces::{become_root, drop_groups};
pub use pty::open as open_terminal;

/// What is executed.
#[derive(Debug)]
pub struct Container<'a> {
    pub spec: &'a Spec,
    pub start: &'a Start,
    pub door: Door,
    /// Whether a reaper is PID 1, and the payload its child.
    pub init: bool,
    pub life: Life<'a>,
}

/// What the OCI life cycle adds.
#[derive(Debug, Default)]
pub struct Life<'a> {
    /// For the hooks that run on the way.
    pub state: Option<&'a State>,
    /// Where pivot_root(2) cannot be used: on the initial ramfs.
    pub no_pivot: bool,
    /// The caller's session keyring stays.
    pub no_new_keyring: bool,
}

impl Container<'_> {
    /// Starts the first process. It sets everything up and waits for [`End::go`] before it becomes the payload.
    pub fn launch(&self) -> Result<(Child, End)> {
        check(self.spec)?;
        let linux = self.spec.linux().as_ref().context("the configuration has no section linux")?;
        let setup =
            SetUp { namespaces: Namespaces::of(linux)?, proc: root::open_proc_fs()?, container: self };
        let trees = Trees::take(self.spec, &setup.namespaces, setup.proc.as_fd())?;
        self.show(&setup.namespaces);
        let (ours, childs) = report::line().context("cannot start the command")?;
        let step = setup.namespaces.take_a_step();
        let flags = if step { CloneFlags::empty() } else { setup.namespaces.flags() };
        let cgroup = if step { None } else { self.door.for_clone() };
        match sys::fork_into(flags.bits(), cgroup, Parent::This)
            .call("clone3")
            .context("cannot make namespaces")?
        {
            Fork::Parent(child) => {
                // The container's mounts must not be held by a process outside of it.
                drop((trees, childs));
                setup.attend(child, ours, step)
            }
            Fork::Child => {
                drop(ours);
                if let Err(error) = setup.be_first_process(&trees, &childs, step) {
                    childs.send_failure(&error);
                }
                sys::exit_now(i32::from(stage::Codes::NOT_RUN))
            }
        }
    }

    fn show(&self, namespaces: &Namespaces) {
        let flags = namespaces.flags();
        let words = [
            (CloneFlags::CLONE_NEWUSER, "--user"),
            (CloneFlags::CLONE_NEWNS, "--mount"),
            (CloneFlags::CLONE_NEWPID, "--pid"),
            (CloneFlags::CLONE_NEWUTS, "--uts"),
            (CloneFlags::CLONE_NEWIPC, "--ipc"),
            (CloneFlags::CLONE_NEWNET, "--net"),
        ];
        let words = words.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, word)| *word);
        let more = ["--cgroup", "--fork", "--kill-child", "--propagation", "slave"];
        stage::shell(&["unshare"].into_iter().chain(words).chain(more).collect::<Vec<_>>());
    }

    fn linux(&self) -> Option<&Linux> {
        self.spec.linux().as_ref()
    }
}

/// A container that is being made, with what is read or opened before.
struct SetUp<'a> {
    container: &'a Container<'a>,
    namespaces: Namespaces<'a>,
    /// The host's /proc: what it shows cannot have been forged by an image.
    proc: OwnedFd,
}

impl SetUp<'_> {
    /// nsrun's part, while the first process begins: what only the host's root may do.
    fn attend(&self, child: Child, line: End, step: bool) -> Result<(Child, End)> {
        let first = if step { self.see_step_out(&child, &line)? } else { child };
        let pid = first.pid.as_raw();
        let mapped = if self.namespaces.is_mapped() { self.map(pid) } else { Ok(()) };
        let attended = mapped.and_then(|()| if self.waits(step) { line.go(pid) } else { Ok(()) });
        if let Err(error) = attended {
            sys::send_signal(first.pidfd.as_fd(), libc::SIGKILL).ok();
            crate::wait::reap(&first)?;
            return Err(error);
        }
        Ok((first, line))
    }

    /// Whether the first process waits before it does anything: for its maps, or until the one in between has said
    /// who it is.
    fn waits(&self, step: bool) -> bool {
        step || self.namespaces.is_mapped()
    }

    fn map(&self, pid: i32) -> Result<()> {
        let proc = self.proc.as_fd();
        let settings = &self.container.start.settings;
        if self.namespaces.is_new(LinuxNamespaceType::User) {
            namespaces::map(pid, self.namespaces.ids, proc)?;
        }
        settings.write_score(proc, &pid.to_string())?;
        settings.limit(Some(pid))
    }

    /// Waits for the process in between, which leaves its child to this one.
    fn see_step_out(&self, step: &Child, line: &End) -> Result<Child> {
        let heard = line.hear();
        crate::wait::reap(step)?;
        match heard? {
            Heard::Child(pid, pidfd) => Ok(Child { pid: Pid::from_raw(pid), pidfd }),
            Heard::Failed(error) => Err(error),
            _ => bail!("cannot make namespaces: the process in between has ended"),
        }
    }

    fn be_first_process(&self, trees: &Trees, line: &End, step: bool) -> Result<()> {
        let Container { start, door, init, life, .. } = self.container;
        // 1. Before anything else: it dies with nsrun, and nobody in the container may look into it (CVE-2016-9962).
        //    The limits come next: all that follows is charged to the container.
        if step {
            die_with_parent()?;
            namespaces::step(&self.namespaces, self.proc.as_fd(), door.for_clone(), line)?;
        }
        die_with_parent()?;
        hide()?;
        rustix::process::umask(Mode::empty());
        door.enter()?;
        if self.waits(step) && line.may_go().is_none() {
            return Ok(());
        }
        if self.namespaces.is_mapped() {
            // Its maps have come from outside, and so has what only the host's root may set.
            if self.namespaces.is_new(LinuxNamespaceType::User) {
                namespaces::drop_groups()?;
                namespaces::become_root()?;
            }
            hide()?;
            die_with_parent()?;
        } else {
            start.settings.write_score(self.proc.as_fd(), "self")?;
        }
        start.settings.write_labels(self.proc.as_fd())?;
        // Nothing in the container may find the caller's keys.
        if !life.no_new_keyring {
            leave_keyring()?;
        }
        // 2. The namespaces that clone3 did not make. The network must be right before sysfs is mounted, which shows
        //    the devices of the mounter's.
        if !step {
            self.namespaces.join()?;
        }
        if self.namespaces.is_new(LinuxNamespaceType::Network) {
            stage::shell(&["ip", "link", "set", "lo", "up"]);
            sys::loopback_up().call("ioctl SIOCSIFFLAGS").context("cannot bring up interface lo")?;
        }
        // 3. Its root file system and all mounts in it, still seen from the host's tree.
        let root = trees.plant(self.container.spec, &self.namespaces)?;
        // Only now: inside that namespace the paths of mountinfo and of /proc/self/cgroup begin at its root.
        self.namespaces.enter_cgroup_namespace()?;
        self.set_names()?;
        let terminal = self.open_terminal(&root, line)?;
        self.restrict(&root)?;
        // 4. What others want to do as long as both trees can be seen, first outside, then here.
        if !self.run_hooks(line)? {
            return Ok(());
        }
        // 5. The host's tree goes.
        match life.no_pivot {
            false => pivot(&root)?,
            true => move_root(&root)?,
        }
        let root = current_root()?;
        self.finish_root(&root)?;
        if *init {
            return init::reap(start, &root, terminal, line);
        }
        start.become_payload(&root, terminal, line)
    }

    /// `false`: nsrun is gone.
    fn run_hooks(&self, line: &End) -> Result<bool> {
        let Some(state) = self.container.life.state else { return Ok(true) };
        if hooks::has(state, hooks::Kind::Prestart) || hooks::has(state, hooks::Kind::CreateRuntime) {
            line.reach(Point::Made)?;
            if line.may_go().is_none() {
                return Ok(false);
            }
        }
        let pid = nix::unistd::getpid().as_raw();
        hooks::run(hooks::Kind::CreateContainer, state, Status::Creating, pid)?;
        Ok(true)
    }

    fn set_names(&self) -> Result<()> {
        if let Some(name) = self.container.spec.hostname().as_deref().filter(|name| !name.is_empty()) {
            stage::shell(&["hostname", name]);
            rustix::system::sethostname(name.as_bytes())
                .call("sethostname")
                .context("cannot set the host name")?;
        }
        if let Some(name) = self.container.spec.domainname().as_deref().filter(|name| !name.is_empty()) {
            rustix::system::setdomainname(name.as_bytes())
                .call("setdomainname")
                .context("cannot set the domain name")?;
        }
        for (key, value) in self.linux().and_then(|linux| linux.sysctl().as_ref()).into_iter().flatten() {
            stage::shell(&["sysctl", "-w", &format!("{key}={value}")]);
            // By the host's /proc: the value belongs to the writer's namespaces all the same.
            settings::write(self.proc.as_fd(), &format!("sys/{}", check::sysctl_path(key)), value)
                .with_context(|| format!("cannot set sysctl {key}"))?;
        }
        Ok(())
    }

    fn linux(&self) -> Option<&Linux> {
        self.container.linux()
    }

    fn open_terminal(&self, root: &Root, line: &End) -> Result<Option<OwnedFd>> {
        if !self.container.start.terminal {
            return Ok(None);
        }
        let pty = pty::open(root, self.container.start.identity.uid(), self.container.start.window)?;
        dev::console(root, pty.slave.as_fd())?;
        line.send_terminal(pty.master.as_fd())?;
        Ok(Some(pty.slave))
    }

    fn restrict(&self, root: &Root) -> Result<()> {
        if let Some(linux) = self.linux() {
            masks::hide(root, linux.masked_paths().as_deref().unwrap_or_default())?;
            masks::make_read_only(root, linux.readonly_paths().as_deref().unwrap_or_default())?;
        }
        match self.container.spec.root() {
            Some(wanted) if wanted.readonly() == Some(true) => mounts::make_top_read_only(root.as_fd()),
            _ => Ok(()),
        }
        .context("cannot make the root file system read-only")
    }

    /// How the container's mounts are passed on, once nobody but the container is there to receive them.
    fn finish_root(&self, root: &Root) -> Result<()> {
        let word = self.linux().and_then(|linux| linux.rootfs_propagation().clone()).unwrap_or_default();
        for propagation in &flags::Flags::parse(&[word]).propagations {
            stage::shell(&["mount", &format!("--make-{propagation}"), "/"]);
            let recursive = propagation.reach == flags::Bind::Recursive;
            sys::set_propagation(root.as_fd(), propagation.kind, recursive)
                .call("mount_setattr")
                .context("cannot set linux.rootfsPropagation")?;
        }
        Ok(())
    }
}

fn leave_keyring() -> Result<()> {
    match sys::leave_session_keyring() {
        // KERNEL: built without keyrings, or a filter around nsrun denies them: then there is none to be found.
        Err(Errno::ENOSYS | Errno::EPERM) => Ok(()),
        left => left.call("keyctl").context("cannot make a session keyring"),
    }
}

/// Swaps the roots and lets go of the old one (pivot_root(2), "pivot_root(\".\", \".\")").
fn pivot(root: &Root) -> Result<()> {
    let swap = || {
        stage::shell(&["pivot_root", ".", "."]);
        stage::shell(&["umount", "--lazy", "."]);
        rustix::process::fchdir(root).call("fchdir")?;
        nix::unistd::pivot_root(".", ".").call("pivot_root")?;
        // The old root now lies over the new one, at the directory where we are.
        rustix::mount::unmount(".", UnmountFlags::DETACH).call("umount2")?;
        rustix::process::chdir("/").call("chdir")
    };
    swap().context("cannot leave the host's root file system")
}

/// The same without pivot_root(2): the new root is moved over the old one, which stays below it, out of reach for
/// whoever cannot mount.
fn move_root(root: &Root) -> Result<()> {
    let swap = || {
        stage::shell(&["mount", "--move", ".", "/"]);
        stage::shell(&["chroot", "."]);
        rustix::process::fchdir(root).call("fchdir")?;
        rustix::mount::mount_move(".", "/").call("mount")?;
        rustix::process::chroot(".").call("chroot")?;
        rustix::process::chdir("/").call("chdir")
    };
    swap().context("cannot leave the host's root file system")
}
