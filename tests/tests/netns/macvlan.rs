//! Networks of the kind macvlan, on a LAN that is a namespace with a router in it.

use serde_json::json;
use tests::{Host, schema};

use crate::netns::container::{Container, host_with_ip_netns};

/// A host with the interface `lan0`, 192.168.50.7, on the router's network.
fn host_on_a_lan() -> Host {
    let host = host_with_ip_netns();
    host.sh("set -e
        ip netns add router
        ip link add lan0 type veth peer name eth0 netns router
        ip -n router address add 192.168.50.1/24 dev eth0
        ip -n router link set eth0 up
        echo 1 > /proc/sys/net/ipv6/conf/lan0/disable_ipv6
        ip address add 192.168.50.7/24 dev lan0
        ip link set lan0 up")
        .ok();
    let host = host.settled();
    let words =
        ["--driver=macvlan", "--parent=lan0", "--subnet=192.168.50.0/24", "--ip-range=192.168.50.64/30"];
    let made = host.run(&[&["netns", "network", "create", "lan"], &words[..]].concat()).json();
    assert_eq!(
        made,
        json!({"name": "lan", "driver": "macvlan", "parent": "lan0", "subnet": "192.168.50.0/24", "gateway": "192.168.50.1", "ipRange": "192.168.50.64/30"})
    );
    host
}

fn reaches(host: &Host, from: &str, to: &str) -> bool {
    host.run(&["ip", "netns", "exec", from, "ping", "-qc1", "-W2", to]).code == 0
}

#[test]
fn containers_are_on_the_lan_themselves() {
    let host = host_on_a_lan();
    let document = host.run(&["netns", "--network=lan", "--hostname=one"]).json();
    schema::check(&document, "network");
    let one = Container::of(&document);
    let two = Container::new(
        &host,
        &["--network=lan", "--ip=192.168.50.200", "--mac-address=02:11:22:33:44:55", "--mtu=1400"],
    );
    assert!(
        ["64", "65", "66", "67"].contains(&one.address().strip_prefix("192.168.50.").unwrap()),
        "{document}"
    );
    assert_eq!(two.address(), "192.168.50.200");
    assert_eq!(one.network["routes"], json!([{"dst": "0.0.0.0/0", "gw": "192.168.50.1"}]));
    let link = &host.run(&["ip", "-n", &two.name(), "-d", "-j", "address", "show", "eth0"]).json()[0];
    assert_eq!(
        (
            &link["linkinfo"]["info_kind"],
            &link["linkinfo"]["info_data"]["mode"],
            &link["mtu"],
            &link["address"]
        ),
        (&json!("macvlan"), &json!("bridge"), &json!(1400), &json!("02:11:22:33:44:55"))
    );
    // Everybody on the LAN reaches everybody, but the host its own containers.
    for (from, to) in [
        (one.name(), "192.168.50.1"),
        (one.name(), two.address()),
        ("router".to_owned(), two.address()),
        ("router".to_owned(), one.address()),
    ] {
        assert!(reaches(&host, &from, to), "{from} {to}");
    }
    host.run(&["ping", "-qc1", "-W1", one.address()]).code(1);
    // No bridge, no rules, no forwarding.
    host.sh("ip -o link show type bridge; nft list ruleset; cat /proc/sys/net/ipv4/ip_forward").prints("0");
    let listed = host.run(&["netns", "network", "inspect", "lan"]).json();
    assert_eq!(listed["containers"].as_array().unwrap().len(), 2);
    host.sh(&format!("grep -c 'one {}' /run/gocker/netns/lan.members/{}.hosts", &one.id[..12], two.id))
        .prints("1");
    assert_eq!(host.run(&["netns", "check"]).json(), json!([]));
    host.run(&["netns", "network", "rm", "lan"]).code(1).says("network lan has active endpoints");
    one.undo(&host);
    two.undo(&host);
    host.run(&["netns", "network", "rm", "lan"]).prints("");
}

#[test]
fn an_address_is_free_as_soon_as_its_namespace_is_gone() {
    let host = host_on_a_lan();
    let all: Vec<Container> = (0..4).map(|_| Container::new(&host, &["--network=lan"])).collect();
    let addresses: std::collections::BTreeSet<&str> = all.iter().map(Container::address).collect();
    assert_eq!(addresses.len(), 4);
    host.run(&["netns", "--network=lan"])
        .fails(1, "netns: cannot lease an address: all of 192.168.50.64/30 are taken\n");
    let wanted = format!("--ip={}", all[0].address());
    host.run(&["netns", "--network=lan", &wanted])
        .code(1)
        .says(&format!("cannot lease address {}: another container of network lan has it", all[0].address()));
    host.run(&["ip", "netns", "delete", &all[0].name()]).ok();
    let again = Container::new(&host, &["--network=lan", &wanted]);
    for one in all.iter().chain([&again]) {
        one.undo(&host);
    }
    host.run(&["netns", "network", "rm", "lan"]).prints("");
}

#[test]
fn a_failure_leaves_nothing() {
    let host = host_on_a_lan();
    let id = tests::new_id();
    let met = tests::inject::every_error(
        &host,
        &["netns", "--network=lan", "--id", &id],
        None,
        &["unshare", "mount", "openat", "write", "sendto", "recvfrom", "setns"],
        &["netns", "undo", &id],
    );
    assert!(met > 15, "{met}");
    host.run(&["netns", "network", "rm", "lan"]).prints("");
}

#[test]
fn what_a_macvlan_has_not_is_refused() {
    let host = host_on_a_lan();
    let create = ["netns", "network", "create", "other", "--driver=macvlan"];
    for (words, code, says) in [
        (&["--parent=lan0"][..], 2, "a macvlan needs --subnet, that of its parent's network"),
        (&["--parent=nosuch", "--subnet=192.168.50.0/24"], 1, "there is no link nosuch"),
        (
            &["--parent=lan0", "--subnet=192.168.50.0/24", "--ipv6"],
            2,
            "cannot use --ipv6: a macvlan has what its parent's network has",
        ),
        (
            &["--parent=lan0", "--subnet=192.168.50.0/24", "--ip-range=10.0.0.0/24"],
            1,
            "it is not in 192.168.50.0/24",
        ),
        (&["--subnet=192.168.50.0/24"], 2, "--parent"),
    ] {
        host.run(&[&create[..], words].concat()).code(code).says(says);
    }
    host.run(&["netns", "network", "create", "lan"]).code(1).says("network with name lan already exists");
    host.run(&["netns", "network", "create", "x", "--parent=lan0"])
        .code(2)
        .says("it goes with --driver=macvlan");
    host.run(&["netns", "--network=lan", "-p", "80:80"])
        .code(1)
        .says("whoever is on the network of lan reaches all ports");
    host.run(&["netns", "network", "rm", "lan"]).prints("");
}
