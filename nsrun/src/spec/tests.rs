//! The whole configuration, as JSON, from options and sections.

use serde_json::{Value, json};
use stage::Document;

use super::*;
use crate::options::ProcessOptions;

fn facts(volumes: &[&str]) -> Facts {
    Facts {
        id: "ab".repeat(32).parse().unwrap(),
        root: "/root/fs".into(),
        files: Some("/run/gocker/nsrun/ID".into()),
        accounts: Accounts { passwd: "app:x:7:8::/app:".to_owned(), group: String::new() },
        volumes: volumes.iter().map(|text| Volume::parse(text).unwrap()).collect(),
        mounts: Vec::new(),
        devices: Vec::new(),
        ids: None,
        security: Security::of(&options().security, &Default::default()).unwrap(),
        seccomp: None,
        client: Client::default(),
        host: Host {
            hostname: "hosts".to_owned(),
            resolv_conf: "nameserver 127.0.0.53\n".to_owned(),
            hosts: "1.2.3.4\thosts\n".to_owned(),
            ipv6: false,
            masked: vec!["/sys/cpu0".to_owned()],
        },
    }
}

fn sections(document: &Value) -> Sections {
    let text = document.to_string();
    Sections::of(&Document::read(text.as_bytes()).unwrap().unwrap()).unwrap()
}

fn options() -> ContainerOptions {
    ContainerOptions { command: vec!["sh".to_owned()], ..ContainerOptions::default() }
}

fn spec(options: &ContainerOptions, document: &Value, volumes: &[&str]) -> Value {
    serde_json::to_value(build(options, &sections(document), &facts(volumes)).unwrap().spec).unwrap()
}

fn destinations(spec: &Value) -> Vec<&str> {
    spec["mounts"].as_array().unwrap().iter().map(|mount| mount["destination"].as_str().unwrap()).collect()
}

#[test]
fn defaults_are_dockers() {
    let spec = spec(&options(), &json!({"gocker": 1}), &[]);
    assert_eq!(spec["ociVersion"], "1.0.2");
    assert_eq!(spec["root"], json!({"path": "/root/fs", "readonly": false}));
    assert_eq!(spec["hostname"], "abababababab");
    assert_eq!(spec["process"]["cwd"], "/");
    assert_eq!(spec["process"]["user"], json!({"uid": 0, "gid": 0, "additionalGids": [0]}));
    assert_eq!(spec["process"]["capabilities"]["bounding"].as_array().unwrap().len(), 14);
    assert_eq!(spec["process"]["capabilities"]["ambient"], json!([]));
    assert_eq!(spec["process"]["noNewPrivileges"], false);
    assert_eq!(spec["process"].get("rlimits"), None);
    assert_eq!(
        destinations(&spec),
        [
            "/proc",
            "/dev",
            "/dev/pts",
            "/sys",
            "/sys/fs/cgroup",
            "/dev/mqueue",
            "/dev/shm",
            "/etc/hostname",
            "/etc/hosts",
            "/etc/resolv.conf"
        ]
    );
    assert_eq!(spec["linux"]["maskedPaths"].as_array().unwrap().last().unwrap(), "/sys/cpu0");
    assert_eq!(spec["linux"]["sysctl"]["net.ipv4.ip_unprivileged_port_start"], "0");
    assert_eq!(spec["linux"].get("resources"), None);
    assert_eq!(spec["linux"].get("cgroupsPath"), None);
}

#[test]
fn the_network_comes_from_the_section_or_the_option() {
    let namespaces = |option, document: Value| {
        let options = ContainerOptions { network: option, ..options() };
        let spec = spec(&options, &document, &[]);
        let all = spec["linux"]["namespaces"].as_array().unwrap().clone();
        let network = all.into_iter().find(|one| one["type"] == "network");
        (network, spec["hostname"].clone(), spec["linux"].get("sysctl").is_some())
    };
    let own = json!("abababababab");
    let empty = Some(json!({"type": "network"}));
    assert_eq!(namespaces(None, json!({"gocker": 1})), (empty.clone(), own.clone(), true));
    assert_eq!(namespaces(Some(Network::None), json!({"gocker": 1})), (empty, own.clone(), true));
    assert_eq!(namespaces(Some(Network::Host), json!({"gocker": 1})), (None, json!("hosts"), false));
    let section = json!({"gocker": 1, "network": {"netns": "/run/netns/x"}});
    assert_eq!(
        namespaces(None, section),
        (Some(json!({"type": "network", "path": "/run/netns/x"})), own, true)
    );
    assert_eq!(namespaces(None, json!({"gocker": 1, "network": {}})), (None, json!("hosts"), false));
}

#[test]
fn volumes_go_behind_the_defaults_the_less_deep_first() {
    let volumes = ["/s:/a/b/c", "/s:/dev/shm", "/s:/a", "/s:/etc/hosts"];
    let spec = spec(&options(), &json!({"gocker": 1}), &volumes);
    assert_eq!(
        destinations(&spec)[6..],
        ["/a", "/etc/hostname", "/etc/resolv.conf", "/dev/shm", "/etc/hosts", "/a/b/c"]
    );
    let whole = super::tests::spec(&options(), &json!({"gocker": 1}), &["/dev:/dev"]);
    assert_eq!(destinations(&whole)[..4], ["/proc", "/sys", "/sys/fs/cgroup", "/dev"]);
}

#[test]
fn another_users_capabilities_are_what_execve_would_leave() {
    let process = ProcessOptions { user: Some("app".to_owned()), ..ProcessOptions::default() };
    let options = ContainerOptions { process, ..options() };
    let spec = spec(&options, &json!({"gocker": 1}), &[]);
    assert_eq!(spec["process"]["user"], json!({"uid": 7, "gid": 8, "additionalGids": [8]}));
    assert_eq!(spec["process"]["capabilities"]["effective"], json!([]));
    assert_eq!(spec["process"]["capabilities"]["bounding"].as_array().unwrap().len(), 14);
}

#[test]
fn the_cgroup_is_named() {
    let document = json!({"gocker": 1, "cgroup": {"version": 2, "cgroupsPath": "/g/x", "paths": {"": "/sys/fs/cgroup/g/x"}, "resources": {}}});
    assert_eq!(spec(&options(), &document, &[])["linux"]["cgroupsPath"], "/g/x");
}

#[test]
fn host_names_are_checked() {
    for name in ["", "a b", &"x".repeat(65)] {
        let options = ContainerOptions { hostname: Some(name.to_owned()), ..options() };
        assert!(build(&options, &sections(&json!({"gocker": 1})), &facts(&[])).is_err(), "{name}");
    }
}
