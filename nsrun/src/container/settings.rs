//! What the kernel keeps of a process beside who it is: limits, scheduling, priorities, personality, labels. All of it
//! survives execve(2), or takes effect there.

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use oci_spec::runtime::{
    IOPriorityClass, Linux, LinuxMemoryPolicy, LinuxPersonalityDomain, LinuxSchedulerFlag,
    LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, PosixRlimitType, Process, Scheduler,
};
use rustix::fs::{Mode, OFlags};
use stage::Explain;

use super::root::PROC;
use crate::call::Call;
use crate::sys::{self, SchedAttr};

/// Everything of it, ready to be applied.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Resource (RLIMIT_*), its name, soft and hard limit.
    rlimits: Vec<(u32, String, u64, u64)>,
    oom_score_adj: Option<i32>,
    scheduler: Option<SchedAttr>,
    /// Class and level in one number, as ioprio_set(2) wants it.
    io_priority: Option<i32>,
    personality: Option<libc::c_ulong>,
    /// Mode with flags, and the nodes.
    memory_policy: Option<(i32, u64)>,
    labels: Vec<Label>,
}

/// What a security module is told: by which file below /proc/self/attr, in which words, for which field.
#[derive(Clone, Debug)]
struct Label {
    file: &'static str,
    text: String,
    field: &'static str,
}

impl Settings {
    /// # Errors
    /// What cannot be had on this machine, by the name of its field.
    pub fn of(process: &Process) -> Result<Settings> {
        Ok(Settings {
            rlimits: rlimits(process)?,
            oom_score_adj: process.oom_score_adj(),
            scheduler: process.scheduler().as_ref().map(scheduler).transpose()?,
            io_priority: process
                .io_priority()
                .map(|io| io_priority(io.class(), io.priority()))
                .transpose()?,
            labels: labels(process)?,
            ..Settings::default()
        })
    }

    /// With what `linux` says of every process of the container.
    pub fn with(mut self, linux: &Linux) -> Result<Settings> {
        if let Some(personality) = linux.personality() {
            if let Some(flag) = personality.flags().iter().flatten().next() {
                bail!("cannot use linux.personality.flags: {flag} is not known");
            }
            self.personality = Some(match personality.domain() {
                LinuxPersonalityDomain::PerLinux => 0,
                LinuxPersonalityDomain::PerLinux32 => 8,
            });
        }
        self.memory_policy = linux.memory_policy().as_ref().map(nodes).transpose()?;
        Ok(self)
    }

    /// By `proc`, which is a procfs that shows the process `who`.
    pub fn write_score(&self, proc: BorrowedFd, who: &str) -> Result<()> {
        let Some(score) = self.oom_score_adj else { return Ok(()) };
        stage::shell(&["sh", "-c", &format!("echo {score} > /proc/{who}/oom_score_adj")]);
        write(proc, &format!("{who}/oom_score_adj"), &score.to_string())
            .with_context(|| format!("cannot set process.oomScoreAdj {score}"))
    }

    /// The labels that this process will have after execve, by `proc`, a procfs that shows it.
    pub fn write_labels(&self, proc: BorrowedFd) -> Result<()> {
        for label in &self.labels {
            write(proc, label.file, &label.text)
                .with_context(|| format!("cannot set {} {:?}", label.field, label.text))?;
        }
        Ok(())
    }

    /// What is asked for by calls. While the process may still raise a limit.
    pub fn apply(&self) -> Result<()> {
        if let Some(personality) = self.personality {
            sys::set_personality(personality).call("personality").context("cannot set linux.personality")?;
        }
        if let Some((mode, nodes)) = self.memory_policy {
            sys::set_memory_policy(mode, nodes)
                .call("set_mempolicy")
                .context("cannot set linux.memoryPolicy")?;
        }
        if let Some(attr) = &self.scheduler {
            sys::set_scheduler(attr).call("sched_setattr").context("cannot set process.scheduler")?;
        }
        if let Some(priority) = self.io_priority {
            sys::set_io_priority(priority).call("ioprio_set").context("cannot set process.ioPriority")?;
        }
        self.limit(None)
    }

