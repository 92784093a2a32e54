//! netns as a CNI plugin, called as an engine calls it (specification 1.1, sections 2 to 5).

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use tests::output::Output;
use tests::{Host, new_id};

use crate::netns::container::{host_with_ip_netns, in_namespace, on_host, quiet_host};

const WAY: &str = "/run/cni-bin";

/// A host with the plugins' names in a directory, and the namespace `pod`.
fn host() -> Host {
    let host = quiet_host();
    host.sh(&format!(
        "set -e
        mkdir {WAY}
        for name in netns bridge host-local loopback portmap; do ln -s $(command -v netns) {WAY}/$name; done
        ip netns add pod"
    ))
    .ok();
    host.settled()
}

/// One call: the plugin's name, the command, the container, its interface, and the configuration.
fn call(host: &Host, plugin: &str, command: &str, who: (&str, &str, &str), config: &Value) -> Output {
    let (id, netns, interface) = who;
    let program = format!("{WAY}/{plugin}");
    let variable = |name: &str, value: &str| format!("CNI_{name}={value}");
    let words = [
        "env",
        &variable("COMMAND", command),
        &variable("CONTAINERID", id),
        &variable("NETNS", netns),
        &variable("IFNAME", interface),
        &variable("PATH", WAY),
        &variable("ARGS", "IgnoreUnknown=1;K8S_POD_NAME=x"),
        &program,
    ];
    host.feed(&words, &config.to_string())
}

/// The configuration of version 1.1 with these keys more.
fn config(more: &Value) -> Value {
    let mut config = json!({
        "cniVersion": "1.1.0",
        "name": "podnet",
        "type": "bridge",
        "bridge": "cni7",
        "isGateway": true,
        "ipMasq": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.7.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]},
    });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

const POD: &str = "/run/netns/pod";

/// Takes away what stays for the next container.
fn finish(host: &Host) {
    host.sh("netns gc; netns network rm podnet").ok();
}

#[test]
fn add_check_and_del() {
    let host = host();
    let (id, none) = (new_id(), json!({}));
    let who = (&id[..], POD, "eth0");
    let result = call(&host, "bridge", "ADD", who, &config(&none)).json();
    let inside = &host.run(&["ip", "-j", "-n", "pod", "address", "show", "eth0"]).json()[0];
    let address = &inside["addr_info"][0];
    assert_eq!(result["cniVersion"], "1.1.0");
    assert_eq!(
        result["ips"],
        json!([{
            "address": format!("{}/24", address["local"].as_str().unwrap()),
            "gateway": "10.88.7.1",
            "interface": 2
        }])
    );
    assert_eq!(
        result["interfaces"][2],
        json!({"name": "eth0", "mac": inside["address"], "mtu": 1500, "sandbox": POD})
    );
    assert_eq!(
        (&result["interfaces"][0]["name"], &result["routes"]),
        (&json!("cni7"), &json!([{"dst": "0.0.0.0/0", "gw": "10.88.7.1"}]))
    );
    assert_eq!((result.get("netns"), &result["dns"]), (None, &json!({})));
    host.sh("ip netns exec pod ping -qc1 -W5 10.88.7.1").ok();
    host.run(&["netns", "exec", &id, "--", "ping", "-qc1", "-W5", "10.88.7.1"]).ok();

    let with_result = config(&json!({"prevResult": result}));
    call(&host, "bridge", "CHECK", who, &with_result).prints("");
    host.sh("nft delete table inet gocker").ok();
    let failure = call(&host, "bridge", "CHECK", who, &with_result).code(1);
    assert_eq!(
        serde_json::from_str::<Value>(&failure.stdout).unwrap(),
        json!({"cniVersion": "1.1.0", "code": 101, "msg": "table inet gocker is not as it should be", "details": "netns repair"})
    );
    host.run(&["netns", "repair"]).ok();

    // The namespace is the engine's: it stays, and what was in it goes at once.
    call(&host, "bridge", "DEL", who, &config(&none)).prints("");
    host.sh("ip -n pod -o link show | grep -c eth0; true").prints("0");
    // Again, as containerd does it: without a namespace, without a result.
    call(&host, "bridge", "DEL", (&id, "", "eth0"), &config(&none)).prints("");
    call(&host, "bridge", "DEL", (&new_id(), "/run/netns/nonsense", "eth0"), &config(&none)).prints("");
    call(&host, "bridge", "CHECK", who, &with_result).code(1);
    finish(&host);
}

