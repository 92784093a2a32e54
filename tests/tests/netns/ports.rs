//! Published ports: who reaches them, whom the server sees, and who may have them.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use serde_json::{Value, json};
use tests::inject::{every_error, every_kill};
use tests::{Host, new_id};

use crate::netns::container::{Container, in_namespace, on_host, quiet_host};
use crate::netns::traffic::connected_host;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// For what never comes.
const IN_VAIN: Duration = Duration::from_millis(500);

/// Where a client is.
#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    Host,
    In(&'a str),
}

impl Place<'_> {
    fn run<T: Send>(self, host: &Host, act: impl FnOnce() -> T + Send) -> T {
        match self {
            Place::Host => on_host(host, act),
            Place::In(name) => in_namespace(host, name, act),
        }
    }
}

/// Connects to a place that leads to `server`: whom the server sees.
#[track_caller]
fn reach(host: &Host, place: Place, to: &str, server: &TcpListener) -> String {
    let to: SocketAddr = to.parse().unwrap();
    let mut stream = place
        .run(host, || TcpStream::connect_timeout(&to, PATIENCE))
        .unwrap_or_else(|error| panic!("{place:?} to {to}: {error}"));
    stream.write_all(b"hello").unwrap();
    drop(stream);
    let (mut accepted, from) = server.accept().unwrap();
    let mut text = String::new();
    accepted.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    from.ip().to_string()
}

/// Why a connection does not come about.
#[track_caller]
fn in_vain(host: &Host, place: Place, to: &str) -> ErrorKind {
    let to: SocketAddr = to.parse().unwrap();
    place.run(host, || TcpStream::connect_timeout(&to, IN_VAIN)).unwrap_err().kind()
}

/// Sends a datagram, which is answered: whom the server sees.
#[track_caller]
fn reach_udp(host: &Host, place: Place, to: &str, server: &UdpSocket) -> String {
    let to: SocketAddr = to.parse().unwrap();
    let any: IpAddr = if to.is_ipv4() { [0u8; 4].into() } else { [0u8; 16].into() };
    let client = place.run(host, || {
        let client = UdpSocket::bind((any, 0)).unwrap();
        client.connect(to).unwrap();
        client
    });
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send(b"hello").unwrap();
    let mut bytes = [0; 16];
    let (length, from) = server.recv_from(&mut bytes).unwrap();
    server.send_to(b"back", from).unwrap();
    assert_eq!(&bytes[..length], b"hello");
    // Connected: only what comes from where it was sent to.
    let length = client.recv(&mut bytes).unwrap();
    assert_eq!(&bytes[..length], b"back");
    from.ip().to_string()
}

/// A server in the container, on all its addresses.
fn serve(host: &Host, one: &Container, port: u16) -> TcpListener {
    in_namespace(host, &one.name(), move || TcpListener::bind(("0.0.0.0", port)).unwrap())
}

fn serve_udp(host: &Host, one: &Container, port: u16) -> UdpSocket {
    in_namespace(host, &one.name(), move || UdpSocket::bind(("0.0.0.0", port)).unwrap())
}

/// Whether br_netfilter hands bridged packets to the rules of IPv4, which changes their way: where it can be chosen,
/// each of both.
fn both_kinds_of_bridges() -> Vec<(Host, bool)> {
    let kinds = [false, true].map(|on| {
        let host = connected_host();
        let number = u8::from(on);
        let chosen = host.sh(&format!("echo {number} > /proc/sys/net/bridge/bridge-nf-call-iptables"));
        (chosen.code == 0).then(|| (host.settled(), on))
    });
    let chosen: Vec<_> = kinds.into_iter().flatten().collect();
    if chosen.is_empty() { vec![(connected_host(), false)] } else { chosen }
}

