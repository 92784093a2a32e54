//! The system calls that no crate wraps safely: the only file with `unsafe`.
//!
//! The rule for the child of [`fork_into`]: nsrun has one thread ([`is_single_threaded`] is asked before), and clone3 is used
//! with fork's semantics only (no CLONE_VM), so the child has a consistent copy of everything, the allocator
//! included, and may go on in ordinary Rust. What it must not do is leave by another way than execve or
//! [`exit_now`]: atexit handlers and destructors are the parent's.
#![allow(unsafe_code, reason = "this is the file for it")]

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::unistd::Pid;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use crate::seccomp::bpf::Instruction;

/// linux/sched.h; the constant of libc has the wrong width.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which of the two a process is after [`fork_into`].
#[derive(Debug)]
pub enum Fork {
    Parent(Child),
    Child,
}

/// A process that was started: its pid, and a descriptor that names it and no other.
#[derive(Debug)]
pub struct Child {
    pub pid: Pid,
    pub pidfd: OwnedFd,
}

/// Whose child a new process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    This,
    /// The parent of this process (CLONE_PARENT).
    Ours,
}

/// clone3(2) with fork's semantics: the child has `namespaces` (CLONE_NEW*) of its own, and is in `cgroup` (a
/// directory of cgroup v2) from its first instruction.
///
/// The caller has asked [`is_single_threaded`].
pub fn fork_into(namespaces: i32, cgroup: Option<BorrowedFd>, parent: Parent) -> nix::Result<Fork> {
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_PIDFD | namespaces;
    // SAFETY: every field is an integer, and zero is the value of "not used" for each.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(flags.cast_unsigned());
    args.pidfd = (&raw mut pidfd) as u64;
    match parent {
        Parent::This => args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned()),
        // It gets this process's own exit signal, and no other may be named.
        Parent::Ours => args.flags |= u64::from(libc::CLONE_PARENT.cast_unsigned()),
    }
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(fd.as_raw_fd().cast_unsigned());
    }
    // SAFETY: without CLONE_VM the child gets copies of the stack and the heap, so both sides may return; `args`
    // and `pidfd` outlive the call.
    let answer =
        unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, std::mem::size_of::<libc::clone_args>()) };
    match Errno::result(answer)? {
        0 => Ok(Fork::Child),
        pid => {
            // SAFETY: the kernel has stored a new descriptor there, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Fork::Parent(Child { pid: Pid::from_raw(i32::try_from(pid).unwrap_or(-1)), pidfd }))
        }
    }
}

/// Whether this process may fork and go on in the child as above. To be asked while /proc is the host's.
pub fn is_single_threaded() -> bool {
    // The link count of task/ is two more than the number of threads.
    std::fs::metadata("/proc/self/task").is_ok_and(|meta| std::os::unix::fs::MetadataExt::nlink(&meta) == 3)
}

/// execve(2). Returns only if it failed.
pub fn execve(path: &CStr, argv: &[CString], env: &[CString]) -> Errno {
    match nix::unistd::execve(path, argv, env) {
        Ok(never) => match never {},
        Err(errno) => errno,
    }
}

/// Leaves at once: no destructor, no atexit handler, no flush.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) may be called at any time.
    unsafe { libc::_exit(code) }
}

/// Marks every descriptor from this number on to be closed by execve(2), and none before it.
pub fn close_at_exec_from(first: u32) -> nix::Result<()> {
    for number in 3..first {
        // SAFETY: F_SETFD changes a flag of the descriptor or fails with EBADF.
        Errno::result(unsafe { libc::fcntl(number.cast_signed(), libc::F_SETFD, 0) })?;
    }
    // SAFETY: with CLOSE_RANGE_CLOEXEC nothing is closed now, so no owner of a descriptor is cheated.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Errno::result(answer).map(drop)
}

/// Every signal back to its default action, and none blocked: what was ignored would stay so across execve.
pub fn reset_signals() {
    // The kernel's struct sigaction: handler (SIG_DFL), flags, restorer, mask. The C library's sigaction(3) keeps two
    // signals for itself, and its posix_spawn(3) leaves them ignored in the child: make(1) and gocker-sh use that.
    let default = [0u64; 4];
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL runs no code of ours, the kernel only reads `default`, and there is no old action to write.
        // SIGKILL and SIGSTOP are refused with EINVAL, which changes nothing.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                8usize,
            )
        };
    }
    nix::sys::signal::SigSet::empty().thread_set_mask().ok();
}

/// A new, empty session keyring in place of the caller's (keyctl(2), KEYCTL_JOIN_SESSION_KEYRING).
pub fn leave_session_keyring() -> nix::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: without a name no memory is passed.
    let answer = unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>())
    };
    Errno::result(answer).map(drop)
}

/// seccomp(2), SECCOMP_SET_MODE_FILTER. A descriptor with SECCOMP_FILTER_FLAG_NEW_LISTENER only.
pub fn load_filter(program: &[Instruction], flags: libc::c_ulong) -> nix::Result<Option<OwnedFd>> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).or(Err(Errno::E2BIG))?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: `Instruction` has the layout of struct sock_filter, there are `len` of them, and the kernel only reads them.
    let answer =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    let fd = RawFd::try_from(Errno::result(answer)?).or(Err(Errno::EOVERFLOW))?;
    if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    // SAFETY: with that flag the answer is a new descriptor, which nobody else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Whether the kernel has these flags of seccomp(2): with one that it does not know, it does not come to miss the program.
pub fn has_filter_flags(flags: libc::c_ulong) -> bool {
    let none = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: without a program nothing is read and nothing is loaded.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, none) };
    Errno::result(answer) == Err(Errno::EFAULT)
}

