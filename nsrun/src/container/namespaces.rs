//! Which namespaces the container has of its own: new ones, and those of others that it joins.
//!
//! Most are made by one clone3. Three kinds take a process in between, because they hold for children only (PID, time)
//! or must be there before what they are to own (user): it joins or makes them, and its child, a sibling by
//! CLONE_PARENT, becomes the container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::wait::{WaitPidFlag, waitid};
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType, LinuxTimeOffset};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use stage::Explain;

use super::settings::write;
use crate::call::Call;
use crate::sys::{self, Fork, Parent};

/// linux/sched.h; nix has no name for it.
const CLONE_NEWTIME: CloneFlags = CloneFlags::from_bits_retain(0x80);

/// What `linux.namespaces` and its companions say, checked.
#[derive(Debug)]
pub struct Namespaces<'a> {
    all: Vec<(LinuxNamespaceType, Option<&'a Path>)>,
    pub ids: Ids<'a>,
    offsets: Vec<(&'a str, &'a LinuxTimeOffset)>,
}

/// How the ids of a user namespace are those of the host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ids<'a> {
    pub users: &'a [LinuxIdMapping],
    pub groups: &'a [LinuxIdMapping],
}

impl<'a> Namespaces<'a> {
    /// # Errors
    /// What contradicts itself, by the name of its field.
    pub fn of(linux: &'a Linux) -> Result<Namespaces<'a>> {
        let mut all: Vec<(LinuxNamespaceType, Option<&Path>)> = Vec::new();
        for one in linux.namespaces().iter().flatten() {
            let path = one.path().as_deref().filter(|path| !path.as_os_str().is_empty());
            let typ = one.typ();
            ensure!(
                all.iter().all(|(known, _)| *known != typ),
                "cannot use linux.namespaces: {typ} is there twice"
            );
            ensure!(
                path.is_none_or(Path::is_absolute),
                "cannot use linux.namespaces: the path of {typ} is not absolute"
            );
            all.push((typ, path));
        }
        let ids = Ids {
            users: linux.uid_mappings().as_deref().unwrap_or_default(),
            groups: linux.gid_mappings().as_deref().unwrap_or_default(),
        };
        let offsets = linux.time_offsets().iter().flatten().map(|(clock, offset)| (clock.as_str(), offset));
        let namespaces = Namespaces { all, ids, offsets: offsets.collect() };
        namespaces.check()?;
        Ok(namespaces)
    }

    fn check(&self) -> Result<()> {
        use LinuxNamespaceType::{Mount, Time, User};
        if !self.is_own(Mount) {
            return Err(anyhow!("cannot use linux.namespaces: there is no mount namespace"))
                .hint("the root file system would be the host's");
        }
        let mapped = !self.ids.users.is_empty() || !self.ids.groups.is_empty();
        if self.is_new(User) {
            ensure!(
                !self.ids.users.is_empty(),
                "cannot use linux.uidMappings: a new user namespace needs them"
            );
            ensure!(
                !self.ids.groups.is_empty(),
                "cannot use linux.gidMappings: a new user namespace needs them"
            );
        } else {
            ensure!(
                !mapped,
                "cannot use linux.uidMappings and linux.gidMappings: there is no new user namespace"
            );
        }
        for (clock, _) in &self.offsets {
            ensure!(
                matches!(*clock, "monotonic" | "boottime"),
                "cannot use linux.timeOffsets: there is no clock {clock} that could be set"
            );
            ensure!(self.is_new(Time), "cannot use linux.timeOffsets: there is no new time namespace");
        }
        Ok(())
    }

    /// Whether the container does not have the caller's.
    pub fn is_own(&self, typ: LinuxNamespaceType) -> bool {
        self.all.iter().any(|(known, _)| *known == typ)
    }

    pub fn is_new(&self, typ: LinuxNamespaceType) -> bool {
        self.all.iter().any(|(known, path)| *known == typ && path.is_none())
    }

    pub fn joined(&self, typ: LinuxNamespaceType) -> Option<&'a Path> {
        self.all.iter().find(|(known, _)| *known == typ).and_then(|(_, path)| *path)
    }

    /// Whether another user namespace's root sets the container up, who may do less than the host's.
    pub fn is_mapped(&self) -> bool {
        self.is_own(LinuxNamespaceType::User)
    }

    /// Those that clone3 makes. The cgroup namespace comes later: its root is where the process is at the time.
    pub fn flags(&self) -> CloneFlags {
        let new = self.all.iter().filter(|(_, path)| path.is_none());
        new.fold(CloneFlags::empty(), |flags, (typ, _)| flags | flag(*typ))
            - CloneFlags::CLONE_NEWCGROUP
            - CLONE_NEWTIME
    }

