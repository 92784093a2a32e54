//! IPv6, for those who ask for it: a private prefix behind the host's address, or one that is routed to the host.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use tests::Host;

use crate::netns::container::{Container, in_namespace, on_host};

/// A host with an uplink (2001:db8:1::1) to an "internet" (2001:db8:1::2, and 2001:db8:7::7 behind it) that knows the
/// way to 2001:db8:5::/48 through it.
fn connected_host() -> Host {
    let host = Host::new();
    host.sh("set -e
        ip netns add internet
        ip link add up0 type veth peer name eth0 netns internet
        ip address add 2001:db8:1::1/64 dev up0 nodad
        ip address add 192.0.2.1/24 dev up0
        ip link set up0 addrgenmode none up
        ip -n internet link set lo up
        ip -n internet address add 2001:db8:1::2/64 dev eth0 nodad
        ip -n internet address add 2001:db8:7::7/128 dev lo
        ip -n internet link set eth0 addrgenmode none
        ip -n internet link set eth0 up
        # A router without an address of the link asks for nobody's.
        ip address add fe80::1/64 dev up0 nodad
        ip -n internet address add fe80::2/64 dev eth0 nodad
        ip -n internet route add 2001:db8:5::/48 via 2001:db8:1::1
        ip route add default via 2001:db8:1::2
        sysctl -qw net.ipv6.conf.up0.accept_ra=0 net.ipv6.conf.default.accept_ra=0 net.ipv6.conf.lo.accept_ra=0
        sysctl -qw net.ipv6.conf.all.forwarding=1")
        .ok();
    host.settled()
}

fn address6(one: &Container) -> &str {
    one.network["ips"][1]["address"].as_str().unwrap().split_once('/').unwrap().0
}

fn connect(to: &str) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&to.parse::<SocketAddr>().unwrap(), Duration::from_secs(3))
}

/// Whom the server sees.
fn seen(server: &TcpListener) -> String {
    server.accept().unwrap().1.ip().to_string()
}

#[test]
fn a_private_prefix_is_behind_the_hosts_address() {
    let host = connected_host();
    let document = host.run(&["netns", "--ipv6", "--subnet6=fd00:1:2:3::/64", "--ip=172.29.0.2"]).json();
    tests::schema::check(&document, "network");
    let one = Container::of(&document);
    assert_eq!(
        one.network["ips"][1],
        json!({"address": "fd00:1:2:3::ac1d:2/64", "gateway": "fd00:1:2:3::1", "interface": 2})
    );
    assert_eq!(one.network["routes"][1], json!({"dst": "::/0", "gw": "fd00:1:2:3::1"}));
    let shown =
        host.run(&["ip", "-j", "-6", "-n", &one.name(), "address", "show", "eth0", "scope", "global"]).json();
    assert_eq!(shown[0]["addr_info"][0]["local"], "fd00:1:2:3::ac1d:2");
    let server = in_namespace(&host, "internet", || TcpListener::bind("[::]:80").unwrap());
    in_namespace(&host, &one.name(), || connect("[2001:db8:7::7]:80").unwrap());
    assert_eq!(seen(&server), "2001:db8:1::1");
    host.run(&["netns", "exec", &one.id, "--", "ping", "-6", "-qc1", "-W5", "2001:db8:7::7"]).ok();
    // Whoever comes next has it, too, asked for or not.
    let other = Container::new(&host, &[]);
    in_namespace(&host, &other.name(), || {
        connect(&format!("[{}]:1", address6(&one))).unwrap_err().kind() == ErrorKind::ConnectionRefused
    })
    .then_some(())
    .unwrap();
    host.run(&["netns", "check"]).prints("[]");
    one.undo(&host);
    other.undo(&host);
}

#[test]
fn a_routed_prefix_is_seen_outside_and_not_let_in() {
    let host = connected_host();
    host.run(&["netns", "network", "create", "six", "--ipv6", "--subnet6=2001:db8:5::/64"]).ok();
    let one = Container::new(&host, &["--network=six", "--ip6=2001:db8:5::a:0:5"]);
    assert_eq!(address6(&one), "2001:db8:5::a:0:5");
    let server = in_namespace(&host, "internet", || TcpListener::bind("[::]:80").unwrap());
    in_namespace(&host, &one.name(), || connect("[2001:db8:7::7]:80").unwrap());
    assert_eq!(seen(&server), "2001:db8:5::a:0:5");
    let inside = in_namespace(&host, &one.name(), || TcpListener::bind("[::]:81").unwrap());
    let error = in_namespace(&host, "internet", || connect("[2001:db8:5::a:0:5]:81").unwrap_err().kind());
    assert_eq!(error, ErrorKind::TimedOut);
    drop(inside);
    host.run(&["netns", "--network=six", "--ip6=2001:db8:5::a:0:5"])
        .code(1)
        .says("cannot lease address 2001:db8:5::a:0:5 to gk");
    host.run(&["netns", "--network=six", "--ip6=2001:db8:5::5"])
        .code(1)
        .says("are for addresses that follow from IPv4's");
    host.run(&["netns", "--ip6=2001:db8:5::a:0:5"])
        .fails(1, "netns: cannot use --ip6: network bridge has no IPv6\n");
    one.undo(&host);
    host.sh("netns network inspect six | jq -r .subnet6").prints("2001:db8:5::/64");
    host.sh("netns gc; netns network rm six").ok();
}

