//! Addresses: what the kernel shows, that none is given twice, and what happens when there is none.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{Host, new_id};

use crate::netns::container::{Container, quiet_host};

#[test]
fn the_section_says_what_ip_shows() {
    let host = Host::new();
    let one = Container::new(&host, &[]);
    let ip = |words: &[&str]| host.run(&[&["ip", "-j", "-d"], words].concat()).json();
    let (name, interface, path) = (one.name(), one.interface(), format!("/run/netns/{}", one.name()));
    let bridge = &ip(&["address", "show", "gocker0"])[0];
    let outside = &ip(&["link", "show", &interface])[0];
    let inside = &ip(&["-n", &name, "address", "show", "eth0"])[0];
    assert_eq!(
        one.network,
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": "gocker0", "mac": bridge["address"], "mtu": bridge["mtu"]},
                {"name": interface, "mac": outside["address"], "mtu": outside["mtu"]},
                {"name": "eth0", "mac": inside["address"], "mtu": inside["mtu"], "sandbox": path},
            ],
            "ips": [{"address": format!("{}/16", one.address()), "gateway": "172.29.0.1", "interface": 2}],
            "routes": [{"dst": "0.0.0.0/0", "gw": "172.29.0.1"}],
            "dns": one.network["dns"],
            "netns": path,
        })
    );
    // Not its operational state: the kernel works that out some time later.
    let is_up = |link: &Value| link["flags"].as_array().unwrap().contains(&json!("UP"));
    assert!(is_up(bridge) && is_up(inside) && is_up(outside));
    assert_eq!(outside["master"], "gocker0");
    assert_eq!(outside["altnames"], json!([format!("gocker-{}", one.address())]));
    let address = &inside["addr_info"][0];
    assert_eq!(
        (&address["local"], &address["prefixlen"], &address["broadcast"]),
        (&json!(one.address()), &json!(16), &json!("172.29.255.255"))
    );
    one.undo(&host);
}

#[test]
fn the_namespace_has_loopback_and_default_route_and_ip_netns_sees_it() {
    let host = Host::new();
    let one = Container::new(&host, &[]);
    let names = host.run(&["ip", "-j", "netns", "list"]).json();
    assert_eq!(names[0]["name"], one.name());
    let routes = host.run(&["ip", "-j", "-n", &one.name(), "route"]).json();
    assert_eq!(
        (&routes[0]["dst"], &routes[0]["gateway"], &routes[0]["dev"]),
        (&json!("default"), &json!("172.29.0.1"), &json!("eth0"))
    );
    assert_eq!(routes.as_array().unwrap().len(), 2);
    let links = host.run(&["ip", "-j", "-n", &one.name(), "link"]).json();
    let names: Vec<&Value> = links.as_array().unwrap().iter().map(|link| &link["ifname"]).collect();
    assert_eq!(names, ["lo", "eth0"]);
    assert!(links[0]["flags"].as_array().unwrap().contains(&json!("UP")));
    one.undo(&host);
}

#[test]
fn the_hardware_address_goes_with_the_address() {
    let host = Host::new();
    let one = Container::new(&host, &["--ip=172.29.1.255"]);
    assert_eq!(one.network["interfaces"][2]["mac"], "02:42:ac:1d:01:ff");
    one.undo(&host);
}

/// Many at once, on a host that has nothing yet.
fn at_once(host: &Host, count: usize, processes: u32) -> Vec<Container> {
    let script = format!("seq {count} | xargs -P {processes} -n 1 sh -c 'netns < /dev/null'");
    let output = host.sh(&script).ok();
    let made: Vec<Container> =
        output.lines().map(|line| Container::of(&serde_json::from_str(line).unwrap())).collect();
    let addresses: BTreeSet<&str> = made.iter().map(Container::address).collect();
    assert_eq!((made.len(), addresses.len()), (count, count));
    made
}

fn undo_all(host: &Host) {
    host.sh("netns ls | jq -r '.[].id' | xargs -n 1 netns undo").ok();
}

