//! `features`: what nsrun knows of the runtime specification (runtime-spec, features.md and features-linux.md). Each list
//! comes from where its words are acted on.

use anyhow::Result;
use oci_spec::runtime::LinuxNamespaceType;
use serde_json::{Value, json};

use crate::container::flags;
use crate::container::hooks::Kind;
use crate::container::{identity, settings};
use crate::seccomp;

pub fn features() -> Result<()> {
    let hooks: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    let features = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": hooks,
        "mountOptions": flags::words(),
        "linux": linux(),
        "annotations": {"io.github.gocker.nsrun.version": env!("CARGO_PKG_VERSION")},
    });
    stage::print(&(serde_json::to_string_pretty(&features)? + "\n"))
}

fn linux() -> Value {
    use LinuxNamespaceType::*;
    json!({
        "namespaces": [Cgroup, Ipc, Mount, Network, Pid, Time, User, Uts],
        "capabilities": identity::all(),
        "cgroup": {"v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": false},
        "seccomp": {
            "enabled": true,
            "actions": seccomp::ACTIONS,
            "operators": seccomp::OPERATORS,
            "archs": seccomp::ARCHITECTURES,
            "knownFlags": seccomp::FLAGS.map(|(flag, _)| flag),
            "supportedFlags": seccomp::supported_flags(),
        },
        "apparmor": {"enabled": true},
        // A process has its label; mounts do not.
        "selinux": {"enabled": false},
        "intelRdt": {"enabled": false},
        "memoryPolicy": {
            "modes": settings::MEMORY_MODES.map(|(mode, _)| mode),
            "flags": settings::MEMORY_FLAGS.map(|(flag, _)| flag),
        },
        "mountExtensions": {"idmap": {"enabled": true}},
        "netDevices": {"enabled": false},
    })
}
