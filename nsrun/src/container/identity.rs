//! Who the process is in the end: ids, groups, the five capability sets, no_new_privs.

use std::collections::HashSet;

use anyhow::{Context, Result};
use oci_spec::runtime::{Capability, LinuxCapabilities, Process};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::call::Call;

/// The capabilities in the order of their numbers (linux/capability.h).
const NUMBERED: [Capability; 41] = {
    use Capability::*;
    [
        Chown,
        DacOverride,
        DacReadSearch,
        Fowner,
        Fsetid,
        Kill,
        Setgid,
        Setuid,
        Setpcap,
        LinuxImmutable,
        NetBindService,
        NetBroadcast,
        NetAdmin,
        NetRaw,
        IpcLock,
        IpcOwner,
        SysModule,
        SysRawio,
        SysChroot,
        SysPtrace,
        SysPacct,
        SysAdmin,
        SysBoot,
        SysNice,
        SysResource,
        SysTime,
        SysTtyConfig,
        Mknod,
        Lease,
        AuditWrite,
        AuditControl,
        Setfcap,
        MacOverride,
        MacAdmin,
        Syslog,
        WakeAlarm,
        BlockSuspend,
        AuditRead,
        Perfmon,
        Bpf,
        CheckpointRestore,
    ]
};

/// Everything about it, ready to be applied.
#[derive(Clone, Debug)]
pub struct Identity {
    uid: u32,
    gid: u32,
    groups: Vec<Gid>,
    umask: u32,
    bounding: CapabilitySet,
    sets: CapabilitySets,
    ambient: CapabilitySet,
    no_new_privs: bool,
}

impl Identity {
    pub fn of(process: &Process) -> Identity {
        let user = process.user();
        // The crate's default has some; who asks for none gets none.
        let sets = process.capabilities().clone().unwrap_or_else(no_capabilities);
        Identity {
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().iter().flatten().map(|gid| Gid::from_raw(*gid)).collect(),
            umask: user.umask().unwrap_or(0o022),
            bounding: bits(sets.bounding().as_ref()),
            sets: CapabilitySets {
                effective: bits(sets.effective().as_ref()),
                permitted: bits(sets.permitted().as_ref()),
                inheritable: bits(sets.inheritable().as_ref()),
            },
            ambient: bits(sets.ambient().as_ref()),
            no_new_privs: process.no_new_privileges().unwrap_or(false),
        }
    }

    /// Of the owner of a terminal.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Applies it to this process; what it could do before, it cannot do afterwards, until execve(2) has made it so but
    /// for one thing, if `filter` asks for it: to load a filter.
    pub fn assume(&self, filter: bool) -> Result<()> {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(self.umask));
        // 1. The bounding set, which needs CAP_SETPCAP.
        self.bound().context("cannot drop capabilities")?;
        // 2. The groups, which need CAP_SETGID, and the ids. What is permitted must survive leaving uid 0.
        // With no_new_privs everybody may load a filter.
        let keep =
            if filter && !self.no_new_privs { CapabilitySet::SYS_ADMIN } else { CapabilitySet::empty() };
        self.set_ids(keep).with_context(|| format!("cannot become user {}:{}", self.uid, self.gid))?;
        // 3. What is permitted at all, then ambient ones, which must be permitted and inheritable.
        self.set_capabilities(keep).context("cannot set capabilities")?;
        if self.no_new_privs {
            rustix::thread::set_no_new_privs(true).call("prctl").context("cannot set no_new_privs")?;
        }
        Ok(())
    }

    fn bound(&self) -> Result<()> {
        for number in 0..64 {
            let one = CapabilitySet::from_bits_retain(1 << number);
            if self.bounding.contains(one) {
                continue;
            }
            match rustix::thread::remove_capability_from_bounding_set(one) {
                // The kernel knows no more.
                Err(Errno::INVAL) => break,
                dropped => dropped.call("prctl")?,
            }
        }
        Ok(())
    }

    fn set_ids(&self, keep: CapabilitySet) -> Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        if self.uid != 0 && !(self.sets.permitted | keep).is_empty() {
            rustix::thread::set_keep_capabilities(true).call("prctl")?;
        }
        rustix::thread::set_thread_groups(&self.groups).call("setgroups")?;
        rustix::thread::set_thread_res_gid(gid, gid, gid).call("setresgid")?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).call("setresuid")
    }

    fn set_capabilities(&self, keep: CapabilitySet) -> Result<()> {
        let CapabilitySets { effective, permitted, inheritable } = self.sets;
        let sets = CapabilitySets { effective: effective | keep, permitted: permitted | keep, inheritable };
        rustix::thread::set_capabilities(None, sets).call("capset")?;
        // The kernel lets no other be ambient. Who asks for more gets these, as with runc and crun: what `runc spec` and
        // `crun spec` write has ambient ones that are not inheritable.
        let ambient = self.ambient & permitted & inheritable;
        for number in 0..64 {
            let one = CapabilitySet::from_bits_retain(1 << number);
            if ambient.contains(one) {
                rustix::thread::configure_capability_in_ambient_set(one, true).call("prctl")?;
            }
        }
        Ok(())
    }
}

fn no_capabilities() -> LinuxCapabilities {
    let mut none = LinuxCapabilities::default();
    none.set_bounding(None).set_effective(None).set_inheritable(None).set_permitted(None).set_ambient(None);
    none
}

/// Those that this process could give to another.
pub fn all_capabilities() -> HashSet<Capability> {
    let has = |number: usize| {
        let one = CapabilitySet::from_bits_retain(1 << number);
        rustix::thread::capability_is_in_bounding_set(one).unwrap_or(false)
    };
    (0..NUMBERED.len()).filter(|number| has(*number)).map(|number| NUMBERED[number]).collect()
}

/// Every capability, in the order of their numbers.
pub fn all() -> Vec<Capability> {
    NUMBERED.to_vec()
}

fn bits(set: Option<&HashSet<Capability>>) -> CapabilitySet {
    let number = |capability: &Capability| NUMBERED.iter().position(|known| known == capability);
    let bits = set.into_iter().flatten().filter_map(number).fold(0, |bits, number| bits | 1u64 << number);
    CapabilitySet::from_bits_retain(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_kernels() {
        let of = |capability| bits(Some(&HashSet::from([capability])));
        assert_eq!(of(Capability::Chown), CapabilitySet::CHOWN);
        assert_eq!(of(Capability::SysAdmin), CapabilitySet::SYS_ADMIN);
        assert_eq!(of(Capability::Setfcap), CapabilitySet::SETFCAP);
        assert_eq!(of(Capability::CheckpointRestore), CapabilitySet::CHECKPOINT_RESTORE);
    }

    #[test]
    fn dockers_default_set_has_its_known_value() {
        let defaults = crate::spec::defaults::capabilities(0, &crate::spec::defaults::CAPABILITIES.into());
        assert_eq!(bits(defaults.bounding().as_ref()).bits(), 0xa804_25fb);
    }
}
