//! Executes an OCI runtime configuration: one process in new namespaces, which makes its own world and then becomes
//! the payload. It knows no image, no document and no option.

pub mod cgroup;
mod dev;
mod flags;
pub mod identity;
mod init;
mod masks;
mod mounts;
mod pty;
pub mod root;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use oci_spec::runtime::{Linux, LinuxNamespaceType, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags};

use crate::call::Call;
use crate::report::{self, End};
use crate::start::{Start, current_root, die_with_parent, hide};
use crate::sys::{self, Child, Fork};
use cgroup::Door;
use root::{Root, magic};

pub use pty::open as open_terminal;

/// statfs(2), PROC_SUPER_MAGIC.
const PROC: i64 = 0x9fa0;

/// What is executed.
#[derive(Debug)]
pub struct Container<'a> {
    pub spec: &'a Spec,
    pub start: &'a Start,
    pub door: Door,
    /// Whether a reaper is PID 1, and the payload its child.
    pub init: bool,
}

impl Container<'_> {
    /// Starts the first process. It sets everything up and waits for [`End::go`] before it becomes the payload.
    pub fn launch(&self) -> Result<(Child, End)> {
        self.show();
        let (ours, childs) = report::line().context("cannot start the command")?;
        let forked = sys::fork_into(self.new_namespaces().bits(), self.door.for_clone());
        match forked.call("clone3").context("cannot make namespaces")? {
            Fork::Parent(child) => Ok((child, ours)),
            Fork::Child => {
                drop(ours);
                if let Err(error) = self.be_first_process(&childs) {
                    childs.send_failure(&error);
                }
                sys::exit_now(i32::from(stage::Codes::NOT_RUN))
            }
        }
    }

    fn show(&self) {
        let flags = self.new_namespaces();
        let words = [
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

    /// Those that clone3 makes. The cgroup namespace comes later: its root is where the process is at the time.
    fn new_namespaces(&self) -> CloneFlags {
        let namespaces = self.linux().and_then(|linux| linux.namespaces().as_ref()).into_iter().flatten();
        namespaces.filter(|one| one.path().is_none()).fold(CloneFlags::empty(), |flags, one| {
            flags
                | match one.typ() {
                    LinuxNamespaceType::Mount => CloneFlags::CLONE_NEWNS,
                    LinuxNamespaceType::Pid => CloneFlags::CLONE_NEWPID,
                    LinuxNamespaceType::Uts => CloneFlags::CLONE_NEWUTS,
                    LinuxNamespaceType::Ipc => CloneFlags::CLONE_NEWIPC,
                    LinuxNamespaceType::Network => CloneFlags::CLONE_NEWNET,
                    _ => CloneFlags::empty(),
                }
        })
    }

    fn has_new(&self, typ: LinuxNamespaceType) -> bool {
        let mut namespaces = self.linux().and_then(|linux| linux.namespaces().as_ref()).into_iter().flatten();
        namespaces.any(|one| one.typ() == typ && one.path().is_none())
    }

    fn be_first_process(&self, line: &End) -> Result<()> {
        // 1. Before anything else: it dies with nsrun, and nobody in the container may look into it (CVE-2016-9962).
        die_with_parent()?;
        hide()?;
        rustix::process::umask(Mode::empty());
        // 2. Its limits: all that follows is charged to the container.
        self.door.enter()?;
        // 3. The namespaces that clone3 did not make. The network must be right before sysfs is mounted, which shows
        //    the devices of the mounter's.
        self.join_namespaces()?;
        // 4. Its root file system and all mounts in it, still seen from the host's tree.
        let root = self.make_root()?;
        // Only now: inside that namespace the paths of mountinfo and of /proc/self/cgroup begin at its root.
        if self.has_new(LinuxNamespaceType::Cgroup) {
            cgroup::unshare_namespace()?;
        }
        self.set_names()?;
        let terminal = self.open_terminal(&root, line)?;
        self.restrict(&root)?;
        // 5. The host's tree goes.
        pivot(&root)?;
        let root = current_root()?;
        if self.init {
            return init::reap(self.start, &root, terminal, line);
        }
        self.start.become_payload(&root, terminal, line)
    }

    fn join_namespaces(&self) -> Result<()> {
        let namespaces = self.linux().and_then(|linux| linux.namespaces().as_ref()).into_iter().flatten();
        for namespace in namespaces {
            match (namespace.typ(), namespace.path()) {
                (LinuxNamespaceType::Network, None) => {
                    stage::shell(&["ip", "link", "set", "lo", "up"]);
                    sys::loopback_up().call("ioctl SIOCSIFFLAGS").context("cannot bring up interface lo")?;
                }
                (LinuxNamespaceType::Network, Some(path)) => join_network(path)?,
                (_, None) => {}
                (typ, Some(path)) => bail!("cannot join {typ} namespace {}: not supported", path.display()),
            }
        }
        Ok(())
    }

    fn make_root(&self) -> Result<Root> {
        let wanted = self.spec.root().as_ref().context("the configuration has no root")?;
        let path = wanted.path();
        let mounts = self.spec.mounts().as_deref().unwrap_or_default();
        let prepared = mounts::prepare(mounts)?;
        // Nothing that is mounted here reaches the host; what the host mounts below a slave still arrives.
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", slave)
            .call("mount")
            .context("cannot separate from the host's mounts")?;
        // pivot_root(2) wants a mount point.
        let context = || format!("cannot use root file system {}", path.display());
        stage::shell(&["mount".as_ref(), "--rbind".as_ref(), path.as_os_str(), path.as_os_str()]);
        stage::shell(&["cd".as_ref(), path.as_os_str()]);
        rustix::mount::mount_bind_recursive(path, path).call("mount").with_context(context)?;
        let root = Root::open(path).call("open").with_context(context)?;
        for one in &prepared {
            one.mount(&root)?;
        }
        if mounts.iter().any(|mount| mount.destination() == Path::new("/dev") && is_tmpfs(mount)) {
            dev::fill(&root)?;
        }
        Ok(root)
    }

    fn set_names(&self) -> Result<()> {
        if let Some(name) = self.spec.hostname() {
            stage::shell(&["hostname", name]);
            rustix::system::sethostname(name.as_bytes())
                .call("sethostname")
                .context("cannot set the host name")?;
        }
        if let Some(name) = self.spec.domainname() {
            rustix::system::setdomainname(name.as_bytes())
                .call("setdomainname")
                .context("cannot set the domain name")?;
        }
        for (key, value) in self.linux().and_then(|linux| linux.sysctl().as_ref()).into_iter().flatten() {
            stage::shell(&["sysctl", "-w", &format!("{key}={value}")]);
            set_sysctl(key, value).with_context(|| format!("cannot set sysctl {key}"))?;
        }
        Ok(())
    }

    fn open_terminal(&self, root: &Root, line: &End) -> Result<Option<OwnedFd>> {
        if !self.start.terminal {
            return Ok(None);
        }
        let pty = pty::open(root, self.start.identity.uid(), self.start.window)?;
        dev::console(root, pty.slave.as_fd())?;
        line.send_terminal(pty.master.as_fd())?;
        Ok(Some(pty.slave))
    }

    fn restrict(&self, root: &Root) -> Result<()> {
        if let Some(linux) = self.linux() {
            masks::hide(root, linux.masked_paths().as_deref().unwrap_or_default())?;
            masks::make_read_only(root, linux.readonly_paths().as_deref().unwrap_or_default())?;
        }
        match self.spec.root() {
            Some(wanted) if wanted.readonly() == Some(true) => mounts::make_top_read_only(root.as_fd()),
            _ => Ok(()),
        }
        .context("cannot make the root file system read-only")
    }
}

fn is_tmpfs(mount: &oci_spec::runtime::Mount) -> bool {
    mount.typ().as_deref() == Some("tmpfs")
}

fn join_network(path: &Path) -> Result<()> {
    let join = || {
        stage::shell(&["nsenter", &format!("--net={}", path.display())]);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace = rustix::fs::open(path, flags, Mode::empty()).call("open")?;
        setns(namespace, CloneFlags::CLONE_NEWNET).call("setns")
    };
    join().with_context(|| format!("cannot join network namespace {}", path.display()))
}

/// By the host's /proc, which the image cannot have forged: the value belongs to the writer's namespaces all the same.
fn set_sysctl(key: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{}", key.replace('.', "/"));
    let file = rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let file = file.call("open").with_context(|| path.clone())?;
    if magic(file.as_fd()).call("fstatfs")? != PROC {
        bail!("{path} is not on procfs");
    }
    rustix::io::write(&file, value.as_bytes()).call("write").map(drop)
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