#[test]
fn ports_over_ipv6() {
    let host = connected_host();
    let one = Container::new(&host, &["--ipv6", "-p", "8080:80", "-p", "[2001:db8:1::1]:9090:80"]);
    let ips: Vec<&Value> =
        one.network["portMappings"].as_array().unwrap().iter().map(|m| &m["hostIP"]).collect();
    assert_eq!(ips, [&json!("0.0.0.0"), &json!("::"), &json!("2001:db8:1::1")]);
    let other = Container::new(&host, &[]);
    let gateway = one.network["ips"][1]["gateway"].as_str().unwrap().to_owned();
    // Accepts both families, as most servers do.
    let server = in_namespace(&host, &one.name(), || TcpListener::bind("[::]:80").unwrap());
    for port in [8080, 9090] {
        let to = format!("[2001:db8:1::1]:{port}");
        in_namespace(&host, "internet", || connect(&to).unwrap());
        assert_eq!(seen(&server), "2001:db8:1::2");
        on_host(&host, || connect(&to).unwrap());
        assert_eq!(seen(&server), "2001:db8:1::1");
        for container in [&one, &other] {
            in_namespace(&host, &container.name(), || connect(&to).unwrap());
            let seen = seen(&server);
            assert!(seen == gateway || seen == address6(&other), "{seen}");
        }
    }
    on_host(&host, || connect("127.0.0.1:8080").unwrap());
    server.accept().unwrap();
    // ::1 refuses at once: localhost then is 127.0.0.1.
    let error = on_host(&host, || connect("[::1]:8080").unwrap_err().kind());
    assert_eq!(error, ErrorKind::ConnectionRefused);
    host.run(&["netns", "-p", "[::1]:80:80"]).fails(
        1,
        "netns: cannot publish port 80/tcp on ::1: the kernel takes no answer to ::1 from a container\n  \
         hint: publish it on 127.0.0.1\n",
    );
    host.run(&["netns", "-p", "[::]:8080:1"])
        .code(1)
        .says("Bind for [::]:8080 failed: port is already allocated");
    host.sh("nft flush ruleset; netns repair").ok();
    in_namespace(&host, "internet", || connect("[2001:db8:1::1]:8080").unwrap());
    server.accept().unwrap();
    drop(server);
    one.undo(&host);
    other.undo(&host);
}

#[test]
fn without_ipv6_a_port_of_it_is_refused() {
    let host = Host::new();
    host.run(&["netns", "-p", "[::]:80:80"])
        .fails(1, "netns: cannot publish port 80/tcp on ::: the container has no address of that family\n");
}

/// Forwarding turns off the kernel's ear for advertisements, by which many hosts have their address and route.
#[test]
fn a_host_that_listens_to_its_router_goes_on_to() {
    let host = Host::new();
    host.sh("ip link add up0 type veth peer name up1 && ip link set up0 addrgenmode none up && ip link set up1 addrgenmode none up").ok();
    let before = host.settled();
    before
        .sh("cat /proc/sys/net/ipv6/conf/up0/accept_ra /proc/sys/net/ipv6/conf/all/forwarding")
        .prints("1\n0");
    let one = Container::new(&before, &["--ipv6"]);
    before
        .sh("cat /proc/sys/net/ipv6/conf/up0/accept_ra /proc/sys/net/ipv6/conf/all/forwarding")
        .prints("2\n1");
    one.undo(&before);
}

/// A kernel forgets the addresses of an interface that goes down, unless it is told to keep them.
#[test]
fn a_bridge_that_was_down_has_its_address_back() {
    let host = connected_host();
    let default = Container::new(&host, &["--ipv6"]);
    host.run(&["netns", "network", "create", "web", "--ipv6", "--subnet6=fd00:9::/64"]).ok();
    let one = Container::new(&host, &["--network=web"]);
    let ping = |one: &Container, to: &str| {
        host.run(&["netns", "exec", &one.id, "--", "ping", "-qc1", "-W5", to]).ok();
    };
    host.sh("ip link set gocker0 down; ip link set gocker1 down").ok();
    host.run(&["netns", "repair"]).prints("");
    for container in [&default, &one] {
        ping(container, container.network["ips"][1]["gateway"].as_str().unwrap());
    }
    host.sh("ip -6 address flush dev gocker1 scope global").ok();
    let found = host.run(&["netns", "check"]).code(1).stdout;
    assert_eq!(
        found,
        json!([{"what": "bridge gocker1 has lost its address of fd00:9::/64"}]).to_string() + "\n"
    );
    host.run(&["netns", "repair"]).prints("");
    ping(&one, "fd00:9::1");
    host.run(&["netns", "check"]).prints("[]");
    one.undo(&host);
    default.undo(&host);
    host.run(&["netns", "network", "rm", "web"]).ok();
}