    /// The resource limits of a process, `None` for this one.
    pub fn limit(&self, pid: Option<i32>) -> Result<()> {
        for (resource, name, soft, hard) in &self.rlimits {
            let set = sys::limit(pid.unwrap_or(0), *resource, *soft, *hard).call("prlimit");
            let set = set.with_context(|| format!("cannot set process.rlimits {name} to {soft}:{hard}"));
            match set {
                Err(error) if error.downcast_ref() == Some(&Errno::EPERM) => {
                    return Err(error)
                        .hint("raising a hard limit takes CAP_SYS_RESOURCE, which nsrun does not have");
                }
                set => set?,
            }
        }
        Ok(())
    }
}

/// Writes to a file that must be procfs's own: nothing that was mounted over it (CVE-2019-16884, CVE-2025-52881).
pub fn write(proc: BorrowedFd, path: &str, text: &str) -> Result<()> {
    let file = open_proc(proc, path, OFlags::WRONLY)?;
    rustix::io::write(&file, text.as_bytes()).call("write").map(drop)
}

/// Opens a file of `proc`, never what is mounted on it or below it, never where a link leads.
pub fn open_proc(proc: BorrowedFd, path: &str, flags: OFlags) -> Result<std::os::fd::OwnedFd> {
    use rustix::fs::ResolveFlags;
    let flags = flags | OFlags::CLOEXEC;
    // `self` and `thread-self` are links, and procfs's own.
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    let file = match rustix::fs::openat2(proc, path, flags, Mode::empty(), resolve) {
        // KERNEL(5.6): openat2.
        Err(rustix::io::Errno::NOSYS) => rustix::fs::openat(proc, path, flags, Mode::empty()),
        opened => opened,
    };
    let file = file.call("openat2").with_context(|| format!("/proc/{path}"))?;
    if super::root::magic(file.as_fd()).call("fstatfs")? != PROC {
        bail!("/proc/{path} is not on procfs");
    }
    Ok(file)
}

fn rlimits(process: &Process) -> Result<Vec<(u32, String, u64, u64)>> {
    let mut all: Vec<(u32, String, u64, u64)> = Vec::new();
    for limit in process.rlimits().iter().flatten() {
        let (resource, name) = (resource(limit.typ()), limit.typ().to_string());
        ensure!(
            all.iter().all(|(known, ..)| *known != resource),
            "cannot use process.rlimits: {name} is there twice"
        );
        ensure!(
            limit.soft() <= limit.hard(),
            "cannot use process.rlimits: {name} has a soft limit above the hard one"
        );
        all.push((resource, name, limit.soft(), limit.hard()));
    }
    Ok(all)
}

/// sys/resource.h, RLIMIT_*.
fn resource(typ: PosixRlimitType) -> u32 {
    use PosixRlimitType::*;
    match typ {
        RlimitCpu => libc::RLIMIT_CPU,
        RlimitFsize => libc::RLIMIT_FSIZE,
        RlimitData => libc::RLIMIT_DATA,
        RlimitStack => libc::RLIMIT_STACK,
        RlimitCore => libc::RLIMIT_CORE,
        RlimitRss => libc::RLIMIT_RSS,
        RlimitNproc => libc::RLIMIT_NPROC,
        RlimitNofile => libc::RLIMIT_NOFILE,
        RlimitMemlock => libc::RLIMIT_MEMLOCK,
        RlimitAs => libc::RLIMIT_AS,
        RlimitLocks => libc::RLIMIT_LOCKS,
        RlimitSigpending => libc::RLIMIT_SIGPENDING,
        RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        RlimitNice => libc::RLIMIT_NICE,
        RlimitRtprio => libc::RLIMIT_RTPRIO,
        RlimitRttime => libc::RLIMIT_RTTIME,
    }
}

fn scheduler(wanted: &Scheduler) -> Result<SchedAttr> {
    use LinuxSchedulerPolicy::*;
    let policy = match wanted.policy() {
        SchedOther => 0,
        SchedFifo => 1,
        SchedRr => 2,
        SchedBatch => 3,
        SchedIdle => 5,
        SchedDeadline => 6,
        SchedIso => bail!("cannot use process.scheduler.policy: SCHED_ISO exists in no kernel"),
    };
    let flags = wanted.flags().iter().flatten().map(|flag| match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    });
    let priority = wanted.priority().unwrap_or(0);
    Ok(SchedAttr {
        size: u32::try_from(size_of::<SchedAttr>())?,
        policy,
        flags: flags.fold(0, |flags, flag| flags | flag),
        nice: wanted.nice().unwrap_or(0),
        priority: u32::try_from(priority)
            .with_context(|| format!("cannot use process.scheduler.priority {priority}"))?,
        runtime: wanted.runtime().unwrap_or(0),
        deadline: wanted.deadline().unwrap_or(0),
        period: wanted.period().unwrap_or(0),
        util_min: 0,
        util_max: 0,
    })
}