/// struct sched_attr (linux/sched/types.h).
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
    pub util_min: u32,
    pub util_max: u32,
}

/// sched_setattr(2) on this process.
pub fn set_scheduler(attr: &SchedAttr) -> nix::Result<()> {
    // SAFETY: `attr` has the layout of struct sched_attr and says its size; the kernel only reads it.
    Errno::result(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(attr), 0) }).map(drop)
}

/// ioprio_set(2) on this process; class and level in one number.
pub fn set_io_priority(priority: i32) -> nix::Result<()> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: no memory is passed.
    Errno::result(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority) }).map(drop)
}

pub fn set_personality(personality: libc::c_ulong) -> nix::Result<()> {
    // SAFETY: no memory is passed.
    Errno::result(unsafe { libc::personality(personality) }).map(drop)
}

/// set_mempolicy(2), for nodes 0 to 63.
pub fn set_memory_policy(mode: i32, nodes: u64) -> nix::Result<()> {
    // The kernel takes the number of bits to be one more than it is.
    let (mask, bits) = if nodes == 0 { (std::ptr::null(), 0) } else { (&raw const nodes, 65usize) };
    // SAFETY: the kernel reads 64 bits from `mask`, if it is not null.
    Errno::result(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) }).map(drop)
}

/// prlimit(2); 0 is this process.
pub fn limit(pid: i32, resource: u32, soft: u64, hard: u64) -> nix::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel only reads `limit`; there is no old limit to write.
    let answer = unsafe { libc::prlimit64(pid, resource, &raw const limit, std::ptr::null_mut()) };
    Errno::result(answer).map(drop)
}

/// What mount_setattr(2) changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    pub set: MountAttrFlags,
    pub clear: MountAttrFlags,
}

impl Attributes {
    pub fn none() -> Attributes {
        Attributes { set: MountAttrFlags::empty(), clear: MountAttrFlags::empty() }
    }
}

/// mount_setattr(2) on the mount of `fd`, and on those below it if `recursive`.
pub fn mount_setattr(fd: BorrowedFd, attributes: Attributes, recursive: bool) -> nix::Result<()> {
    let none = MountPropagationFlags::empty();
    change_mount(fd, attributes, none, None, recursive)
}

/// Sets how mounts are passed on; otherwise as [`mount_setattr`].
pub fn set_propagation(fd: BorrowedFd, kind: MountPropagationFlags, recursive: bool) -> nix::Result<()> {
    change_mount(fd, Attributes::none(), kind, None, recursive)
}

/// Shows the ids of files as `user_namespace` maps them (mount_setattr(2), "ID-mapped mounts").
pub fn set_idmap(fd: BorrowedFd, user_namespace: BorrowedFd, recursive: bool) -> nix::Result<()> {
    let map = Attributes { set: MountAttrFlags::MOUNT_ATTR_IDMAP, ..Attributes::none() };
    change_mount(fd, map, MountPropagationFlags::empty(), Some(user_namespace), recursive)
}

fn change_mount(
    fd: BorrowedFd,
    attributes: Attributes,
    propagation: MountPropagationFlags,
    user_namespace: Option<BorrowedFd>,
    recursive: bool,
) -> nix::Result<()> {
    let mut attr = libc::mount_attr {
        attr_set: u64::from(attributes.set.bits()),
        attr_clr: u64::from(attributes.clear.bits()),
        propagation: u64::from(propagation.bits()),
        userns_fd: user_namespace.map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, `attr` has the size that is passed, both outlive the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw mut attr,
            std::mem::size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(answer).map(drop)
}

/// Takes over a descriptor that the caller of nsrun passed by number.
///
/// # Errors
/// There is none of that number, or it is stdin, stdout or stderr.
pub fn adopt(number: RawFd) -> nix::Result<OwnedFd> {
    if number <= 2 {
        return Err(Errno::EINVAL);
    }
    // SAFETY: F_SETFD changes a flag of the descriptor or fails with EBADF.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and it was passed to this process for this use: nothing else here owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether there is an open descriptor of this number.
pub fn is_open(number: u32) -> bool {
    // SAFETY: F_GETFD reads a flag of the descriptor or fails with EBADF.
    Errno::result(unsafe { libc::fcntl(number.cast_signed(), libc::F_GETFD) }).is_ok()
}

/// Brings up the loopback interface of this process's network namespace.
pub fn loopback_up() -> nix::Result<()> {
    // SAFETY: it makes a new descriptor or fails.
    let fd = Errno::result(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: just made, owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: it consists of integers and byte arrays.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l'.cast_signed();
    request.ifr_name[1] = b'o'.cast_signed();
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP).unwrap_or(1);
    // SAFETY: `request` is what SIOCSIFFLAGS reads (netdevice(7)).
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    Errno::result(answer).map(drop)
}

/// Takes over a descriptor that recvmsg(2) has just put into this process.
pub fn received(number: RawFd) -> OwnedFd {
    // SAFETY: the kernel made it for the control message it was read from, which names it once.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Closes every descriptor, stdin, stdout and stderr among them. For a process that will only wait, and leave by
/// [`exit_now`]: whatever owned a descriptor must not be used again.
pub fn close_everything() {
    // SAFETY: see above; the owners are never dropped, because `exit_now` runs no destructor.
    unsafe { libc::syscall(libc::SYS_close_range, 0u32, u32::MAX, 0u32) };
}

/// pidfd_send_signal(2), for any signal, the real-time ones among them.
pub fn send_signal(pidfd: BorrowedFd, signal: i32) -> nix::Result<()> {
    // SAFETY: no memory is passed (the siginfo pointer is null).
    let answer = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0u32,
        )
    };
    Errno::result(answer).map(drop)
}
