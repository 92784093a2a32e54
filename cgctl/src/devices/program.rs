//! Loads programs into the kernel and attaches them to groups: bpf(2).

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::code::Instruction;
use crate::sys;

/// Commands (`enum bpf_cmd`).
const PROG_LOAD: u32 = 5;
const PROG_ATTACH: u32 = 8;
const PROG_DETACH: u32 = 9;
const PROG_GET_FD_BY_ID: u32 = 13;
const PROG_QUERY: u32 = 16;

/// BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE.
const TYPE: u32 = 15;
const ATTACH_TYPE: u32 = 6;
/// BPF_F_ALLOW_MULTI: beside others, here and in groups inside.
const MULTI: u32 = 2;

pub fn load(code: &[Instruction]) -> io::Result<OwnedFd> {
    let license = c"MIT OR Apache-2.0";
    let count = u32::try_from(code.len()).unwrap_or(u32::MAX);
    // prog_type, insn_cnt; insns; license; log_level, log_size; log_buf; kern_version, prog_flags.
    let mut attributes = [pair(TYPE, count), address(code.as_ptr()), address(license.as_ptr()), 0, 0, 0];
    sys::bpf_fd(PROG_LOAD, &mut attributes)
}

pub fn attach(group: &File, program: &OwnedFd) -> io::Result<()> {
    // target_fd, attach_bpf_fd; attach_type, attach_flags.
    let mut attributes = [pair(number(group), number(program)), pair(ATTACH_TYPE, MULTI)];
    sys::bpf(PROG_ATTACH, &mut attributes).map(drop)
}

pub fn detach(group: &File, id: u32) -> io::Result<()> {
    let program = sys::bpf_fd(PROG_GET_FD_BY_ID, &mut [pair(id, 0), 0])?;
    let mut attributes = [pair(number(group), number(&program)), pair(ATTACH_TYPE, 0)];
    sys::bpf(PROG_DETACH, &mut attributes).map(drop)
}

/// The ids of the programs that decide about devices in this group itself.
pub fn attached(group: &File) -> io::Result<Vec<u32>> {
    let mut ids = [0u32; 64];
    // target_fd, attach_type; query_flags, attach_flags; prog_ids; prog_cnt.
    let mut attributes = [pair(number(group), ATTACH_TYPE), 0, address(ids.as_mut_ptr()), pair(64, 0)];
    sys::bpf(PROG_QUERY, &mut attributes)?;
    let count = usize::try_from(attributes[3] & 0xffff_ffff).unwrap_or(0);
    Ok(ids[..count.min(ids.len())].to_vec())
}

/// Two numbers of 32 bits, the first at the lower address.
fn pair(first: u32, second: u32) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

fn number(fd: &impl AsRawFd) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}