    /// Whether a process in between is needed.
    pub fn take_a_step(&self) -> bool {
        use LinuxNamespaceType::{Pid, Time, User};
        let joins = self.all.iter().any(|(_, path)| path.is_some());
        // Who is in a user namespace of its own may not join what is the host's.
        self.is_own(Time)
            || self.joined(User).is_some()
            || self.joined(Pid).is_some()
            || self.is_new(User) && joins
    }

    /// Joins those that are given by path, as far as they do not wait for the cgroup. The user namespace last: until then
    /// this process may join any other.
    pub fn join(&self) -> Result<()> {
        use LinuxNamespaceType::{Cgroup, User};
        let paths = self.all.iter().filter_map(|(typ, path)| path.map(|path| (*typ, path)));
        // All are opened before the first is joined: afterwards a path may mean something else.
        let mut opened = Vec::new();
        for (typ, path) in paths.filter(|(typ, _)| *typ != Cgroup) {
            opened.push((typ, path, open(typ, path)?));
        }
        opened.sort_by_key(|(typ, ..)| *typ == User);
        for (typ, path, fd) in &opened {
            if *typ == User {
                // Inside, setgroups(2) may be denied.
                drop_groups()?;
            }
            enter(*typ, path, fd.as_fd())?;
        }
        if self.joined(User).is_some() { become_root() } else { Ok(()) }
    }

    /// The cgroup namespace, once the process is in its cgroup: after `Door::enter`, never before.
    pub fn enter_cgroup_namespace(&self) -> Result<()> {
        let typ = LinuxNamespaceType::Cgroup;
        if let Some(path) = self.joined(typ) {
            return enter(typ, path, open(typ, path)?.as_fd());
        }
        if !self.is_new(typ) {
            return Ok(());
        }
        unshare(CloneFlags::CLONE_NEWCGROUP).call("unshare").context("cannot make a cgroup namespace")
    }

    /// A new time namespace for the children of this process, with its clocks set before anybody reads them.
    pub fn make_time(&self, proc: BorrowedFd) -> Result<()> {
        if !self.is_new(LinuxNamespaceType::Time) {
            return Ok(());
        }
        unshare(CLONE_NEWTIME).call("unshare").context("cannot make a time namespace")?;
        for (clock, offset) in &self.offsets {
            let (seconds, nanoseconds) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
            write(proc, "self/timens_offsets", &format!("{clock} {seconds} {nanoseconds}"))
                .with_context(|| format!("cannot set linux.timeOffsets.{clock}"))?;
        }
        Ok(())
    }
}

/// linux/sched.h, CLONE_NEW*.
fn flag(typ: LinuxNamespaceType) -> CloneFlags {
    match typ {
        LinuxNamespaceType::Mount => CloneFlags::CLONE_NEWNS,
        LinuxNamespaceType::Pid => CloneFlags::CLONE_NEWPID,
        LinuxNamespaceType::Uts => CloneFlags::CLONE_NEWUTS,
        LinuxNamespaceType::Ipc => CloneFlags::CLONE_NEWIPC,
        LinuxNamespaceType::Network => CloneFlags::CLONE_NEWNET,
        LinuxNamespaceType::User => CloneFlags::CLONE_NEWUSER,
        LinuxNamespaceType::Cgroup => CloneFlags::CLONE_NEWCGROUP,
        LinuxNamespaceType::Time => CLONE_NEWTIME,
    }
}

fn open(typ: LinuxNamespaceType, path: &Path) -> Result<OwnedFd> {
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call("open");
    fd.with_context(|| format!("cannot join {} namespace {}", word(typ), path.display()))
}

fn enter(typ: LinuxNamespaceType, path: &Path, fd: BorrowedFd) -> Result<()> {
    let option = if typ == LinuxNamespaceType::Mount { "mount".to_owned() } else { typ.to_string() };
    stage::shell(&["nsenter", &format!("--{option}={}", path.display())]);
    // The kind goes along: a file of another kind is refused.
    setns(fd, flag(typ))
        .call("setns")
        .with_context(|| format!("cannot join {} namespace {}", word(typ), path.display()))
}

/// As the configuration names it.
fn word(typ: LinuxNamespaceType) -> String {
    match typ {
        LinuxNamespaceType::Mount => "mount".to_owned(),
        LinuxNamespaceType::Network => "network".to_owned(),
        typ => typ.to_string(),
    }
}

