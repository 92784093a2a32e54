//! Bundles for the OCI verbs.

use serde_json::{Value, json};
use tests::{Host, Output};

use super::ROOTFS;

/// A configuration that runs a shell script in the usual namespaces, in a cgroup of its own.
pub fn config(host: &Host, id: &str, script: &str) -> Value {
    let caps = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh", "-c", script], "env": ["PATH=/bin"],
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
        },
        "root": {"path": ROOTFS},
        "hostname": id,
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["newinstance", "ptmxmode=0666", "mode=0620"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}],
            "cgroupsPath": format!("{}/{id}", host.cgroup_parent()),
        },
    })
}

/// Writes the bundle `/run/ID`.
pub fn write(host: &Host, id: &str, config: &Value) {
    let dir = host.path(&format!("/run/{id}"));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
}

/// The bundle of a script.
pub fn script(host: &Host, id: &str, script: &str) {
    write(host, id, &config(host, id, script));
}

/// Creates the container of the bundle `/run/ID`; what it says goes to `/run/ID.out`.
pub fn create(host: &Host, id: &str) -> Output {
    host.sh(&format!(
        "nsrun create --bundle /run/{id} --pid-file /run/{id}.pid {id} > /run/{id}.out 2>/run/{id}.err; \
                      code=$?; cat /run/{id}.err >&2; exit $code"
    ))
}

/// `nsrun VERB ID`.
pub fn nsrun(host: &Host, words: &[&str]) -> Output {
    host.run(&[&["nsrun"], words].concat())
}

pub fn status(host: &Host, id: &str) -> String {
    nsrun(host, &["state", id]).json()["status"].as_str().unwrap().to_owned()
}

/// Its end is an event of its pid: the harness waits for that, not for a status.
pub fn wait_for_end(host: &Host, id: &str) {
    let pid = std::fs::read_to_string(host.path(&format!("/run/{id}.pid"))).unwrap();
    host.sh(&format!("tail --pid={pid} -f /dev/null")).ok();
}

pub fn output(host: &Host, id: &str) -> String {
    std::fs::read_to_string(host.path(&format!("/run/{id}.out"))).unwrap()
}

/// What must be gone from the host for the leak check: only below the tools' own directories is looked at.
pub fn delete(host: &Host, id: &str) {
    nsrun(host, &["delete", "--force", id]).prints("");
}
