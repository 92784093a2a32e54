//! docker's defaults, which a container gets unless it is told otherwise (moby, oci/defaults.go and oci/caps).

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use oci_spec::runtime::{Capability, LinuxCapabilities, Mount};

/// Paths that show or change more of the host than a container should see.
pub const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that may be read.
pub const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub const CAPABILITIES: [Capability; 14] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Mknod,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// destination, type, source, options.
const MOUNTS: [(&str, &str, &str, &[&str]); 7] = [
    ("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    ),
    ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]),
    ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]),
];

/// Bounding for all; permitted and effective for root only, as execve(2) would leave another user's empty anyway.
pub fn capabilities(uid: u32, bounding: &HashSet<Capability>) -> LinuxCapabilities {
    let none = || Some(HashSet::new());
    let held = || if uid == 0 { Some(bounding.clone()) } else { none() };
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(bounding.clone()))
        .set_permitted(held())
        .set_effective(held())
        .set_inheritable(none())
        .set_ambient(none());
    sets
}

pub fn mounts() -> Vec<Mount> {
    MOUNTS
        .iter()
        .map(|(destination, typ, source, options)| mount(destination, typ, source, options))
        .collect()
}

fn mount(destination: &str, typ: &str, source: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(PathBuf::from(destination))
        .set_typ(Some(typ.to_owned()))
        .set_source(Some(PathBuf::from(source)))
        .set_options(Some(options.iter().map(|option| (*option).to_owned()).collect()));
    mount
}

/// Unprivileged ping, and ports below 1024 for everybody: harmless in a network of one's own.
pub fn sysctl() -> HashMap<String, String> {
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}
