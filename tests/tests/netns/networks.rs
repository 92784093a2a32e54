//! Networks by name: each its own bridge and subnet, apart from one another.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::json;
use tests::{Host, new_id};

use crate::netns::container::{Container, in_namespace, on_host, quiet_host};
use crate::netns::traffic::connected_host;

fn serve(host: &Host, one: &Container) -> (TcpListener, SocketAddr) {
    let server = in_namespace(host, &one.name(), || TcpListener::bind("0.0.0.0:0").unwrap());
    let to = SocketAddr::new(one.address().parse().unwrap(), server.local_addr().unwrap().port());
    (server, to)
}

/// `None`: it came about.
fn connect(host: &Host, from: &Container, to: SocketAddr) -> Option<ErrorKind> {
    let patience = Duration::from_secs(2);
    in_namespace(host, &from.name(), || TcpStream::connect_timeout(&to, patience).err()).map(|e| e.kind())
}

#[test]
fn a_network_is_made_listed_shown_and_removed() {
    let host = quiet_host();
    let made = host.run(&["netns", "network", "create", "web"]).json();
    let web = json!({
        "name": "web", "bridge": "gocker1", "subnet": "172.28.0.0/24", "gateway": "172.28.0.1", "ipv6": false, "internal": false
    });
    assert_eq!(made, web);
    let options = ["--subnet=10.5.0.0/16", "--gateway=10.5.0.254", "--internal"];
    host.run(&[&["netns", "network", "create", "db"][..], &options].concat()).ok();
    let db = json!({
        "name": "db", "bridge": "gocker2", "subnet": "10.5.0.0/16", "gateway": "10.5.0.254", "ipv6": false, "internal": true
    });
    let default = json!({"name": "bridge", "bridge": "gocker0", "ipv6": false, "internal": false});
    assert_eq!(host.run(&["netns", "network", "ls"]).json(), json!([default, db, web]));
    // Nothing is made before the first container comes.
    host.sh("ip -o link show type bridge; nft list ruleset").prints("");
    let one = Container::new(&host, &["--network=web"]);
    let shown = host.run(&["netns", "network", "inspect", "web"]).json();
    assert_eq!(
        shown["containers"],
        json!([{"id": one.id, "names": [one.id[..12]], "address": one.address()}])
    );
    assert_eq!((&shown["subnet"], &shown["bridge"]), (&web["subnet"], &web["bridge"]));
    assert_eq!(host.run(&["netns", "ls"]).json()[0]["network"], "web");
    host.run(&["netns", "network", "rm", "web"]).fails(
        1,
        "netns: cannot remove network web: network web has active endpoints\n  \
         hint: netns network inspect web shows who they are\n",
    );
    one.undo(&host);
    host.run(&["netns", "network", "rm", "web"]).prints("");
    host.run(&["netns", "network", "rm", "db"]).prints("");
    host.sh("ip -o link show type bridge; nft list ruleset").prints("");
    host.run(&["netns", "--network=web"]).fails(
        1,
        "netns: cannot find network web: network web not found\n  hint: netns network create web\n",
    );
    host.sh("echo 0 > /proc/sys/net/ipv4/ip_forward").ok();
}

#[test]
fn what_cannot_be_a_network_is_refused() {
    let host = quiet_host();
    host.run(&["netns", "network", "create", "web"]).ok();
    for (words, stderr) in [
        (&["web"][..], "cannot make network web: network with name web already exists"),
        (
            &["other", "--subnet=172.28.0.128/25"],
            "cannot use subnet 172.28.0.128/25: the host has network web with 172.28.0.0/24\n  \
             hint: choose another with --subnet or GOCKER_SUBNET",
        ),
        (
            &["other", "--subnet=10.1.0.0/24", "--gateway=10.2.0.1"],
            "cannot use gateway 10.2.0.1: it is not in 10.1.0.0/24",
        ),
    ] {
        let output = host.run(&[&["netns", "network", "create"], words].concat());
        output.fails(1, &format!("netns: {stderr}\n"));
    }
    host.run(&["netns", "network", "create", "host"])
        .fails(2, "netns: cannot use network name \"host\": it is the name of a predefined network\n");
    host.run(&["netns", "network", "create", "x", "--gateway=10.1.0.1"])
        .fails(2, "netns: cannot use --gateway: it needs --subnet\n");
    host.run(&["netns", "network", "rm", "nonsense"]).code(1).says("network nonsense not found");
    host.run(&["netns", "network", "rm", "bridge"]).code(1).says("it is the name of a predefined network");
    host.run(&["netns", "--network=web", "--subnet=10.1.0.0/24"])
        .fails(2, "netns: cannot use --subnet: network web has its own\n");
    host.run(&["netns", "network", "rm", "web"]).ok();
}

