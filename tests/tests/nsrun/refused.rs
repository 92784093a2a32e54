//! What a configuration asks for and nsrun cannot do: an error by the name of the field, before anything is made.

use serde_json::{Value, json};

use super::bundle::{self, config};
use super::host;
use super::table::patch;

const NO_SELINUX: &str = "SELinux is not enabled on this host";

/// Field (where it is), what is asked for, what is said behind `nsrun: `.
fn cases() -> Vec<(Value, String)> {
    let process = |change: Value| json!({"process": change});
    let linux = |change: Value| json!({"linux": change});
    let first_mount = |change: Value| {
        let mut mount = json!({"destination": "/mnt", "type": "tmpfs", "source": "none"});
        patch(&mut mount, &change);
        json!({"mounts": [mount]})
    };
    let no_list = |which: &str, list: &str| {
        format!("cannot use process.execCPUAffinity.{which}: {list:?} is no list of processors")
    };
    let unknown = |field: &str, word: &str| {
        format!("cannot use /run/box/config.json: {field}: unknown variant `{word}`")
    };
    [
        (json!({"windows": {"layerFolders": ["x"]}}), "cannot use windows: this is Linux"),
        (json!({"solaris": {}}), "cannot use solaris: this is Linux"),
        (json!({"vm": {"kernel": {"path": "/x"}}}), "cannot use vm: this is Linux"),
        (json!({"zos": {}}), "cannot use zos: this is Linux"),
        (json!({"freebsd": {"jail": {}}}), "cannot use /run/box/config.json: freebsd: this is Linux"),
        (process(json!({"commandLine": "x"})), "cannot use process.commandLine: this is Linux"),
        (process(json!({"user": {"username": "x"}})), "cannot use process.user.username: this is Linux"),
        (
            process(json!({"user": {"umask": 512}})),
            "cannot use process.user.umask: it is not between 0 and 511",
        ),
        (
            process(json!({"user": {"uid": -1}})),
            "cannot use /run/box/config.json: process.user.uid: invalid value: integer `-1`",
        ),
        (process(json!({"execCPUAffinity": {"initial": "1-0"}})), &no_list("initial", "1-0")),
        (process(json!({"execCPUAffinity": {"final": "x"}})), "cannot use /run/box/config.json: process.execCPUAffinity.final: Invalid execCPUAffinity format: x"),
        (process(json!({"execCPUAffinity": {"final": "99999999"}})), &no_list("final", "99999999")),
        (
            process(json!({"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}})),
            "cannot use process.ioPriority.priority: 8 is not between 0 and 7",
        ),
        (
            process(json!({"ioPriority": {"class": "NIL", "priority": 1}})),
            &unknown("process.ioPriority.class", "NIL"),
        ),
        (
            process(json!({"scheduler": {"policy": "SCHED_ISO"}})),
            "cannot use process.scheduler.policy: SCHED_ISO exists in no kernel",
        ),
        (process(json!({"scheduler": {"policy": "NIL"}})), &unknown("process.scheduler.policy", "NIL")),
        (
            process(json!({"rlimits": [{"type": "NIL", "soft": 1, "hard": 1}]})),
            &unknown("process.rlimits[0].type", "NIL"),
        ),
        (process(json!({"selinuxLabel": "x"})), &format!("cannot use process.selinuxLabel x: {NO_SELINUX}")),
        (
            process(json!({"apparmorProfile": "x"})),
            "cannot use process.apparmorProfile x: AppArmor is not enabled on this host",
        ),
        (linux(json!({"mountLabel": "x"})), &format!("cannot use linux.mountLabel x: {NO_SELINUX}")),
        (linux(json!({"intelRdt": {"closID": "x"}})), "cannot use linux.intelRdt: nsrun does not support it"),
        (
            linux(json!({"netDevices": {"eth0": {}}})),
            "cannot use linux.netDevices: nsrun does not support it",
        ),
        (
            linux(json!({"personality": {"domain": "LINUX", "flags": ["x"]}})),
            "cannot use linux.personality.flags: x is not known",
        ),
        (
            linux(json!({"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "x"}})),
            "cannot use linux.memoryPolicy.nodes: \"x\" is no list of nodes",
        ),
        (linux(json!({"memoryPolicy": {"mode": "NIL"}})), &unknown("linux.memoryPolicy.mode", "NIL")),
        (
            linux(json!({"rootfsPropagation": "nil"})),
            "cannot use linux.rootfsPropagation: nil is not a kind of propagation",
        ),
        (
            linux(json!({"sysctl": {"kernel.panic": "1"}})),
            "cannot use linux.sysctl: kernel.panic is not of a namespace, it would be the host's",
        ),
        (
            linux(json!({"timeOffsets": {"monotonic": {"secs": 1}}})),
            "cannot use linux.timeOffsets: there is no new time namespace",
        ),
        (
            linux(json!({"uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]})),
            "cannot use linux.uidMappings and linux.gidMappings: there is no new user namespace",
        ),
        (linux(json!({"namespaces": [{"type": "nil"}]})), &unknown("linux.namespaces[0].type", "nil")),
        (
            linux(json!({"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}})),
            "cannot use linux.seccomp: SCMP_ACT_NOTIFY needs a listenerPath",
        ),
        (
            linux(json!({"seccomp": {"defaultAction": "SCMP_ACT_NIL"}})),
            &unknown("linux.seccomp.defaultAction", "SCMP_ACT_NIL"),
        ),
        (
            linux(json!({"resources": {"network": {"classID": 1}}})),
            "cannot make cgroup PARENT/box: cgctl: cannot limit network: ",
        ),
        (
            first_mount(json!({"options": ["bind"], "source": null})),
            "cannot use mounts[0]: source: it is missing, and there is an option bind",
        ),
        (
            first_mount(json!({"uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]})),
            "cannot use mounts[0]: uidMappings and gidMappings: one is missing",
        ),
        (
            first_mount(json!({"options": "ro"})),
            "cannot use /run/box/config.json: mounts[0].options: invalid type: string \"ro\"",
        ),
    ]
    .into_iter()
    .map(|(change, said)| (change, said.to_owned()))
    .collect()
}

#[test]
fn what_cannot_be_had_is_an_error_that_names_the_field() {
    let host = host();
    if host.sh("test -e /sys/fs/selinux/enforce || grep -q Y /sys/module/apparmor/parameters/enabled").code
        == 0
    {
        tests::skip!("SELinux or AppArmor is enabled on this machine");
    }
    for (change, said) in cases() {
        let mut config = config(&host, "box", "echo ran");
        patch(&mut config, &change);
        bundle::write(&host, "box", &config);
        let ran = bundle::nsrun(&host, &["run", "--bundle=/run/box", "box"]);
        let said = format!("nsrun: {}", said.replace("PARENT", &host.cgroup_parent()));
        assert!(
            ran.code == 125 && ran.stderr.starts_with(&said) && ran.stdout.is_empty(),
            "{change}\n{said}\n{ran}"
        );
    }
    host.assert_clean();
}

/// What the specification says of extensions: a property that nobody knows is not an error.
#[test]
fn a_property_that_the_specification_does_not_have_is_ignored() {
    let host = host();
    let mut config = config(&host, "box", "echo ran");
    patch(&mut config, &json!({"x": 1, "process": {"x": {}}, "linux": {"x": []}}));
    bundle::write(&host, "box", &config);
    bundle::nsrun(&host, &["run", "--bundle=/run/box", "box"]).prints("ran");
}