#[test]
fn both_families_with_the_addresses_that_the_engine_wants() {
    let host = host_with_ip_netns();
    host.sh(&format!("mkdir {WAY}; ln -s $(command -v netns) {WAY}/bridge; ip netns add pod")).ok();
    let ranges = json!([[{"subnet": "10.88.7.0/24"}], [{"subnet": "fd00:7::/64"}]]);
    let ips = json!({"ips": ["10.88.7.9", "fd00:7::5:0:9/64"]});
    let config = config(&json!({"ipam": {"type": "host-local", "ranges": ranges}, "runtimeConfig": ips}));
    let result = call(&host, "bridge", "ADD", ("pod-1", POD, "eth0"), &config).json();
    assert_eq!(
        result["ips"],
        json!([
            {"address": "10.88.7.9/24", "gateway": "10.88.7.1", "interface": 2},
            {"address": "fd00:7::5:0:9/64", "gateway": "fd00:7::1", "interface": 2}
        ])
    );
    host.sh("for to in 10.88.7.1 fd00:7::1; do ip netns exec pod ping -qc1 -W5 $to > /dev/null || echo no $to; done").prints("");
    call(&host, "bridge", "DEL", ("pod-1", POD, "eth0"), &config).prints("");
    host.sh("netns gc; netns network rm podnet; echo 0 > /proc/sys/net/ipv4/ip_forward; ip netns delete pod")
        .ok();
}