#[test]
fn containers_of_two_networks_do_not_reach_each_other_but_through_published_ports() {
    let host = connected_host();
    host.sh("netns network create one; netns network create two").ok();
    let first = Container::new(&host, &["--network=one", "-p", "8080:80"]);
    let second = Container::new(&host, &["--network=one"]);
    let apart = Container::new(&host, &["--network=two"]);
    let default = Container::new(&host, &[]);
    let (server, to) = serve(&host, &first);
    assert_eq!(connect(&host, &second, to), None);
    for other in [&apart, &default] {
        assert_eq!(connect(&host, other, to), Some(ErrorKind::TimedOut));
    }
    let web = in_namespace(&host, &first.name(), || TcpListener::bind("0.0.0.0:80").unwrap());
    for (who, seen) in [(&apart, apart.address()), (&default, default.address()), (&second, "172.28.0.1")] {
        for place in ["192.0.2.1:8080", "172.28.0.1:8080"] {
            assert_eq!(connect(&host, who, place.parse().unwrap()), None, "{place}");
            let (_, from) = web.accept().unwrap();
            let bridge_turns = host.sh("cat /proc/sys/net/bridge/bridge-nf-call-iptables").stdout == "1\n";
            let seen = if bridge_turns && who.id == second.id { second.address() } else { seen };
            assert_eq!(from.ip().to_string(), seen);
        }
    }
    // A socket keeps its namespace.
    drop((server, web));
    // All reach the outside.
    for one in [&first, &apart, &default] {
        host.run(&["netns", "exec", &one.id, "--", "ping", "-qc1", "-W5", "198.51.100.7"]).ok();
        one.undo(&host);
    }
    second.undo(&host);
    host.sh("netns network rm one; netns network rm two").ok();
}

#[test]
fn an_internal_network_has_no_way_out_and_none_in() {
    let host = connected_host();
    host.run(&["netns", "network", "create", "db", "--internal"]).ok();
    let (one, other) = (Container::new(&host, &["--network=db"]), Container::new(&host, &["--network=db"]));
    assert_eq!(one.network.get("routes"), None);
    let (server, to) = serve(&host, &one);
    assert_eq!(connect(&host, &other, to), None);
    on_host(&host, || TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap());
    let outside: SocketAddr = "198.51.100.7:1".parse().unwrap();
    assert_eq!(connect(&host, &one, outside), Some(ErrorKind::NetworkUnreachable));
    drop(server);
    // Nor with a route of one's own.
    host.sh(&format!("ip -n {} route add default via 172.28.0.1", one.name())).ok();
    host.run(&["netns", "exec", &one.id, "--", "ping", "-qc1", "-W1", "198.51.100.7"]).code(1);
    one.undo(&host);
    other.undo(&host);
    host.run(&["netns", "network", "rm", "db"]).ok();
}

#[test]
fn the_network_of_another_container() {
    let host = Host::new();
    let one = Container::new(&host, &[]);
    for name in [&one.id[..], &one.id[..12]] {
        let id = new_id();
        let document = host.run(&["netns", "--id", &id, "--network", &format!("container:{name}")]).json();
        tests::schema::check(&document, "network");
        assert_eq!(document["network"]["netns"], one.network["netns"]);
        // It is the other's: nothing is made, nothing is taken back.
        host.run(&["netns", "undo", &id]).prints("");
    }
    host.run(&["netns", "exec", &one.id, "--", "ping", "-qc1", "-W5", "172.29.0.1"]).ok();
    host.run(&["netns", "--network=container:nonsense"]).fails(
        1,
        "netns: cannot join the network of container nonsense: /run/netns/nonsense is no namespace\n  \
         hint: netns ls shows what there is\n",
    );
    one.undo(&host);
}

#[test]
fn hardware_address_and_mtu() {
    let host = Host::new();
    let one = Container::new(&host, &["--mac-address=02:11:22:33:44:55", "--mtu=1280"]);
    let inside = host.run(&["ip", "-j", "-n", &one.name(), "link", "show", "eth0"]).json();
    assert_eq!((&inside[0]["address"], &inside[0]["mtu"]), (&json!("02:11:22:33:44:55"), &json!(1280)));
    assert_eq!(one.network["interfaces"][2]["mac"], "02:11:22:33:44:55");
    assert_eq!(one.network["interfaces"][2]["mtu"], 1280);
    host.run(&["netns", "exec", &one.id, "--", "ping", "-qc1", "-W5", "172.29.0.1"]).ok();
    host.run(&["netns", "--mac-address=x"])
        .code(2)
        .says("a hardware address is written like 02:42:ac:1d:00:02");
    host.run(&["netns", "--network=none", "--mtu=1280"])
        .fails(2, "netns: cannot use --mtu: only a container on the bridge has an interface\n");
    one.undo(&host);
}

#[test]
fn a_network_survives_a_reboot_and_its_leases_do_not() {
    let host = quiet_host();
    host.run(&["netns", "network", "create", "web", "--subnet=10.6.0.0/29"]).ok();
    let ids: Vec<String> = (0..5).map(|_| Container::new(&host, &["--network=web"]).id).collect();
    host.run(&["netns", "--network=web"]).code(1).says("all 5 of 10.6.0.0/29 are taken");
    // What a reboot does: no namespace, no bridge, no rules, no /run.
    host.sh("umount /run/netns/* 2> /dev/null; rm -rf /run/netns/* /run/gocker; ip link del gocker1; nft flush ruleset").ok();
    let again: Vec<Container> = (0..5).map(|_| Container::new(&host, &["--network=web"])).collect();
    for one in &again {
        one.undo(&host);
    }
    for id in ids {
        host.run(&["netns", "undo", &id]).prints("");
    }
    host.run(&["netns", "network", "rm", "web"]).ok();
}
