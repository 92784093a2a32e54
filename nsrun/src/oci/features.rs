//! `features`: what nsrun knows of the runtime specification (runtime-spec, features.md).

use anyhow::Result;
use serde_json::json;

use crate::container::hooks::Kind;
use crate::container::identity;

pub fn features() -> Result<()> {
    let hooks: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    let features = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": hooks,
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "uts"],
            "capabilities": identity::all(),
            "cgroup": {"v1": true, "v2": true, "systemd": false, "systemdUser": false},
        },
        "annotations": {"io.github.gocker.nsrun.version": env!("CARGO_PKG_VERSION")},
    });
    stage::print(&(serde_json::to_string_pretty(&features)? + "\n"))
}