#[test]
fn every_version_has_its_words() {
    let host = host();
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let config = config(&json!({"cniVersion": version}));
        let result = call(&host, "netns", "ADD", ("pod-1", POD, "net1"), &config).json();
        assert_eq!(result["cniVersion"], version);
        assert_eq!(result["ips"][0].get("version").is_some(), version.starts_with("0."), "{version}");
        assert_eq!(result["interfaces"][2].get("mtu").is_some(), version == "1.1.0", "{version}");
        assert_eq!(result["interfaces"][2]["name"], "net1");
        call(&host, "netns", "DEL", ("pod-1", POD, "net1"), &config).prints("");
    }
    let versions = call(&host, "netns", "VERSION", ("", "", ""), &json!({"cniVersion": "1.0.0"})).json();
    assert_eq!(
        versions,
        json!({"cniVersion": "1.0.0", "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]})
    );
    call(&host, "netns", "STATUS", ("", "", ""), &config(&json!({}))).prints("");
    finish(&host);
}

#[test]
fn failures_are_cnis_error_objects() {
    let host = host();
    let id = new_id();
    let who = (&id[..], POD, "eth0");
    let failure = |plugin: &str, command: &str, who, config: &Value| {
        let output = call(&host, plugin, command, who, config).code(1);
        let object: Value = serde_json::from_str(&output.stdout).unwrap();
        (object["code"].as_u64().unwrap(), object["msg"].as_str().unwrap().to_owned())
    };
    let plain = config(&json!({}));
    for (config, command, code, msg) in [
        (config(&json!({"cniVersion": "9.0.0"})), "ADD", 1, "incompatible CNI version \"9.0.0\""),
        (config(&json!({"ipam": {"type": "dhcp"}})), "ADD", 2, "ipam type dhcp is not supported"),
        (
            config(&json!({"runtimeConfig": {"bandwidth": {"ingressRate": 1}}})),
            "ADD",
            2,
            "runtimeConfig.bandwidth is not supported",
        ),
        (plain.clone(), "NONSENSE", 4, "unknown CNI_COMMAND: NONSENSE"),
        (json!("x"), "ADD", 6, "cannot decode the configuration"),
        (config(&json!({"name": "a b"})), "ADD", 7, "cannot use network name \"a b\""),
        (
            config(&json!({"runtimeConfig": {"ips": ["10.99.0.1/24"]}})),
            "ADD",
            100,
            "cannot use address 10.99.0.1: it is not in 10.88.7.0/24",
        ),
    ] {
        let (seen, text) = failure("bridge", command, who, &config);
        assert_eq!(seen, code, "{text}");
        assert!(text.starts_with(msg), "{text}");
    }
    assert_eq!(
        failure("bridge", "ADD", (&id, "", "eth0"), &plain),
        (4, "required env variable CNI_NETNS missing".to_owned())
    );
    let (code, msg) = failure("bridge", "ADD", (&id, "/run/netns/nonsense", "eth0"), &plain);
    assert_eq!((code, msg.contains("/run/netns/nonsense")), (100, true), "{msg}");
    host.sh("netns ls").prints("[]");
    finish(&host);
}

#[test]
fn what_the_engine_adds_for_one_container() {
    let host = host();
    let id = new_id();
    let who = (&id[..], POD, "eth0");
    let added = config(&json!({"mtu": 1400, "runtimeConfig": {
        "ips": ["10.88.7.77/24"],
        "mac": "02:11:22:33:44:55",
        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
    }}));
    let result = call(&host, "netns", "ADD", who, &added).json();
    assert_eq!(result["ips"][0]["address"], "10.88.7.77/24");
    assert_eq!(
        (&result["interfaces"][2]["mac"], &result["interfaces"][2]["mtu"]),
        (&json!("02:11:22:33:44:55"), &json!(1400))
    );
    let server = in_namespace(&host, "pod", || TcpListener::bind("0.0.0.0:80").unwrap());
    let to: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    on_host(&host, || TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap());
    server.accept().unwrap();
    call(&host, "netns", "DEL", who, &added).prints("");
    host.sh("nft list map inet gocker ports | grep -c comment; true").prints("0");
    finish(&host);
}

#[test]
fn a_chain_of_loopback_bridge_and_portmap() {
    let host = host();
    let id = new_id();
    let who = (&id[..], POD, "eth0");
    let up = call(
        &host,
        "loopback",
        "ADD",
        (&id, POD, "lo"),
        &json!({"cniVersion": "0.3.1", "name": "lo", "type": "loopback"}),
    )
    .json();
    assert_eq!((&up["cniVersion"], &up["ips"][0]["address"]), (&json!("0.3.1"), &json!("127.0.0.1/8")));
    host.sh("ip netns exec pod ping -qc1 -W5 127.0.0.1").ok();

    let base = config(&json!({"cniVersion": "0.4.0"}));
    let first = call(&host, "bridge", "ADD", who, &base).json();
    // In containerd's spelling.
    let ports = json!([{"HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": "127.0.0.1"}]);
    let chained = json!({
        "cniVersion": "0.4.0", "name": "podnet", "type": "portmap", "prevResult": first,
        "runtimeConfig": {"portMappings": ports},
    });
    assert_eq!(call(&host, "portmap", "ADD", who, &chained).json(), first);
    let server = in_namespace(&host, "pod", || TcpListener::bind("0.0.0.0:80").unwrap());
    let to: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    on_host(&host, || TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap());
    server.accept().unwrap();
    assert_eq!(host.run(&["netns", "ls"]).json()[0]["portMappings"][0]["hostPort"], 8080);
    // Last first, twice.
    for _ in 0..2 {
        call(&host, "portmap", "DEL", who, &chained).prints("");
        call(&host, "bridge", "DEL", who, &base).prints("");
        call(&host, "loopback", "DEL", (&id, POD, "lo"), &base).prints("");
    }
    host.sh("nft list map inet gocker ports_at | grep -c comment; true").prints("0");
    finish(&host);
}

#[test]
fn gc_takes_back_what_the_engine_does_not_list() {
    let host = host();
    let plain = config(&json!({}));
    for name in ["net1", "net2", "net3"] {
        call(&host, "netns", "ADD", ("pod-1", POD, name), &plain).json();
    }
    let valid = json!({"cni.dev/valid-attachments": [{"containerID": "pod-1", "ifname": "net2"}]});
    call(&host, "netns", "GC", ("", "", ""), &config(&valid)).prints("");
    host.sh("ip -n pod -o link | grep -o 'net[0-9]@' | tr -d '@'").prints("net2");
    // A namespace that its owner removed needs no DEL.
    host.sh("ip netns delete pod; netns gc; netns ls; ip netns add pod").prints("[]");
    finish(&host);
}

#[test]
fn many_at_once_have_addresses_of_their_own() {
    let host = host();
    let script = format!(
        "seq 24 | xargs -P 8 -I @ sh -c 'ip netns add many-@ && echo '\\''{}'\\'' |
            CNI_COMMAND=ADD CNI_CONTAINERID=many-@ CNI_NETNS=/run/netns/many-@ CNI_IFNAME=eth0 {WAY}/netns | jq -r .ips[0].address'",
        config(&json!({}))
    );
    let addresses = host.sh(&script).ok();
    let distinct: std::collections::BTreeSet<&str> = addresses.lines().collect();
    assert_eq!((distinct.len(), addresses.lines().count()), (24, 24), "{addresses}");
    host.sh("for n in $(seq 24); do ip netns delete many-$n; done").ok();
    finish(&host);
}

/// Debian's plugin of that name.
const THEIRS: &str = "/usr/lib/cni/host-local";

/// The answer, or the message of the error, without what engines do not read.
fn answer(output: &Output) -> Value {
    let mut value: Value = serde_json::from_str(&output.stdout).unwrap_or(Value::Null);
    match value.get("msg") {
        Some(msg) => json!({"code": output.code, "msg": msg}),
        None => {
            // Absent means none.
            if value["dns"] == json!({}) {
                value.as_object_mut().map(|answer| answer.remove("dns"));
            }
            json!({"code": output.code, "answer": value})
        }
    }
}

#[test]
fn as_host_local_it_answers_and_keeps_files_as_debians() {
    let host = host();
    host.sh("printf 'nameserver 192.0.2.1\\nsearch a.test b.test\\noptions ndots:2\\n' > /run/resolv.conf")
        .ok();
    let two = json!([[{"subnet": "10.1.0.0/29", "rangeStart": "10.1.0.4"}], [{"subnet": "fd00::/64", "gateway": "fd00::9"}]]);
    let small = json!({"subnet": "10.2.0.0/30"});
    let round =
        json!({"ranges": [[{"subnet": "10.3.0.0/30"}, {"subnet": "10.3.1.0/30", "gateway": "10.3.1.2"}]]});
    let steps = [
        ("two", "1.0.0", json!({"ranges": two, "routes": [{"dst": "0.0.0.0/0"}]}), "ADD", "a", ""),
        ("two", "1.0.0", json!({"ranges": two, "resolvConf": "/run/resolv.conf"}), "ADD", "b", ""),
        ("two", "1.0.0", json!({"ranges": two}), "ADD", "a", ""),
        ("two", "0.4.0", json!({"ranges": two}), "ADD", "c", "IgnoreUnknown=1;IP=10.1.0.6"),
        ("two", "1.0.0", json!({"ranges": two}), "ADD", "d", "IgnoreUnknown=1;IP=10.1.0.6"),
        ("two", "1.0.0", json!({"ranges": two}), "ADD", "d", ""),
        ("two", "1.0.0", json!({"ranges": two}), "DEL", "b", ""),
        ("two", "1.0.0", json!({"ranges": two}), "DEL", "b", ""),
        ("two", "1.0.0", json!({"ranges": two}), "ADD", "d", ""),
        ("two", "1.0.0", json!({"ranges": two}), "CHECK", "d", ""),
        ("two", "1.0.0", json!({"ranges": two}), "CHECK", "b", ""),
        ("small", "0.3.1", small.clone(), "ADD", "a", ""),
        ("small", "0.3.1", small.clone(), "ADD", "b", ""),
        ("small", "1.0.0", small.clone(), "ADD", "b", "IgnoreUnknown=1;IP=10.2.0.1"),
        ("small", "1.0.0", small, "DEL", "a", ""),
        ("round", "1.0.0", round.clone(), "ADD", "a", ""),
        ("round", "1.0.0", round.clone(), "ADD", "b", ""),
        ("round", "1.0.0", round.clone(), "DEL", "a", ""),
        ("round", "1.0.0", round.clone(), "ADD", "c", ""),
        ("round", "1.0.0", round, "ADD", "d", ""),
        ("none", "1.0.0", json!({}), "ADD", "a", ""),
        ("none", "1.0.0", json!({"subnet": "10.4.0.0/31"}), "ADD", "a", ""),
        ("none", "1.0.0", json!({"subnet": "10.4.0.0/24", "rangeStart": "10.5.0.1"}), "ADD", "a", ""),
    ];
    for (name, version, ipam, command, id, args) in steps {
        let [ours, theirs] =
            [(format!("{WAY}/host-local"), "ours"), (THEIRS.to_owned(), "theirs")].map(|(program, whose)| {
                let mut ipam = ipam.clone();
                ipam["type"] = "host-local".into();
                ipam["dataDir"] = format!("/run/{whose}").into();
                let mut config = json!({"cniVersion": version, "name": name, "type": "x", "ipam": ipam});
                if command == "CHECK" {
                    config["prevResult"] = json!({"cniVersion": version, "ips": []});
                }
                let variable = |name: &str, value: &str| format!("CNI_{name}={value}");
                let output = host.feed(
                    &[
                        "env",
                        &variable("COMMAND", command),
                        &variable("CONTAINERID", id),
                        &variable("NETNS", "/run/netns/pod"),
                        &variable("IFNAME", "eth0"),
                        &variable("PATH", WAY),
                        &variable("ARGS", args),
                        &program,
                    ],
                    &config.to_string(),
                );
                answer(&output)
            });
        assert_eq!(ours, theirs, "{name} {command} {id} {args}");
        host.sh("for f in ours theirs; do cd /run/$f && find . -type f | sort | xargs tail -n +1 > /run/$f.files; done; diff /run/ours.files /run/theirs.files")
            .prints("");
    }
}

#[test]
fn debians_bridge_gets_its_addresses_from_us_and_gc_frees_what_is_not_wanted() {
    let host = host();
    host.sh(&format!("ln -s /usr/lib/cni/bridge {WAY}/theirs")).ok();
    let ipam = json!({"type": "host-local", "subnet": "10.6.0.0/24", "dataDir": "/run/leases"});
    let config =
        json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "other0", "ipam": ipam});
    let who = ("one", "/run/netns/pod", "eth0");
    let result = call(&host, "theirs", "ADD", who, &config).json();
    assert_eq!(result["ips"][0]["address"], "10.6.0.2/24");
    host.sh("ip -n pod -o -4 address show eth0 | grep -c ' 10.6.0.2/24 '").prints("1");
    let other = call(&host, "host-local", "ADD", ("two", "/run/netns/pod", "eth0"), &config).json();
    assert_eq!(other["ips"][0]["address"], "10.6.0.3/24");
    let mut gc = config.clone();
    gc["cniVersion"] = "1.1.0".into();
    gc["cni.dev/valid-attachments"] = json!([{"containerID": "two", "ifname": "eth0"}]);
    call(&host, "host-local", "GC", ("", "", ""), &gc).prints("");
    host.sh("ls /run/leases/net").prints("10.6.0.3\nlast_reserved_ip.0\nlock");
    call(&host, "theirs", "DEL", who, &config).prints("");
    host.sh("ip link delete other0").ok();
}