#[test]
fn fifty_at_once_have_fifty_addresses() {
    let host = Host::new();
    for one in at_once(&host, 50, 8) {
        let shown = host.sh(&format!("ip -n {} -4 -o address show eth0", one.name())).ok();
        assert!(shown.contains(&format!(" {}/16 ", one.address())), "{shown}");
    }
    undo_all(&host);
}

/// Eight processes, each of which sets up and takes back, one after the other, while the others do.
#[test]
fn two_hundred_come_and_go_by_eight_processes() {
    let host = Host::new();
    host.sh("nft add table inet somebody; nft add chain inet somebody x").ok();
    let others = host.sh("nft list table inet somebody").ok();
    let host = host.settled();
    let script = "seq 200 | xargs -P 8 -n 1 sh -c '
        document=$(netns -p 80 < /dev/null) || exit 255
        echo \"$document\" | jq -c \"[.id, .network.ips[0].address, .network.portMappings[0].hostPort]\"
        netns undo $(echo \"$document\" | jq -r .id) || exit 255'";
    assert_eq!(host.sh(script).ok().lines().count(), 200);
    host.run(&["netns", "gc"]).prints("");
    host.sh("netns ls; nft list tables; ip -o link show type bridge").prints("[]\ntable inet somebody");
    assert_eq!(host.sh("nft list table inet somebody").ok(), others);
}

#[test]
fn two_hundred_at_once_in_a_subnet_that_is_not_much_larger() {
    let host = Host::new();
    host.sh("netns --subnet=10.9.0.0/24 < /dev/null").ok();
    at_once(&host, 200, 50);
    undo_all(&host);
}

#[test]
fn a_subnet_is_used_to_its_last_address() {
    for (subnet, room) in [("10.9.0.0/30", 1), ("10.9.0.8/29", 5)] {
        let host = quiet_host();
        let option = format!("--subnet={subnet}");
        let made: Vec<Container> = (0..room).map(|_| Container::new(&host, &[&option])).collect();
        let addresses: BTreeSet<&str> = made.iter().map(Container::address).collect();
        assert_eq!(addresses.len(), room);
        let before = host.snapshot();
        host.run(&["netns"]).fails(
            1,
            &format!(
                "netns: cannot lease an address: all {room} of {subnet} are taken\n  \
                 hint: netns ls shows who has them; --subnet sets a larger one when no container is left\n"
            ),
        );
        host.assert_same(&before);
        // What is given back can be had at once, though the kernel takes its time to remove the old interface.
        made[0].undo(&host);
        assert_eq!(Container::new(&host, &[]).address(), made[0].address());
        undo_all(&host);
    }
}

#[test]
fn an_address_that_was_asked_for() {
    let host = Host::new();
    let one = Container::new(&host, &["--ip=172.29.7.7"]);
    assert_eq!(one.address(), "172.29.7.7");
    for (address, why) in [
        ("172.29.7.7", format!("lease address 172.29.7.7: {} has it", one.interface())),
        ("172.29.0.1", "use address 172.29.0.1: it is the gateway's".to_owned()),
        ("172.28.0.9", "use address 172.28.0.9: it is not in 172.29.0.0/16".to_owned()),
        (
            "172.29.255.255",
            "use address 172.29.255.255: it is the network's own or its broadcast address".to_owned(),
        ),
    ] {
        host.run(&["netns", "--ip", address]).fails(1, &format!("netns: cannot {why}\n"));
    }
    one.undo(&host);
    let again = Container::new(&host, &["--ip=172.29.7.7"]);
    again.undo(&host);
}

#[test]
fn a_container_can_be_set_up_again_as_soon_as_it_was_taken_back() {
    let host = Host::new();
    let id = new_id();
    for _ in 0..5 {
        let one = Container::new(&host, &["--id", &id]);
        assert_eq!(one.id, id);
        one.undo(&host);
    }
}

#[test]
fn a_host_without_ipv6() {
    let host = quiet_host();
    let one = Container::new(&host, &[]);
    host.run(&["netns", "exec", &one.id, "--", "ping", "-qc1", "-W5", "172.29.0.1"]).ok();
    one.undo(&host);
}
