//! Which system calls a container may make: docker's default, or a profile in docker's form (moby/profiles, seccomp),
//! which names capabilities, machines and kernels under which a rule holds.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall,
};
use serde::Deserialize;

/// For everybody.
const ALLOWED: &str = "accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chmod chown
chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown
fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64
fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv
futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid
geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority
getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid
gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc
kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen
listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack
membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 modify_ldt
mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep
newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free
pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv
process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv
recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2
restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop
semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area
set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid
setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid
setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4
sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync
sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime
timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat
utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev";

/// For those who have the capability.
const ALLOWED_WITH: [(Capability, &str); 14] = [
    (Capability::DacReadSearch, "open_by_handle_at"),
    (
        Capability::SysAdmin,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd \
         setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    (Capability::SysBoot, "reboot"),
    (Capability::SysChroot, "chroot"),
    (Capability::SysModule, "delete_module init_module finit_module"),
    (Capability::SysPacct, "acct"),
    (Capability::SysPtrace, "kcmp pidfd_getfd process_madvise"),
    (Capability::SysRawio, "iopl ioperm"),
    (Capability::SysTime, "settimeofday stime clock_settime clock_settime64"),
    (Capability::SysTtyConfig, "vhangup"),
    (Capability::SysNice, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    (Capability::Syslog, "syslog"),
    (Capability::Bpf, "bpf"),
    (Capability::Perfmon, "perf_event_open"),
];

/// socket(2): all families below this, and those listed; what is missing has had too many holes (DECnet, the kernel's
/// crypto, the hypervisor's and others). Two conditions on one argument would be two rules, so no ranges.
const FAMILIES_BELOW: u64 = 12;
const FAMILIES: [u64; 25] =
    [13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45];
/// personality(2): PER_LINUX, PER_LINUX32, both with UNAME26, and the question which it is.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// clone(2): CLONE_NEW*.
const NAMESPACES: u64 = 0x7e02_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// docker's default for a container with these capabilities.
pub fn builtin(bounding: &HashSet<Capability>) -> LinuxSeccomp {
    use LinuxSeccompOperator::{ScmpCmpEq, ScmpCmpLt, ScmpCmpMaskedEq};
    let mut rules = vec![allow(ALLOWED, None)];
    rules.push(allow("socket", Some((FAMILIES_BELOW, ScmpCmpLt))));
    rules.extend(FAMILIES.map(|family| allow("socket", Some((family, ScmpCmpEq)))));
    rules.extend(PERSONALITIES.map(|personality| allow("personality", Some((personality, ScmpCmpEq)))));
    let held = ALLOWED_WITH.iter().filter(|(capability, _)| bounding.contains(capability));
    rules.extend(held.map(|(_, names)| allow(names, None)));
    if !bounding.contains(&Capability::SysAdmin) {
        rules.push(allow("clone", Some((NAMESPACES, ScmpCmpMaskedEq))));
        // Its flags are behind a pointer: a C library falls back on clone(2).
        let mut clone3 = rule("clone3", LinuxSeccompAction::ScmpActErrno);
        clone3.set_errno_ret(Some(ENOSYS));
        rules.push(clone3);
    }
    let mut seccomp = LinuxSeccomp::default();
    seccomp
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_default_errno_ret(Some(EPERM))
        .set_architectures(Some(vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]))
        .set_syscalls(Some(rules));
    seccomp
}

fn allow(names: &str, condition: Option<(u64, LinuxSeccompOperator)>) -> LinuxSyscall {
    let mut rule = rule(names, LinuxSeccompAction::ScmpActAllow);
    rule.set_args(condition.map(|(value, op)| vec![first_argument(value, op)]));
    rule
}

/// A condition on argument 0.
pub fn first_argument(value: u64, op: LinuxSeccompOperator) -> LinuxSeccompArg {
    // The builder fails only for a field without a value, and every field has a default.
    LinuxSeccompArgBuilder::default().index(0usize).value(value).op(op).build().unwrap_or_default()
}

fn rule(names: &str, action: LinuxSeccompAction) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.split_ascii_whitespace().map(str::to_owned).collect()).set_action(action);
    rule
}

/// A profile as docker reads it: the OCI form, with conditions on its rules.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    /// podman's spelling of the same, which means nothing beside it.
    #[serde(rename = "defaultErrno")]
    _default_errno: Option<String>,
    architectures: Option<Vec<Arch>>,
    arch_map: Option<Vec<ArchMap>>,
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    listener_path: Option<std::path::PathBuf>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<ProfileRule>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArchMap {
    architecture: Arch,
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProfileRule {
    #[serde(default)]
    names: Vec<String>,
    name: Option<String>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    #[serde(rename = "errno")]
    _errno: Option<String>,
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
    includes: Option<Condition>,
    excludes: Option<Condition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Condition {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// What a condition is held against.
#[derive(Debug)]
pub struct Here<'a> {
    pub bounding: &'a HashSet<Capability>,
    /// Version and patch level of the kernel.
    pub kernel: (u32, u32),
}

/// The profile of a file, for a container here.
///
/// # Errors
/// It cannot be read, or makes no sense.
pub fn profile(path: &Path, here: &Here) -> Result<LinuxSeccomp> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text, here).with_context(|| format!("cannot use seccomp profile {}", path.display()))
}