/// linux/ioprio.h, IOPRIO_PRIO_VALUE.
fn io_priority(class: IOPriorityClass, level: i64) -> Result<i32> {
    let class = match class {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match i32::try_from(level) {
        Ok(level @ 0..=7) => Ok(class << 13 | level),
        _ => bail!("cannot use process.ioPriority.priority: {level} is not between 0 and 7"),
    }
}

/// linux/mempolicy.h, MPOL_*.
pub const MEMORY_MODES: [(MemoryPolicyModeType, i32); 7] = {
    use MemoryPolicyModeType::*;
    [
        (MpolDefault, 0),
        (MpolPreferred, 1),
        (MpolBind, 2),
        (MpolInterleave, 3),
        (MpolLocal, 4),
        (MpolPreferredMany, 5),
        (MpolWeightedInterleave, 6),
    ]
};

/// linux/mempolicy.h, MPOL_F_*.
pub const MEMORY_FLAGS: [(MemoryPolicyFlagType, i32); 3] = {
    use MemoryPolicyFlagType::*;
    [(MpolFStaticNodes, 1 << 15), (MpolFRelativeNodes, 1 << 14), (MpolFNumaBalancing, 1 << 13)]
};

fn nodes(policy: &LinuxMemoryPolicy) -> Result<(i32, u64)> {
    let mode = MEMORY_MODES.iter().find(|(mode, _)| *mode == policy.mode()).map_or(0, |(_, number)| *number);
    let wanted = policy.flags().as_deref().unwrap_or_default();
    let flags = MEMORY_FLAGS.iter().filter(|(flag, _)| wanted.contains(flag)).map(|(_, bit)| bit);
    let text = policy.nodes().as_deref().unwrap_or_default();
    let nodes = mask(text)
        .with_context(|| format!("cannot use linux.memoryPolicy.nodes: {text:?} is no list of nodes"))?;
    Ok((flags.fold(mode, |mode, flag| mode | flag), nodes))
}

/// `0-2,5` as bits; numbers up to 63.
fn mask(list: &str) -> Option<u64> {
    numbers(list)?.into_iter().try_fold(0, |bits, number| Some(bits | 1u64.checked_shl(number)?))
}

/// `0-2,5`: processors or memory nodes, of which no machine has more than 4096.
pub fn numbers(list: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if first > last || last >= 4096 {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

/// # Errors
/// A label is asked for where the module is not there.
fn labels(process: &Process) -> Result<Vec<Label>> {
    let mut labels = Vec::new();
    if let Some(profile) = process.apparmor_profile().as_deref().filter(|profile| !profile.is_empty()) {
        let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled");
        ensure!(
            enabled.is_ok_and(|text| text.starts_with(b"Y")),
            "cannot use process.apparmorProfile {profile}: AppArmor is not enabled on this host"
        );
        let own = std::path::Path::new("/proc/self/attr/apparmor/exec").exists();
        let file = if own { "self/attr/apparmor/exec" } else { "self/attr/exec" };
        labels.push(Label { file, text: format!("exec {profile}"), field: "process.apparmorProfile" });
    }
    if let Some(label) = process.selinux_label().as_deref().filter(|label| !label.is_empty()) {
        ensure!(
            std::path::Path::new("/sys/fs/selinux/enforce").exists(),
            "cannot use process.selinuxLabel {label}: SELinux is not enabled on this host"
        );
        labels.push(Label { file: "self/attr/exec", text: label.to_owned(), field: "process.selinuxLabel" });
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers() {
        assert_eq!(mask(""), Some(0));
        assert_eq!(mask("0,2-4"), Some(0b11101));
        assert_eq!(mask("64"), None);
        assert_eq!(mask("3-1"), None);
        assert_eq!(mask("x"), None);
    }

    #[test]
    fn an_io_priority_is_class_and_level() {
        assert_eq!(io_priority(IOPriorityClass::IoprioClassBe, 4).unwrap(), 0x4004);
        assert_eq!(
            io_priority(IOPriorityClass::IoprioClassBe, 8).unwrap_err().to_string(),
            "cannot use process.ioPriority.priority: 8 is not between 0 and 7"
        );
    }
}
