//! One field of a configuration at a time, by crun, by runc and by nsrun: the same bundle must come to the same end.
//!
//! A case is a change of one ordinary configuration and a script that shows what became of it. What counts is whether
//! the container ran, what its script printed, and its exit code; not the words of an error. Where crun and runc
//! differ, the case says whom nsrun follows, and why; the test fails when the three no longer differ in that way.

mod fields;
mod mounts;
mod seccomp;

use serde_json::{Value, json};

use tests::Host;

use super::{ROOTFS, host};

/// Whom nsrun agrees with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Like {
    /// crun and runc agree.
    Both,
    /// With this one, not with the other.
    Crun(&'static str),
    Runc(&'static str),
    /// With neither: this is what it does.
    Neither(&'static str, &'static str),
}

/// name, JSON merge patch (RFC 7396) of the ordinary configuration, script, whom nsrun follows.
pub struct Case(pub &'static str, pub Value, pub &'static str, pub Like);

/// What a container came to, if it never ran.
const REFUSED: &str = "refused";
/// Says that it did.
const RAN: &str = "ran\n";

/// What every case begins with.
fn ordinary(script: &str) -> Value {
    let mount = |destination: &str, typ: &str, options: &str| {
        let options: Vec<&str> = options.split(',').collect();
        json!({"destination": destination, "type": typ, "source": typ, "options": options})
    };
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/sh", "-c", format!("echo ran\n{script}")],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": sets(&["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_NET_RAW", "CAP_MKNOD"]),
        },
        "root": {"path": ROOTFS},
        "hostname": "table",
        "mounts": [
            mount("/proc", "proc", "nosuid,noexec,nodev"),
            mount("/dev", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
            mount("/dev/pts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
            mount("/sys", "sysfs", "nosuid,noexec,nodev,ro"),
        ],
        "linux": {"namespaces": namespaces(&["pid", "mount", "ipc", "uts", "network"])},
    })
}

pub fn namespaces(types: &[&str]) -> Value {
    types.iter().map(|typ| json!({"type": typ})).collect()
}

/// Capabilities as root gets them.
pub fn sets(names: &[&str]) -> Value {
    json!({"bounding": names, "effective": names, "permitted": names})
}

/// The ordinary mounts and these.
pub fn and_mounts(more: &[Value]) -> Value {
    let mut mounts = ordinary("")["mounts"].as_array().unwrap().clone();
    mounts.extend(more.iter().cloned());
    json!({"mounts": mounts})
}

pub fn patch(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    into.remove(key);
                } else {
                    self::patch(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

/// Runs every case by every runtime, all in one shell: a test of so many containers must not spend its time on
/// starting shells.
const RUN: &str = r#"
cd /run/table
for case in $(ls); do
  for runtime in crun runc nsrun; do
    cp -a /run/rootfs /run/work && mv /run/rootfs /run/kept && mv /run/work /run/rootfs
    case $runtime in
      crun) set -- unshare --mount --propagation slave sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$0" "$@"' \
            crun --root /run/crun run -b /run/table/$case t-$case-$$ ;;
      runc) set -- runc --root /run/runc run -b /run/table/$case t-$case-$$ ;;
      nsrun) set -- nsrun run -b /run/table/$case t-$case-$$ ;;
    esac
    timeout -s KILL 20 "$@" < /dev/null > $case/$runtime.out 2> $case/$runtime.err
    echo $? > $case/$runtime.code
    rm -rf /run/rootfs && mv /run/kept /run/rootfs
  done
done
"#;

/// What a runtime made of a case.
fn outcome(host: &Host, case: &str, runtime: &str) -> (String, String) {
    let read = |what: &str| {
        let path = host.path(&format!("/run/table/{case}/{runtime}.{what}"));
        String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
    };
    let (out, code, errors) = (read("out"), read("code"), read("err"));
    match out.strip_prefix(RAN) {
        Some(rest) => (format!("{rest}code {code}"), errors),
        None => (REFUSED.to_owned(), errors),
    }
}

/// Every case must come to what it says.
fn compare(prepare: &str, cases: &[Case]) {
    let host = host();
    host.sh(&format!("mkdir -p {ROOTFS}/proc {ROOTFS}/sys {ROOTFS}/dev {ROOTFS}/etc/dir; {prepare}")).ok();
    for Case(name, change, script, _) in cases {
        let mut config = ordinary(script);
        config["linux"]["cgroupsPath"] = format!("{}/{name}", host.cgroup_parent()).into();
        patch(&mut config, change);
        let dir = host.path(&format!("/run/table/{name}"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    }
    host.sh(RUN).ok();
    let mut wrong = Vec::new();
    for Case(name, _, _, like) in cases {
        let [crun, runc, nsrun] = ["crun", "runc", "nsrun"].map(|runtime| outcome(&host, name, runtime));
        let (c, r, n) = (&crun.0, &runc.0, &nsrun.0);
        let right = match like {
            Like::Both => n == c && n == r,
            Like::Crun(_) => n == c && n != r,
            Like::Runc(_) => n == r && n != c,
            Like::Neither(is, _) => n.trim_end() == *is && n != c && n != r,
        };
        if !right {
            wrong.push(format!("{name}: {like:?}\n  crun  {crun:?}\n  runc  {runc:?}\n  nsrun {nsrun:?}"));
        }
    }
    host.sh("for at in /run/made/dir/sub /run/made/shared/sub /run/made/shared /run/ns/uts /run/ns/ipc; do umount $at 2>/dev/null; done
         ip netns del joined 2>/dev/null; umount /run/netns 2>/dev/null; rm -rf /run/ns /run/table /run/crun /run/runc /run/nsrun-table /run/made").ok();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