fn parse(text: &[u8], here: &Here) -> Result<LinuxSeccomp> {
    let profile: Profile = crate::json::read(text)?;
    if profile.architectures.is_some() && profile.arch_map.is_some() {
        bail!("it has both architectures and archMap");
    }
    let own = |map: &ArchMap| map.architecture == Arch::ScmpArchX86_64;
    let mapped = profile.arch_map.into_iter().flatten().find(own).map(|map| {
        let mut all = vec![map.architecture];
        all.extend(map.sub_architectures.unwrap_or_default());
        all
    });
    let mut rules = Vec::new();
    for rule in profile.syscalls.into_iter().flatten() {
        rules.extend(rule.hold(here)?);
    }
    let mut seccomp = LinuxSeccomp::default();
    seccomp
        .set_default_action(profile.default_action)
        .set_default_errno_ret(profile.default_errno_ret)
        .set_architectures(profile.architectures.or(mapped))
        .set_flags(profile.flags)
        .set_listener_path(profile.listener_path)
        .set_listener_metadata(profile.listener_metadata)
        .set_syscalls(Some(rules));
    Ok(seccomp)
}

impl ProfileRule {
    /// The rule, if its conditions hold here.
    fn hold(mut self, here: &Here) -> Result<Option<LinuxSyscall>> {
        if let Some(name) = self.name.take() {
            ensure!(self.names.is_empty(), "a rule has both name and names");
            self.names.push(name);
        }
        let excludes = self.excludes.unwrap_or_default();
        let includes = self.includes.unwrap_or_default();
        // One of what excludes is enough; of what includes, all capabilities and one of the machines.
        let excluded = excludes.arches.iter().any(|arch| arch == MACHINE)
            || excludes.caps.iter().any(|name| here.has(name))
            || excludes.min_kernel.as_deref().map(|version| here.is_at_least(version)).transpose()?
                == Some(true);
        let included = (includes.arches.is_empty() || includes.arches.iter().any(|arch| arch == MACHINE))
            && includes.caps.iter().all(|name| here.has(name))
            && includes.min_kernel.as_deref().map(|version| here.is_at_least(version)).transpose()?
                != Some(false);
        if excluded || !included {
            return Ok(None);
        }
        let mut rule = LinuxSyscall::default();
        rule.set_names(self.names)
            .set_action(self.action)
            .set_errno_ret(self.errno_ret)
            .set_args(self.args.filter(|args| !args.is_empty()));
        Ok(Some(rule))
    }
}

/// As docker calls it.
const MACHINE: &str = "amd64";

impl Here<'_> {
    fn has(&self, name: &str) -> bool {
        self.bounding.iter().any(|capability| name.strip_prefix("CAP_") == Some(&capability.to_string()))
    }

    fn is_at_least(&self, version: &str) -> Result<bool> {
        let wanted = super::seccomp::version(version);
        let wanted = wanted.with_context(|| format!("minKernel: {version} is not a kernel version"))?;
        Ok(self.kernel >= wanted)
    }
}

/// The first two numbers of a kernel's version.
pub fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, caps: &[Capability], kernel: (u32, u32)) -> String {
        let bounding = caps.iter().copied().collect();
        match parse(text.as_bytes(), &Here { bounding: &bounding, kernel }) {
            Ok(seccomp) => {
                let names = seccomp.syscalls().iter().flatten().flat_map(|rule| rule.names().clone());
                names.collect::<Vec<_>>().join(" ")
            }
            Err(error) => format!("{error:#}"),
        }
    }

    const PROFILE: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":null}],
        "syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW"},
        {"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
        {"names":["clone"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN"],"arches":["s390"]}},
        {"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
        {"names":["old"],"action":"SCMP_ACT_ALLOW","excludes":{"minKernel":"5.0"}},
        {"names":["arm"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["arm64"]}}]}"#;

    #[test]
    fn rules_hold_under_dockers_conditions() {
        assert_eq!(of(PROFILE, &[], (6, 1)), "read clone ptrace");
        assert_eq!(of(PROFILE, &[Capability::SysAdmin], (4, 8)), "read mount ptrace old");
        assert_eq!(of(PROFILE, &[], (4, 7)), "read clone old");
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        for (text, error) in [
            (r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultAktion":1}"#, "unknown field `defaultAktion`"),
            (r#"{"defaultAction":"SCMP_ACT_X"}"#, "unknown variant `SCMP_ACT_X`"),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":[],"archMap":[]}"#,
                "it has both architectures and archMap",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_LOG","includes":{"minKernel":"x"}}]}"#,
                "minKernel: x is not a kernel version",
            ),
        ] {
            assert!(of(text, &[], (6, 1)).contains(error), "{}", of(text, &[], (6, 1)));
        }
    }

    #[test]
    fn versions() {
        assert_eq!(version("6.18.44-fc"), Some((6, 18)));
        assert_eq!(version("4.8"), Some((4, 8)));
        assert_eq!(version("four"), None);
    }
}
