//! `process`, names, namespaces, devices, hidden paths, kernel parameters.

use serde_json::{Value, json};

use super::Like::{Both, Crun, Neither, Runc};
use super::{Case, compare, namespaces, sets};

const STATUS: &str = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs)' /proc/self/status";

fn process(change: Value) -> Value {
    json!({"process": change})
}

fn linux(change: Value) -> Value {
    json!({"linux": change})
}

#[test]
fn process_fields() {
    let user = |user: Value| process(json!({"user": user}));
    let capabilities = |sets: Value| process(json!({"capabilities": sets}));
    let limit = |typ: &str, soft: u64, hard: u64| {
        process(json!({"rlimits": [{"type": typ, "soft": soft, "hard": hard}]}))
    };
    compare(
        "",
        &[
            Case("nothing", json!({}), STATUS, Both),
            Case("env", process(json!({"env": ["PATH=/bin", "A=b c", "E="]})), "env | sort", Both),
            Case("no-env", process(json!({"env": null})), "/bin/busybox env | /bin/busybox sort", Both),
            Case("args-by-path", process(json!({"args": ["sh", "-c", "echo ran; echo $0"]})), "", Both),
            Case("args-missing", process(json!({"args": null})), "", Both),
            Case("args-empty", process(json!({"args": []})), "", Both),
            Case("args-not-there", process(json!({"args": ["/nil"]})), "", Both),
            Case("args-directory", process(json!({"args": ["/etc"]})), "", Both),
            Case("args-not-executable", process(json!({"args": ["/etc/passwd"]})), "", Both),
            Case("cwd", process(json!({"cwd": "/etc"})), "pwd", Both),
            Case("cwd-made", process(json!({"cwd": "/a/b"})), "pwd; ls -ld . | cut -c1-10", Both),
            Case(
                "cwd-relative",
                process(json!({"cwd": "etc"})),
                "pwd",
                Runc("the specification: it must be absolute"),
            ),
            Case("cwd-file", process(json!({"cwd": "/etc/passwd"})), "pwd", Both),
            Case("user", user(json!({"uid": 1000, "gid": 2000})), STATUS, Both),
            Case("user-groups", user(json!({"uid": 7, "gid": 8, "additionalGids": [9, 10]})), STATUS, Both),
            Case("user-umask", user(json!({"uid": 0, "gid": 0, "umask": 0o27})), "umask", Both),
            Case("user-no-umask", user(json!({"uid": 0, "gid": 0})), "umask", Both),
            Case(
                "user-unknown",
                user(json!({"uid": 4242, "gid": 0})),
                "id -u; echo $HOME",
                Runc("docker: who is not listed has the home /"),
            ),
            Case("home", user(json!({"uid": 1000, "gid": 1000})), "echo $HOME", Both),
            Case("uid-negative", user(json!({"uid": -1, "gid": 0})), "id", Both),
            Case("no-new-privileges", process(json!({"noNewPrivileges": true})), STATUS, Both),
            Case("no-new-privileges-off", process(json!({"noNewPrivileges": false})), STATUS, Both),
            Case("capabilities-none", capabilities(sets(&[])), STATUS, Both),
            Case("capabilities-missing", capabilities(Value::Null), STATUS, Both),
            Case("capabilities-one", capabilities(sets(&["CAP_NET_BIND_SERVICE"])), STATUS, Both),
            Case(
                "capabilities-bounding-only",
                capabilities(json!({"bounding": ["CAP_CHOWN"], "effective": null, "permitted": null})),
                STATUS,
                Both,
            ),
            Case(
                "capabilities-ambient-not-inheritable",
                capabilities(json!({"bounding": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_CHOWN"],
                    "permitted": ["CAP_CHOWN"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_CHOWN", "CAP_KILL"]})),
                STATUS,
                Both,
            ),
            Case(
                "capabilities-ambient",
                process(json!({"user": {"uid": 5, "gid": 5}, "capabilities": {"bounding": ["CAP_CHOWN"],
                    "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"], "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"]}})),
                STATUS,
                Both,
            ),
            Case(
                "capabilities-inheritable",
                process(
                    json!({"user": {"uid": 5, "gid": 5}, "capabilities": {"inheritable": ["CAP_CHOWN"]}}),
                ),
                STATUS,
                Both,
            ),
            Case("capabilities-of-a-user", process(json!({"user": {"uid": 5, "gid": 5}})), STATUS, Both),
            Case(
                "capabilities-unknown",
                capabilities(sets(&["CAP_NIL"])),
                STATUS,
                Neither(
                    "refused",
                    "both leave it out; a capability that is asked for and missing is found out late",
                ),
            ),
            Case("rlimit-nofile", limit("RLIMIT_NOFILE", 100, 200), "ulimit -n; ulimit -Hn", Both),
            Case("rlimit-core", limit("RLIMIT_CORE", 0, 0), "ulimit -c", Both),
            Case(
                "rlimit-fsize",
                limit("RLIMIT_FSIZE", 1 << 20, 1 << 20),
                "grep file.size /proc/self/limits",
                Both,
            ),
            Case(
                "rlimit-stack",
                limit("RLIMIT_STACK", 1 << 20, 1 << 22),
                "grep stack /proc/self/limits",
                Both,
            ),
            Case("rlimit-nproc", limit("RLIMIT_NPROC", 99, 100), "grep processes /proc/self/limits", Both),
            Case("rlimit-cpu", limit("RLIMIT_CPU", 50, 60), "grep cpu /proc/self/limits", Both),
            Case(
                "rlimit-memlock",
                limit("RLIMIT_MEMLOCK", 4096, 4096),
                "grep locked.mem /proc/self/limits",
                Both,
            ),
            Case(
                "rlimit-sigpending",
                limit("RLIMIT_SIGPENDING", 9, 9),
                "grep signals /proc/self/limits",
                Both,
            ),
            Case(
                "rlimit-rttime",
                limit("RLIMIT_RTTIME", 9, 9),
                "grep realtime.timeout /proc/self/limits",
                Both,
            ),
            Case("rlimit-unknown", limit("RLIMIT_NIL", 1, 1), "ulimit -n", Both),
            Case("rlimit-soft-above-hard", limit("RLIMIT_NOFILE", 200, 100), "ulimit -n", Both),
            Case(
                "rlimit-twice",
                process(
                    json!({"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}, {"type": "RLIMIT_NOFILE", "soft": 40, "hard": 50}]}),
                ),
                "ulimit -n",
                Neither("refused", "the specification: duplicates are an error"),
            ),
            Case("oom-score", process(json!({"oomScoreAdj": 500})), "cat /proc/self/oom_score_adj", Both),
            Case("oom-score-zero", process(json!({"oomScoreAdj": 0})), "cat /proc/self/oom_score_adj", Both),
            Case(
                "oom-score-too-high",
                process(json!({"oomScoreAdj": 1001})),
                "cat /proc/self/oom_score_adj",
                Both,
            ),
            Case("apparmor-absent", process(json!({"apparmorProfile": "nil"})), "true", Both),
            Case("selinux-absent", process(json!({"selinuxLabel": "nil"})), "true", Both),
            Case("terminal-without-console", process(json!({"terminal": true})), "tty", Both),
            Case(
                "scheduler",
                process(json!({"scheduler": {"policy": "SCHED_BATCH", "nice": 5}})),
                "awk '{print $19, $41}' /proc/self/stat",
                Neither("5 3\ncode 0", "both are older than the field and leave it out silently"),
            ),
            Case(
                "io-priority",
                process(json!({"ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0}})),
                "ionice",
                Neither("idle\ncode 0", "both are older than the field and leave it out silently"),
            ),
            Case(
                "io-priority-out-of-range",
                process(json!({"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 9}})),
                "ionice",
                Neither("refused", "both are older than the field and leave it out silently"),
            ),
            Case(
                "scheduler-unknown",
                process(json!({"scheduler": {"policy": "SCHED_NIL"}})),
                "true",
                Neither("refused", "both are older than the field and leave it out silently"),
            ),
        ],
    );
}

#[test]
fn names_and_namespaces() {
    let with = |types: &[&str]| linux(json!({"namespaces": namespaces(types)}));
    let joined = |typ: &str, path: &str| {
        let mut all: Vec<Value> = ["pid", "mount", "ipc", "uts", "network"]
            .into_iter()
            .filter(|known| *known != typ)
            .map(|typ| json!({"type": typ}))
            .collect();
        all.push(json!({"type": typ, "path": path}));
        linux(json!({"namespaces": all}))
    };
    const SEES: &str = "for n in mnt pid uts ipc net cgroup user time; do \
        [ $(readlink /proc/self/ns/$n) = $(cat /etc/host-$n) ] && echo $n; done; true";
    let mapped = |first: u32| {
        json!({"namespaces": namespaces(&["pid", "mount", "ipc", "uts", "network", "user"]),
            "uidMappings": [{"containerID": 0, "hostID": first, "size": 60000}],
            "gidMappings": [{"containerID": 0, "hostID": first, "size": 60000}]})
    };
    compare(
        "for n in mnt pid uts ipc net cgroup user time; do readlink /proc/self/ns/$n > /run/rootfs/etc/host-$n; done
         ip netns add joined; ip -n joined link set lo up; mkdir /run/ns; touch /run/ns/uts /run/ns/ipc
         unshare --uts=/run/ns/uts hostname joined; unshare --ipc=/run/ns/ipc true",
        &[
            Case("namespaces", json!({}), SEES, Both),
            Case("no-network", with(&["pid", "mount", "ipc", "uts"]), SEES, Both),
            Case("no-ipc", with(&["pid", "mount", "uts", "network"]), SEES, Both),
            Case("no-pid", with(&["mount", "ipc", "uts", "network"]), SEES, Both),
            Case("cgroup", with(&["pid", "mount", "ipc", "uts", "network", "cgroup"]), SEES, Both),
            Case("time", with(&["pid", "mount", "ipc", "uts", "network", "time"]), SEES, Neither("cgroup\nuser\ncode 0", "both are older than the namespace")),
            Case("no-uts-but-hostname", with(&["pid", "mount", "ipc", "network"]), "hostname", Both),
            Case("twice", with(&["pid", "mount", "ipc", "uts", "network", "uts"]), SEES, Runc("the specification: duplicates are an error")),
            Case("unknown", with(&["pid", "mount", "nil"]), SEES, Both),
            Case("network-by-path", joined("network", "/run/netns/joined"), "ip -o link show lo | cut -d' ' -f3", Both),
            Case("uts-by-path", joined("uts", "/run/ns/uts"), "hostname", Both),
            Case("ipc-by-path", joined("ipc", "/run/ns/ipc"), SEES, Both),
            Case("pid-by-path", joined("pid", "/proc/self/ns/pid"), SEES, Both),
            Case("path-missing", joined("ipc", "/run/ns/nil"), SEES, Both),
            Case("path-of-another-kind", joined("ipc", "/run/ns/uts"), SEES, Both),
            Case("hostname", json!({"hostname": "other"}), "hostname", Both),
            Case("no-hostname", json!({"hostname": null}), "test $(hostname) = table; echo $?", Both),
            Case("hostname-too-long", json!({"hostname": "x".repeat(65)}), "hostname", Both),
            Case("domainname", json!({"domainname": "domain"}), "cat /proc/sys/kernel/domainname", Crun("runc 1.1 leaves it out silently")),
            Case("user-identity", linux(mapped(0)), "cat /proc/self/uid_map /proc/self/gid_map; id -u; ls -ldn /etc | awk '{print $3, $4}'", Both),
            Case("user-mapped", linux(mapped(100000)), "cat /proc/self/uid_map; id; ls -ldn /etc | awk '{print $3}'; touch /dev/shm", Both),
            Case("user-without-mappings", with(&["pid", "mount", "ipc", "uts", "network", "user"]), "cat /proc/self/uid_map", Both),
            Case(
                "mappings-without-user",
                linux(json!({"uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]})),
                "cat /proc/self/uid_map",
                Neither("refused", "both leave them out silently"),
            ),
            Case(
                "time-offsets",
                linux(json!({"namespaces": namespaces(&["pid", "mount", "ipc", "uts", "network", "time"]),
                    "timeOffsets": {"boottime": {"secs": 1_000_000, "nanosecs": 0}}})),
                "awk '$1 > 1000000 {print \"later\"}' /proc/uptime",
                Neither("later\ncode 0", "both are older than the namespace"),
            ),
            Case("version-1.0", json!({"ociVersion": "1.0.0"}), "true", Both),
            Case("version-1.3", json!({"ociVersion": "1.3.0"}), "true", Runc("a later version only adds")),
            Case("version-2", json!({"ociVersion": "2.0.0"}), "true", Crun("another major version means something else")),
            Case("unknown-property", json!({"nil": 1, "process": {"nil": 1}}), "true", Both),
            Case("annotations", json!({"annotations": {"a.b": "c"}}), "true", Both),
            Case("root-read-only", json!({"root": {"readonly": true}}), "touch /x 2>&1; touch /dev/x && echo dev", Both),
            Case("root-missing", json!({"root": null}), "true", Both),
            Case("root-not-there", json!({"root": {"path": "/run/nil"}}), "true", Both),
        ],
    );
}

#[test]
fn devices_paths_and_parameters() {
    let device = |device: Value| linux(json!({"devices": [device]}));
    let sysctl = |key: &str, value: &str| linux(json!({"sysctl": {key: value}}));
    compare(
        "mkdir -p /run/rootfs/hidden/dir; echo text > /run/rootfs/hidden/file; ln -s /etc /run/rootfs/link",
        &[
            Case(
                "devices-default",
                json!({}),
                "ls -l /dev | awk '{print $1, $5, $6, $NF}' | grep -v ^total",
                Crun("docker has /dev/core, too"),
            ),
            Case(
                "device-character",
                device(
                    json!({"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6}),
                ),
                "ls -ln /dev/mine | awk '{print $1, $3, $4, $5, $6}'",
                Both,
            ),
            Case(
                "device-block",
                device(json!({"path": "/dev/mine", "type": "b", "major": 7, "minor": 9, "fileMode": 0o600})),
                "ls -ln /dev/mine | awk '{print $1, $3, $4, $5, $6}'",
                Both,
            ),
            Case(
                "device-fifo",
                device(json!({"path": "/dev/mine", "type": "p", "fileMode": 0o600})),
                "ls -ln /dev/mine | awk '{print $1, $3, $4}'",
                Both,
            ),
            Case(
                "device-no-mode",
                device(json!({"path": "/dev/mine", "type": "c", "major": 1, "minor": 5})),
                "ls -ln /dev/mine | awk '{print $1, $3, $4, $5, $6}'",
                Both,
            ),
            Case(
                "device-elsewhere",
                device(
                    json!({"path": "/deep/er/mine", "type": "u", "major": 1, "minor": 5, "fileMode": 0o666}),
                ),
                "ls -ln /deep/er/mine | awk '{print $1, $5, $6}'",
                Both,
            ),
            Case(
                "device-unknown-type",
                device(json!({"path": "/dev/mine", "type": "x", "major": 1, "minor": 5})),
                "true",
                Runc("what is not known is refused"),
            ),
            Case(
                "masked-paths",
                linux(json!({"maskedPaths": ["/hidden/dir", "/hidden/file", "/nil", "/proc/kcore"]})),
                "ls -l /hidden/file | cut -c1-10; ls /hidden/dir; touch /hidden/dir/x 2>&1",
                Both,
            ),
            Case(
                "readonly-paths",
                linux(json!({"readonlyPaths": ["/hidden/dir", "/hidden/file", "/nil", "/proc/sys"]})),
                "touch /hidden/dir/x 2>&1; { echo > /hidden/file; } 2>&1; { echo > /proc/sys/kernel/hostname; } 2>&1; true",
                Both,
            ),
            Case("masked-relative", linux(json!({"maskedPaths": ["hidden/dir"]})), "ls /hidden/dir", Both),
            Case("sysctl-net", sysctl("net.ipv4.ip_forward", "1"), "cat /proc/sys/net/ipv4/ip_forward", Both),
            Case(
                "sysctl-slashes",
                sysctl("net/ipv4/ip_forward", "1"),
                "cat /proc/sys/net/ipv4/ip_forward",
                Both,
            ),
            Case("sysctl-ipc", sysctl("kernel.shmmax", "12345"), "cat /proc/sys/kernel/shmmax", Both),
            Case("sysctl-mqueue", sysctl("fs.mqueue.msg_max", "77"), "cat /proc/sys/fs/mqueue/msg_max", Both),
            Case(
                "sysctl-domainname",
                sysctl("kernel.domainname", "d"),
                "cat /proc/sys/kernel/domainname",
                Both,
            ),
            Case("sysctl-of-the-host", sysctl("vm.swappiness", "60"), "true", Both),
            Case("sysctl-unknown", sysctl("net.nil", "1"), "true", Both),
            Case("sysctl-bad-value", sysctl("net.ipv4.ip_forward", "x"), "true", Both),
            Case("sysctl-upwards", sysctl("net/../vm/swappiness", "60"), "true", Both),
            Case(
                "personality",
                linux(json!({"personality": {"domain": "LINUX32"}})),
                "uname -m",
                Crun("runc 1.1 does not know the field"),
            ),
            Case(
                "personality-unknown",
                linux(json!({"personality": {"domain": "NIL"}})),
                "uname -m",
                Crun("runc 1.1 does not know the field"),
            ),
            Case(
                "intel-rdt",
                linux(json!({"intelRdt": {"closID": "x"}})),
                "true",
                Neither("refused", "both leave it out silently here, where there is no resctrl"),
            ),
            Case(
                "net-devices",
                linux(json!({"netDevices": {"nil0": {}}})),
                "true",
                Neither("refused", "both are older than the field and leave it out silently"),
            ),
            Case(
                "memory-policy",
                linux(json!({"memoryPolicy": {"mode": "MPOL_NIL"}})),
                "true",
                Neither("refused", "both are older than the field and leave it out silently"),
            ),
            Case(
                "mount-label",
                linux(json!({"mountLabel": "nil"})),
                "true",
                Runc("there is no SELinux to label it"),
            ),
        ],
    );
}
