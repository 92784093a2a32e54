//! What has no safe wrapper: two system calls, and realtime signals. All of cgctl's unsafe code.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::Signal;

/// bpf(2): a command with its attributes, as they lie in memory (`union bpf_attr`). The kernel's answer; what it wrote
/// is in `attributes`.
pub fn bpf(command: u32, attributes: &mut [u64]) -> io::Result<i32> {
    let size = size_of_val(attributes);
    // SAFETY: the attributes are valid for reads and writes of `size` bytes for the time of the call. Addresses among
    // them come from slices that their callers hold as long (see the callers in devices/program.rs).
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size) };
    match i32::try_from(answer) {
        Ok(answer @ 0..) => Ok(answer),
        _ => Err(io::Error::last_os_error()),
    }
}

/// bpf(2) for a command that answers with a new descriptor.
pub fn bpf_fd(command: u32, attributes: &mut [u64]) -> io::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    // SAFETY: the kernel has just opened this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A realtime signal by its number (signal(7)).
pub fn realtime(number: i32) -> Option<Signal> {
    let known = (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number);
    // SAFETY: it is in the range that libc leaves to programs, which `from_raw_unchecked` asks for.
    known.then(|| unsafe { Signal::from_raw_unchecked(number) })
}

/// Which side of [`fork`] this is.
pub enum Fork {
    Parent(i32),
    Child,
}

/// A copy of this process, in the cgroup v2 group of `group` from its first instruction on (clone3(2),
/// CLONE_INTO_CGROUP), or in ours. To be called with one thread only.
pub fn fork(group: Option<BorrowedFd>) -> io::Result<Fork> {
    /// linux/sched.h; libc's has too narrow a type.
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    const SIZE: usize = size_of::<libc::clone_args>();
    // SAFETY: all of clone_args are numbers, for which zero is a value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    if let Some(group) = group {
        arguments.flags = CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(group.as_raw_fd().unsigned_abs());
    }
    // SAFETY: without CLONE_VM the child has its own copy of all memory, as after fork(2); with one thread no lock is
    // held by somebody who is not there.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, SIZE) };
    match i32::try_from(pid) {
        Ok(0) => Ok(Fork::Child),
        Ok(pid @ 1..) => Ok(Fork::Parent(pid)),
        _ => Err(io::Error::last_os_error()),
    }
}