/// No group of the caller's goes along into a user namespace, where nobody could give it up (CVE-2014-8989).
pub fn drop_groups() -> Result<()> {
    rustix::thread::set_thread_groups(&[]).call("setgroups").context("cannot give up the caller's groups")
}

/// For a process that is new in a user namespace: it can do everything there, but is nobody yet, and what it made would be
/// nobody's.
pub fn become_root() -> Result<()> {
    let become_root = || {
        rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).call("setresgid")?;
        rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).call("setresuid")
    };
    become_root()
        .context("cannot become root of the user namespace")
        .hint("linux.uidMappings and linux.gidMappings must map the id 0")
}

/// Writes the maps of a process that has a new user namespace. From outside, by the host's root: so every mapping is
/// allowed, and setgroups(2) may stay.
pub fn map(pid: i32, ids: Ids, proc: BorrowedFd) -> Result<()> {
    for (file, field, maps) in [("uid_map", "uidMappings", ids.users), ("gid_map", "gidMappings", ids.groups)]
    {
        stage::shell(&["sh", "-c", &format!("echo '{}' > /proc/{pid}/{file}", lines(maps).trim_end())]);
        write(proc, &format!("{pid}/{file}"), &lines(maps))
            .with_context(|| format!("cannot set linux.{field}"))?;
    }
    Ok(())
}

/// user_namespaces(7): id inside, id outside, length.
fn lines(maps: &[LinuxIdMapping]) -> String {
    maps.iter().map(|map| format!("{} {} {}\n", map.container_id(), map.host_id(), map.size())).collect()
}

/// A user namespace with these ids and no process in it, for mounts whose files shall have them.
pub fn user_namespace(ids: Ids, proc: BorrowedFd) -> Result<OwnedFd> {
    let (ours, childs) = crate::report::line()?;
    match sys::fork_into(CloneFlags::CLONE_NEWUSER.bits(), None, Parent::This).call("clone3")? {
        Fork::Child => {
            drop(ours);
            // Until the other end is closed.
            childs.may_go();
            sys::exit_now(0)
        }
        Fork::Parent(child) => {
            drop(childs);
            let pid = child.pid.as_raw();
            let made = map(pid, ids, proc).and_then(|()| {
                let path = format!("/proc/{pid}/ns/user");
                rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call("open")
            });
            drop(ours);
            let waited = waitid(nix::sys::wait::Id::PIDFd(child.pidfd.as_fd()), WaitPidFlag::WEXITED);
            waited.call("waitid")?;
            made
        }
    }
}

/// In the process in between: everything that its child is to find, then the child. Returns in the child.
///
/// # Errors
/// In the process in between only.
pub fn step(
    namespaces: &Namespaces,
    proc: BorrowedFd,
    cgroup: Option<BorrowedFd>,
    line: &crate::report::End,
) -> Result<()> {
    namespaces.make_time(proc)?;
    namespaces.join()?;
    match sys::fork_into(namespaces.flags().bits(), cgroup, Parent::Ours) {
        Ok(Fork::Child) => Ok(()),
        Ok(Fork::Parent(child)) => {
            line.send_child(child.pid.as_raw(), child.pidfd.as_fd())?;
            sys::exit_now(0)
        }
        Err(errno) => bail!(anyhow!(errno).context("clone3").context("cannot make namespaces")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        let linux: Linux = serde_json::from_str(text).unwrap();
        Namespaces::of(&linux).map_or_else(|error| error.to_string(), |all| format!("{:?}", all.flags()))
    }

    #[test]
    fn contradictions_are_named() {
        for (text, error) in [
            (
                r#"{"namespaces":[{"type":"pid"}]}"#,
                "cannot use linux.namespaces: there is no mount namespace",
            ),
            (
                r#"{"namespaces":[{"type":"mount"},{"type":"pid"},{"type":"pid","path":"/x"}]}"#,
                "cannot use linux.namespaces: pid is there twice",
            ),
            (
                r#"{"namespaces":[{"type":"mount"},{"type":"user"}]}"#,
                "cannot use linux.uidMappings: a new user namespace needs them",
            ),
            (
                r#"{"namespaces":[{"type":"mount"}],"timeOffsets":{"monotonic":{"secs":1}}}"#,
                "cannot use linux.timeOffsets: there is no new time namespace",
            ),
            (
                r#"{"namespaces":[{"type":"mount"},{"type":"time"}],"timeOffsets":{"realtime":{"secs":1}}}"#,
                "cannot use linux.timeOffsets: there is no clock realtime that could be set",
            ),
        ] {
            assert_eq!(of(text), error);
        }
    }
}
