//! What the containers share: bridge, subnet, rules, forwarding; made by the first, never in somebody's way.

use serde_json::{Value, json};
use tests::Host;

use crate::netns::container::{Container, host_with_ip_netns, quiet_host};

#[test]
fn our_rules_are_in_our_table_and_no_other_is_touched() {
    let host = Host::new();
    host.sh("nft -f - << 'END'
table inet somebody {
    set s { type ipv4_addr; elements = { 10.1.2.3 } }
    chain forward { type filter hook forward priority 0; policy accept; ip saddr @s drop; }
}
table ip nat {
    chain POSTROUTING { type nat hook postrouting priority 100; ip saddr 10.1.0.0/16 masquerade; }
}
END")
        .ok();
    let host = host.settled();
    let others = "nft list table inet somebody; nft list table ip nat";
    let before = host.sh(others).ok();
    let one = Container::new(&host, &[]);
    assert_eq!(host.sh(others).ok(), before);
    let ruleset = host.run(&["nft", "-j", "list", "ruleset"]).json();
    let tables: Vec<&Value> = ruleset["nftables"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|o| o.get("table"))
        .map(|t| &t["name"])
        .collect();
    assert_eq!(tables, ["somebody", "nat", "gocker"]);
    one.undo(&host);
    host.run(&["netns", "gc"]).ok();
    assert_eq!(host.sh(others).ok(), before);
    host.sh("nft list ruleset | grep -c gocker; true").prints("0");
}

#[test]
fn the_rules_are_what_nft_would_have_made_of_them() {
    let host = Host::new();
    let one = Container::new(&host, &[]);
    let listed = host.sh("nft list ruleset").ok();
    host.feed(&["sh", "-c", "nft flush ruleset; nft -f -"], &listed).ok();
    assert_eq!(host.sh("nft list ruleset").ok(), listed);
    // netns itself sees no difference.
    let other = host.run(&["netns", "-v"]);
    assert!(!other.stderr.contains("nft"), "{other}");
    let other = Container::of(&other.json());
    one.undo(&host);
    other.undo(&host);
}

#[test]
fn the_commands_that_v_prints_have_the_same_effect() {
    let host = host_with_ip_netns();
    let shown = host.run(&["netns", "-v", "--ip=172.29.0.9"]);
    let one = Container::of(&shown.clone().json());
    let listed = host.sh("nft list ruleset").ok();
    let commands: String =
        shown.stderr.lines().map(|line| line.strip_prefix("+ ").unwrap().to_owned() + "\n").collect();
    one.undo(&host);
    host.run(&["netns", "gc"]).ok();
    host.sh(&format!("set -e\n{commands}")).ok();
    assert_eq!(host.sh("nft list ruleset").ok(), listed);
    host.sh(&format!("ip netns exec {} ping -qc1 -W5 172.29.0.1", one.name())).ok();
    host.sh(&format!("ip -o -4 -n {} address show eth0 | grep -c ' 172.29.0.9/16 '", one.name())).prints("1");
    host.sh(&format!("ip netns delete {}", one.name())).ok();
}

#[test]
fn rules_that_were_flushed_come_back_with_the_next_container() {
    let host = Host::new();
    let one = Container::new(&host, &[]);
    let rules = host.sh("nft list ruleset").ok();
    for damage in [
        "nft flush ruleset",
        "nft flush chain inet gocker forward",
        "nft flush table inet gocker",
        "nft flush set inet gocker bridges",
        "nft delete table inet gocker; nft add table inet gocker",
    ] {
        host.sh(damage).ok();
        let next = Container::new(&host, &[]);
        assert_eq!(host.sh("nft list ruleset").ok(), rules, "{damage}");
        next.undo(&host);
    }
    one.undo(&host);
}

#[test]
fn a_bridge_that_is_down_or_has_no_address_is_completed() {
    let host = Host::new();
    let one = Container::new(&host, &[]);
    let shown = || host.sh("ip -o -4 address show gocker0; cat /sys/class/net/gocker0/flags").ok();
    let before = host.sh("ip -o -4 address show gocker0").ok();
    for damage in ["ip link set gocker0 down", "ip -4 address flush dev gocker0"] {
        host.sh(damage).ok();
        let next = Container::new(&host, &[]);
        assert_eq!(host.sh("ip -o -4 address show gocker0").ok(), before, "{damage}: {}", shown());
        host.run(&["netns", "exec", &next.id, "--", "ping", "-qc1", "-W5", "172.29.0.1"]).ok();
        next.undo(&host);
    }
    one.undo(&host);
}

#[test]
fn forwarding_is_turned_on() {
    let host = Host::new();
    let one = Container::new(&host, &[]);
    host.sh("cat /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv4/ip_forward").prints("1");
    let other = Container::new(&host, &[]);
    host.sh("cat /proc/sys/net/ipv4/ip_forward").prints("1");
    one.undo(&host);
    other.undo(&host);
}

#[test]
fn a_subnet_of_ones_own() {
    let host = Host::new();
    host.sh("GOCKER_SUBNET=10.77.0.0/20 netns < /dev/null > /run/document").ok();
    let one = Container::of(&host.sh("cat /run/document; rm /run/document").json());
    assert_eq!(one.network["ips"][0]["gateway"], "10.77.0.1");
    assert!(one.network["ips"][0]["address"].as_str().unwrap().ends_with("/20"));
    // The bridge has it now, for those who set none or the same.
    let other = Container::new(&host, &["--subnet=10.77.0.0/20"]);
    assert_eq!(Container::new(&host, &[]).network["ips"][0]["gateway"], "10.77.0.1");
    host.run(&["netns", "--subnet=10.78.0.0/20"]).fails(
        1,
        "netns: cannot use subnet 10.78.0.0/20: bridge gocker0 already has 10.77.0.0/20\n  \
         hint: netns gc removes the bridge when no container is left\n",
    );
    let _ = (one, other);
    host.sh("netns ls | jq -r '.[].id' | xargs -n 1 netns undo; netns gc").ok();
    Container::new(&host, &["--subnet=10.78.0.0/20"]).undo(&host);
}

#[test]
fn a_subnet_that_hides_something_is_refused() {
    let host = quiet_host();
    host.sh("ip link add lan type veth peer name lan-peer && ip link set lan up && ip link set lan-peer up")
        .ok();
    let host = host.settled();
    let refused = |set_up: &str, quoted: &str, undo: &str| {
        host.sh(set_up).ok();
        let before = host.snapshot();
        host.run(&["netns"]).fails(
            1,
            &format!(
                "netns: cannot use subnet 172.29.0.0/16: the host has {quoted}\n  \
                 hint: choose another with --subnet or GOCKER_SUBNET\n"
            ),
        );
        before.wait_for_exactly(&host).unwrap();
        host.sh(undo).ok();
    };
    let shown = "ip address add 172.29.3.4/24 dev lan";
    refused(
        shown,
        "route \"172.29.3.0/24 dev lan proto kernel scope link src 172.29.3.4\"",
        "ip address del 172.29.3.4/24 dev lan",
    );
    refused(
        "ip address add 10.1.1.1/24 dev lan; ip route add 172.16.0.0/12 via 10.1.1.2 metric 50",
        "route \"172.16.0.0/12 via 10.1.1.2 dev lan metric 50\"",
        "ip address del 10.1.1.1/24 dev lan",
    );
    refused(
        "ip route add blackhole 172.29.9.9",
        "route \"blackhole 172.29.9.9\"",
        "ip route del blackhole 172.29.9.9",
    );
    refused(
        "ip route add 172.29.0.0/18 dev lan table 77",
        "route \"172.29.0.0/18 dev lan table 77 scope link\"",
        "ip route del 172.29.0.0/18 dev lan table 77",
    );
    refused(
        "ip link set lan down; ip address add 172.29.3.4/24 dev lan",
        "address 172.29.3.4/24 on lan",
        "ip address del 172.29.3.4/24 dev lan; ip link set lan up",
    );
    refused(
        "echo 'nameserver 172.29.0.53' > /run/resolv; mount --bind /run/resolv /etc/resolv.conf",
        "name server 172.29.0.53",
        "umount /etc/resolv.conf; rm /run/resolv",
    );
    // What covers everything, as a VPN does, hides nothing.
    host.sh("ip address add 10.1.1.1/24 dev lan; ip route add default via 10.1.1.2; ip route add 128.0.0.0/1 via 10.1.1.2").ok();
    Container::new(&host, &[]).undo(&host);
    host.sh("ip address del 10.1.1.1/24 dev lan").ok();
}

#[test]
fn something_else_with_the_bridges_name_is_refused() {
    let host = quiet_host();
    host.sh("ip link add gocker0 type veth peer name other").ok();
    let host = host.settled();
    host.run(&["netns"]).fails(1, "netns: cannot use link gocker0: it is no bridge\n");
    let other = Host::new();
    other.sh("ip link add gocker0 type bridge && ip address add 10.3.0.9/24 dev gocker0").ok();
    let other = other.settled();
    other
        .run(&["netns"])
        .fails(1, "netns: cannot use link gocker0: its address 10.3.0.9/24 is not the first of its subnet\n");
}

#[test]
fn gc_removes_what_nobody_needs_and_nothing_else() {
    let host = quiet_host();
    let (one, other) = (Container::new(&host, &[]), Container::new(&host, &["--network=none"]));
    let all = |host: &Host| host.snapshot();
    let before = all(&host);
    host.run(&["netns", "gc"]).prints("");
    before.wait_for_exactly(&host).unwrap();
    // The remains of a set-up that was killed, and of a namespace that somebody else deleted.
    let dead = tests::new_id();
    host.sh(&format!("touch /run/gocker/netns/{dead} /run/netns/gocker-{}", &dead[..12])).ok();
    host.run(&["netns", "gc"]).prints("");
    before.wait_for_exactly(&host).unwrap();
    host.sh(&format!("ip netns delete {}", one.name())).ok();
    other.undo(&host);
    host.run(&["netns", "gc"]).prints("");
    host.sh("echo 0 > /proc/sys/net/ipv4/ip_forward").ok();
    let ids = host.run(&["netns", "ls"]).json();
    assert_eq!(ids, json!([]));
    host.sh("ip -o link show gocker0 2>&1; nft list ruleset")
        .says("")
        .prints("Device \"gocker0\" does not exist.");
}