#[test]
fn a_port_is_reached_from_everywhere_and_the_server_sees_who_it_is_where_that_can_be() {
    for (host, bridge_turns) in both_kinds_of_bridges() {
        let one = Container::new(&host, &["-p", "8080:80", "--publish=5353:53/udp"]);
        let other = Container::new(&host, &[]);
        let (tcp, udp) = (serve(&host, &one, 80), serve_udp(&host, &one, 53));
        let (own, others) = (one.name(), other.name());
        let neighbour = if bridge_turns { other.address() } else { "172.29.0.1" };
        for (place, to, seen) in [
            (Place::In("internet"), "192.0.2.1", "192.0.2.2"),
            (Place::Host, "192.0.2.1", "192.0.2.1"),
            (Place::Host, "172.29.0.1", "172.29.0.1"),
            // An address of the loopback is of no use in there, and the answer to a neighbour would miss the host.
            (Place::Host, "127.0.0.1", "172.29.0.1"),
            (Place::Host, "127.0.0.9", "172.29.0.1"),
            (Place::In(&own), "192.0.2.1", "172.29.0.1"),
            (Place::In(&own), "172.29.0.1", "172.29.0.1"),
            (Place::In(&others), "192.0.2.1", neighbour),
            (Place::In(&others), "172.29.0.1", neighbour),
        ] {
            for _ in 0..3 {
                assert_eq!(reach(&host, place, &format!("{to}:8080"), &tcp), seen, "{to}");
                assert_eq!(reach_udp(&host, place, &format!("{to}:5353"), &udp), seen, "{to}");
            }
        }
        // The container itself is where it was, under its own port.
        assert_eq!(reach(&host, Place::In(&others), &format!("{}:80", one.address()), &tcp), other.address());
        assert_eq!(in_vain(&host, Place::Host, "192.0.2.1:80"), ErrorKind::ConnectionRefused);
        assert_eq!(in_vain(&host, Place::Host, "192.0.2.1:5353"), ErrorKind::ConnectionRefused);
        one.undo(&host);
        assert_eq!(in_vain(&host, Place::In("internet"), "192.0.2.1:8080"), ErrorKind::ConnectionRefused);
        other.undo(&host);
    }
}

#[test]
fn with_other_peoples_tools() {
    let host = connected_host();
    let one = Container::new(&host, &["-p", "8080:80"]);
    host.sh(&format!(
        "ip netns exec {0} busybox nc -ll -p 80 -e echo hello &
        until ip netns exec {0} grep -qs ':0050 ' /proc/net/tcp /proc/net/tcp6; do :; done
        busybox nc -w 5 127.0.0.1 8080 < /dev/null
        ip netns exec internet busybox nc -w 5 192.0.2.1 8080 < /dev/null
        kill $!",
        one.name()
    ))
    .prints("hello\nhello");
    let elements = host.run(&["nft", "-j", "list", "map", "inet", "gocker", "ports"]).json();
    let map = elements["nftables"].as_array().unwrap().iter().find_map(|o| o.get("map")).unwrap();
    assert_eq!(map["elem"][0][1], json!({"concat": [one.address(), 80]}));
    one.undo(&host);
}

#[test]
fn a_port_of_one_address_is_that_address_alone() {
    let host = connected_host();
    host.sh("ip address add 192.0.2.9/24 dev up0").ok();
    let one = Container::new(&host, &["-p", "192.0.2.9:8080:80"]);
    // Another address's port of the same number is free.
    let other = Container::new(&host, &["-p", "192.0.2.1:8080:80"]);
    let (nine, first) = (serve(&host, &one, 80), serve(&host, &other, 80));
    for place in [Place::In("internet"), Place::Host] {
        reach(&host, place, "192.0.2.9:8080", &nine);
        reach(&host, place, "192.0.2.1:8080", &first);
    }
    assert_eq!(in_vain(&host, Place::Host, "127.0.0.1:8080"), ErrorKind::ConnectionRefused);
    one.undo(&host);
    other.undo(&host);
    host.sh("ip address del 192.0.2.9/24 dev up0").ok();
}

