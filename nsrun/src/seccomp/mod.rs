//! Seccomp filters: from `linux.seccomp` of the configuration (OCI runtime-spec, config-linux.md "Seccomp") to the
//! program that the kernel runs at every system call.
//!
//! The meaning of overlapping rules is libseccomp's, as crun and runc use it: a rule without arguments decides alone; of
//! those with arguments the first that matches; what none matches gets the default. And runc's addition: a number
//! above all that the rules name is of a system call that their author did not know; it answers ENOSYS, so that a
//! program falls back on an older one, where the default would have answered EPERM.

pub mod bpf;
mod listener;
mod rules;
mod syscalls;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator,
};
use serde::{Deserialize, Serialize};

use crate::sys;
use bpf::Instruction;
pub use listener::Connection;

/// The longest program that the kernel takes (linux/bpf_common.h, BPF_MAXINSNS).
const MAX_LENGTH: usize = 4096;

/// What a rule can answer.
pub const ACTIONS: [LinuxSeccompAction; 9] = {
    use LinuxSeccompAction::*;
    [
        ScmpActAllow,
        ScmpActErrno,
        ScmpActKill,
        ScmpActKillProcess,
        ScmpActKillThread,
        ScmpActLog,
        ScmpActNotify,
        ScmpActTrace,
        ScmpActTrap,
    ]
};

/// How it can compare an argument.
pub const OPERATORS: [LinuxSeccompOperator; 7] = {
    use LinuxSeccompOperator::*;
    [ScmpCmpEq, ScmpCmpGe, ScmpCmpGt, ScmpCmpLe, ScmpCmpLt, ScmpCmpMaskedEq, ScmpCmpNe]
};

/// The ways in which programs of this machine can call the kernel; rules for others have nothing to hold for.
pub const ARCHITECTURES: [Arch; 3] = [Arch::ScmpArchX32, Arch::ScmpArchX86, Arch::ScmpArchX86_64];

/// A filter, ready to be loaded; also part of a container's record, for those who come later.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Filter {
    #[serde(with = "bpf::digits")]
    program: Vec<Instruction>,
    flags: libc::c_ulong,
    listener: Option<Listener>,
}

/// Who is asked about the calls of SCMP_ACT_NOTIFY.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Listener {
    pub path: PathBuf,
    pub metadata: String,
}

impl Filter {
    /// # Errors
    /// The configuration makes no sense, or cannot be had on this machine. The field is named.
    pub fn compile(seccomp: &LinuxSeccomp) -> Result<Filter> {
        let program = rules::compile(seccomp).context("cannot use linux.seccomp")?;
        ensure!(
            program.len() <= MAX_LENGTH,
            "cannot use linux.seccomp: {} instructions are too many",
            program.len()
        );
        let uses_listener = rules::uses(seccomp, LinuxSeccompAction::ScmpActNotify);
        let listener = match (seccomp.listener_path(), uses_listener) {
            (Some(path), true) => Some(Listener {
                path: path.clone(),
                metadata: seccomp.listener_metadata().clone().unwrap_or_default(),
            }),
            (None, true) => bail!("cannot use linux.seccomp: SCMP_ACT_NOTIFY needs a listenerPath"),
            (Some(_), false) => None,
            (None, false) if seccomp.listener_metadata().as_ref().is_some_and(|text| !text.is_empty()) => {
                bail!("cannot use linux.seccomp.listenerMetadata: there is no listenerPath")
            }
            (None, false) => None,
        };
        Ok(Filter { program, flags: flags(seccomp, listener.is_some()), listener })
    }

    /// Reaches whoever is to decide, as long as the host's paths mean what they do; `None` if nobody is asked.
    pub fn connect(filter: Option<&Filter>, id: &str, bundle: &Path) -> Result<Option<Connection>> {
        let listener = filter.and_then(|filter| filter.listener.as_ref());
        listener.map(|listener| Connection::open(listener, id, bundle)).transpose()
    }

    /// Loads it into this process: from here on it holds. Without no_new_privs it takes CAP_SYS_ADMIN.
    ///
    /// With a [`Listener`] the descriptor of it is handed over to `listener`, by the protocol of the OCI
    /// specification ("The Container Process State"); `pid` is this process as the host sees it.
    pub fn load(&self, listener: Option<&Connection>, pid: i32) -> Result<()> {
        let fd = sys::load_filter(&self.program, self.flags).context("seccomp");
        match (fd.context("cannot load linux.seccomp")?, listener) {
            (Some(fd), Some(listener)) => listener.hand_over(fd.as_fd(), pid),
            (None, _) => Ok(()),
            (Some(_), None) => bail!("cannot load linux.seccomp: nobody listens"),
        }
    }
}

/// linux/seccomp.h, SECCOMP_FILTER_FLAG_*.
pub const FLAGS: [(LinuxSeccompFilterFlag, libc::c_ulong); 4] = {
    use LinuxSeccompFilterFlag::*;
    [
        (SeccompFilterFlagLog, libc::SECCOMP_FILTER_FLAG_LOG),
        (SeccompFilterFlagSpecAllow, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW),
        (SeccompFilterFlagTsync, libc::SECCOMP_FILTER_FLAG_TSYNC),
        (SeccompFilterFlagWaitKillableRecv, libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV),
    ]
};

/// Those that this kernel has.
pub fn supported_flags() -> Vec<LinuxSeccompFilterFlag> {
    let with = |bits| match bits {
        // Only ever together.
        libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV => bits | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
        bits => bits,
    };
    FLAGS.iter().filter(|(_, bits)| sys::has_filter_flags(with(*bits))).map(|(flag, _)| *flag).collect()
}

fn flags(seccomp: &LinuxSeccomp, listener: bool) -> libc::c_ulong {
    let wanted = seccomp.flags().as_deref().unwrap_or_default();
    let wanted = FLAGS.iter().filter(|(flag, _)| wanted.contains(flag)).map(|(_, bits)| bits);
    let listening = if listener {
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH
    } else {
        0
    };
    wanted.fold(listening, |flags, flag| flags | flag)
}
