//! Namespaces by path: user, mount, cgroup, time of another container; and mounts with ids mapped.

use serde_json::{Value, json};
use tests::Host;

use super::bundle::{self, config, create, delete, nsrun};
use super::{ROOTFS, host};

const NAMES: [(&str, &str); 8] = [
    ("cgroup", "cgroup"),
    ("ipc", "ipc"),
    ("mount", "mnt"),
    ("network", "net"),
    ("pid", "pid"),
    ("time", "time"),
    ("user", "user"),
    ("uts", "uts"),
];

/// A container in new namespaces of every kind, its root mapped to the host's user 100000. Its pid.
fn first(host: &Host) -> String {
    let mut config = config(host, "first", "exec sleep 1000");
    let linux = config["linux"].as_object_mut().unwrap();
    linux.insert("namespaces".into(), NAMES.iter().map(|(typ, _)| json!({"type": typ})).collect());
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 60_000}]);
    linux.insert("uidMappings".into(), map.clone());
    linux.insert("gidMappings".into(), map);
    bundle::write(host, "first", &config);
    // Its root may not make them there.
    host.sh(&format!("cd {ROOTFS} && mkdir -p proc dev sys")).ok();
    create(host, "first").prints("");
    nsrun(host, &["start", "first"]).prints("");
    std::fs::read_to_string(host.path("/run/first.pid")).unwrap()
}

#[test]
fn every_namespace_of_another_container_is_joined_by_its_path() {
    let host = host();
    let pid = first(&host);
    let path = |file: &str| format!("/proc/{pid}/ns/{file}");
    let ids = |dir: &str| -> Vec<String> {
        NAMES
            .iter()
            .map(|(_, file)| host.run(&["readlink", &format!("{dir}/{file}")]).ok().trim().to_owned())
            .collect()
    };
    let firsts = ids(&format!("/proc/{pid}/ns"));
    assert!(firsts.iter().zip(ids("/proc/1/ns")).all(|(one, other)| *one != other), "{firsts:?}");
    let shows: Vec<String> = NAMES.iter().map(|(_, file)| format!("readlink /proc/self/ns/{file}")).collect();
    // All but the mount namespace, in which it has a root of its own.
    let mut config =
        config(&host, "second", &format!("{}; cat /proc/self/uid_map | tr -s ' '", shows.join("; ")));
    let joined: Vec<Value> =
        NAMES
            .iter()
            .map(|(typ, file)| {
                if *typ == "mount" { json!({"type": typ}) } else { json!({"type": typ, "path": path(file)}) }
            })
            .collect();
    config["linux"]["namespaces"] = joined.into();
    config.as_object_mut().unwrap().remove("hostname");
    bundle::write(&host, "second", &config);
    let shown = nsrun(&host, &["run", "--bundle=/run/second", "second"]).ok();
    let shown: Vec<&str> = shown.lines().collect();
    for (number, (typ, _)) in NAMES.iter().enumerate() {
        assert_eq!(shown[number] == firsts[number], *typ != "mount", "{typ}: {shown:?} {firsts:?}");
    }
    assert_eq!(shown[NAMES.len()], " 0 100000 60000");
    delete(&host, "first");
}

/// The root file system is still the one that the configuration names on the host.
#[test]
fn a_mount_namespace_is_joined_by_its_path() {
    let host = host();
    let mut other = host.start(&["unshare", "--mount", "sh", "-c", "echo up; exec cat"]);
    other.wait_for_line("up");
    let path = format!("/proc/{}/ns/mnt", other.inner_pid("cat"));
    let its = host.run(&["readlink", &path]).ok();
    let mut config = config(&host, "box", "readlink /proc/self/ns/mnt; hostname");
    config["linux"]["namespaces"][1] = json!({"type": "mount", "path": path});
    bundle::write(&host, "box", &config);
    nsrun(&host, &["run", "--bundle=/run/box", "box"]).prints(&format!("{its}box"));
    assert_eq!(other.end().code, 0);
}

#[test]
fn a_bind_shows_its_files_as_those_of_other_ids() {
    let host = host();
    host.sh("mkdir /run/source && touch /run/source/file && chown 1000:2000 /run/source/file").ok();
    let map = |from: u32| json!([{"containerID": from, "hostID": 5000, "size": 1}]);
    let mut config = config(&host, "box", "ls -ln /mnt/file | awk '{print $3, $4}'");
    let mount = json!({"destination": "/mnt", "type": "bind", "source": "/run/source", "options": ["bind"],
        "uidMappings": map(1000), "gidMappings": map(2000)});
    config["mounts"].as_array_mut().unwrap().push(mount);
    bundle::write(&host, "box", &config);
    let ran = nsrun(&host, &["run", "--bundle=/run/box", "box"]);
    host.sh("rm -r /run/source").ok();
    if ran.stderr.contains("EINVAL") {
        tests::skip!("this kernel does not map the ids of a tmpfs");
    }
    ran.prints("5000 5000");
}