/// With a neighbour who sends to 127.0.0.1 on the wire, as CVE-2020-8558 and moby's issue 45610 have it.
#[test]
fn a_port_of_the_loopback_is_for_this_host_alone() {
    let host = connected_host();
    let one = Container::new(&host, &["-p", "127.0.0.1:8080:80"]);
    let server = serve(&host, &one, 80);
    assert_eq!(reach(&host, Place::Host, "127.0.0.1:8080", &server), "172.29.0.1");
    assert_eq!(in_vain(&host, Place::Host, "192.0.2.1:8080"), ErrorKind::ConnectionRefused);
    assert_eq!(in_vain(&host, Place::In("internet"), "192.0.2.1:8080"), ErrorKind::ConnectionRefused);
    host.sh("set -e
        ip -n internet address del 127.0.0.1/8 dev lo
        ip netns exec internet sysctl -qw net.ipv4.conf.all.route_localnet=1
        ip -n internet route add 127.0.0.1 via 192.0.2.1 src 192.0.2.2")
        .ok();
    assert_eq!(in_vain(&host, Place::In("internet"), "127.0.0.1:8080"), ErrorKind::TimedOut);
    // That it is our rule which keeps him out: without it he gets in.
    host.sh("nft flush chain inet gocker martians").ok();
    assert_eq!(reach(&host, Place::In("internet"), "127.0.0.1:8080", &server), "192.0.2.2");
    one.undo(&host);
}

/// The bridge takes addresses of the loopback, for the answers: that is no way in for containers.
#[test]
fn a_container_does_not_reach_the_hosts_loopback() {
    let host = connected_host();
    let one = Container::new(&host, &["-p", "8080:80"]);
    let secret = on_host(&host, || TcpListener::bind("127.0.0.1:0").unwrap());
    let to = secret.local_addr().unwrap().to_string();
    host.sh(&format!(
        "set -e
        ip -n {0} address del 127.0.0.1/8 dev lo
        ip netns exec {0} sysctl -qw net.ipv4.conf.all.route_localnet=1
        ip -n {0} route add 127.0.0.1 via 172.29.0.1 src {1}",
        one.name(),
        one.address()
    ))
    .ok();
    assert_eq!(in_vain(&host, Place::In(&one.name()), &to), ErrorKind::TimedOut);
    host.sh("nft flush chain inet gocker martians").ok();
    reach(&host, Place::In(&one.name()), &to, &secret);
    one.undo(&host);
}

#[test]
fn the_section_the_listing_and_the_record_say_which_ports() {
    let host = Host::new();
    let options = ["-p", "8000-8001:80-81", "-p", "127.0.0.1:9000:90/udp", "-p", "99"];
    let document = host.run(&[&["netns"][..], &options].concat()).json();
    tests::schema::check(&document, "network");
    let one = Container::of(&document);
    let mappings = one.network["portMappings"].clone();
    let any = mappings[3]["hostPort"].as_u64().unwrap();
    let range = host.sh("cat /proc/sys/net/ipv4/ip_local_port_range").ok();
    let range: Vec<u64> = range.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert!((range[0]..=range[1]).contains(&any), "{any}");
    let mapping = |ip: &str, host: u64, container: u64, protocol: &str| json!({"hostIP": ip, "hostPort": host, "containerPort": container, "protocol": protocol});
    let expected = json!([
        mapping("0.0.0.0", 8000, 80, "tcp"),
        mapping("0.0.0.0", 8001, 81, "tcp"),
        mapping("127.0.0.1", 9000, 90, "udp"),
        mapping("0.0.0.0", any, 99, "tcp"),
    ]);
    assert_eq!(mappings, expected);
    assert_eq!(host.run(&["netns", "ls"]).json()[0]["portMappings"], expected);
    one.undo(&host);
}

#[test]
fn a_port_that_another_container_has_is_refused_in_dockers_words() {
    let host = quiet_host();
    let one = Container::new(&host, &["-p", "8080:80", "-p", "127.0.0.1:81:81", "-p", "82:82/udp"]);
    let before = host.snapshot();
    let hint = format!("container {} has it", &one.id[..12]);
    for (wanted, place) in [
        ("8080:1", "0.0.0.0:8080/tcp"),
        ("127.0.0.1:8080:1", "127.0.0.1:8080/tcp"),
        ("81:1", "0.0.0.0:81/tcp"),
        ("127.0.0.1:81:1", "127.0.0.1:81/tcp"),
        ("82:1/udp", "0.0.0.0:82/udp"),
    ] {
        let (bound, _) = place.split_once('/').unwrap();
        host.run(&["netns", "-p", wanted]).fails(
            1,
            &format!(
                "netns: cannot publish {place}: Bind for {bound} failed: port is already allocated\n  \
                 hint: {hint}\n"
            ),
        );
        before.wait_for_exactly(&host).unwrap();
    }
    host.run(&["netns", "-p", "90:1", "-p", "90:2"]).fails(
        1,
        "netns: cannot publish 0.0.0.0:90/tcp: Bind for 0.0.0.0:90 failed: port is already allocated\n  \
         hint: it is published twice\n",
    );
    // Another protocol's, another address's, and of a range the next that is free.
    let others = ["-p", "8080:1/udp", "-p", "127.0.0.2:81:1", "-p", "8080-8082:1"];
    let other = Container::new(&host, &others);
    assert_eq!(other.network["portMappings"][2]["hostPort"], 8081);
    host.run(&["netns", "-p", "8080-8081:1"])
        .fails(1, "netns: cannot publish port 1/tcp on one of 8080-8081: all ports are allocated\n");
    other.undo(&host);
    one.undo(&host);
    Container::new(&host, &["-p", "8080:80"]).undo(&host);
}

#[test]
fn a_port_that_a_program_of_the_host_has_is_refused() {
    let host = quiet_host();
    let server = on_host(&host, || TcpListener::bind("127.0.0.1:0").unwrap());
    let udp = on_host(&host, || UdpSocket::bind("127.0.0.1:0").unwrap());
    let (port, udp_port) = (server.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
    let before = host.snapshot();
    for address in ["0.0.0.0", "127.0.0.1"] {
        host.run(&["netns", "-p", &format!("{address}:{port}:80")]).fails(
            1,
            &format!(
                "netns: cannot publish {address}:{port}/tcp: \
                 listen tcp4 {address}:{port}: bind: address already in use\n"
            ),
        );
    }
    host.run(&["netns", "-p", &format!("{udp_port}:80/udp")]).code(1).says("bind: address already in use");
    host.run(&["netns", "-p", "203.0.113.1:80:80"]).fails(
        1,
        "netns: cannot publish 203.0.113.1:80/tcp: \
         listen tcp4 203.0.113.1:80: bind: cannot assign requested address\n",
    );
    // What was made of the ground is taken back, too.
    before.wait_for_exactly(&host).unwrap();
    drop((server, udp));
    Container::new(&host, &["-p", &format!("{port}:80")]).undo(&host);
}

#[test]
fn what_cannot_be_published_is_refused() {
    let host = Host::new();
    for network in ["none", "host"] {
        host.run(&["netns", "--network", network, "-p", "80:80"])
            .fails(2, "netns: cannot use --publish: only a container on the bridge has ports of its own\n");
    }
    host.run(&["netns", "-p", "80:x"])
        .code(2)
        .says("invalid value '80:x' for '--publish <PORTS>': invalid containerPort: x");
}

#[test]
fn of_many_who_want_a_port_one_has_it() {
    let host = Host::new();
    let script = "seq 16 | xargs -P 8 -I N sh -c 'netns -p 8080:80 < /dev/null 2> /run/errN || true'";
    let made = host.sh(script).ok();
    assert_eq!(made.lines().count(), 1, "{made}");
    host.sh(
        "cat /run/err* | grep -c 'Bind for 0.0.0.0:8080 failed: port is already allocated'; rm /run/err*",
    )
    .prints("15");
    // And of many who want any, each has one of his own.
    let made = host.sh("seq 24 | xargs -P 8 -I N sh -c 'netns -p 80 < /dev/null'").ok();
    let ports: BTreeSet<u64> = made
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|document| document["network"]["portMappings"][0]["hostPort"].as_u64().unwrap())
        .collect();
    assert_eq!(ports.len(), 24);
    host.sh("netns ls | jq -r '.[].id' | xargs -P 4 -n 1 netns undo").ok();
    host.sh("nft list map inet gocker ports | grep -c comment; true").prints("0");
}

#[test]
fn the_port_of_a_container_that_is_gone_can_be_had() {
    let host = quiet_host();
    let one = Container::new(&host, &["-p", "8080:80"]);
    host.sh(&format!("ip netns delete {}", one.name())).ok();
    let other = Container::new(&host, &["-p", "127.0.0.1:8080:80"]);
    // The late undo does not take what is another's now.
    one.undo(&host);
    let server = serve(&host, &other, 80);
    reach(&host, Place::Host, "127.0.0.1:8080", &server);
    drop(server);
    host.sh("nft list map inet gocker ports | grep -c comment; true").prints("0");
    // What nobody wants again, gc takes back.
    host.sh(&format!("ip netns delete {}; netns gc; nft list ruleset", other.name())).prints("");
}

#[test]
fn ports_are_not_lost_with_the_rules() {
    let host = quiet_host();
    let one = Container::new(&host, &["-p", "8080:80", "-p", "127.0.0.1:8081:80/udp"]);
    let rules = host.sh("nft list ruleset").ok();
    for damage in [
        "nft flush ruleset",
        "nft flush chain inet gocker forward",
        "nft flush map inet gocker ports; nft flush chain inet gocker martians",
    ] {
        host.sh(damage).ok();
        let next = Container::new(&host, &[]);
        assert_eq!(host.sh("nft list ruleset").ok(), rules, "{damage}");
        next.undo(&host);
    }
    one.undo(&host);
}

#[test]
fn a_failure_takes_the_ports_back() {
    let host = quiet_host();
    let first = Container::new(&host, &["-p", "81:80"]);
    let id = new_id();
    let argv = ["netns", "--id", &id, "-p", "8080:80", "-p", "127.0.0.1:82:82/udp"];
    let calls = ["sendto", "recvfrom", "bind", "listen", "write", "mount", "unshare"];
    let met = every_error(&host, &argv, None, &calls, &["netns", "undo", &id]);
    assert!(met > 25, "{met}");
    first.undo(&host);
}

#[test]
fn a_kill_leaves_no_port() {
    let host = quiet_host();
    let first = Container::new(&host, &["-p", "81:80"]);
    let id = new_id();
    let argv = ["netns", "--id", &id, "-p", "8080:80"];
    let calls = ["sendto", "recvfrom", "write"];
    let met = every_kill(&host, &argv, None, &calls, &[&["netns", "undo", &id]]);
    assert!(met > 15, "{met}");
    first.undo(&host);
}
