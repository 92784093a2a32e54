//! Who reaches whom.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tests::Host;

use crate::netns::container::{Container, in_namespace, on_host};

/// A host with an uplink (192.0.2.1) to an "internet" that knows the way back to the host alone: 192.0.2.2,
/// and 198.51.100.7 behind it.
pub fn connected_host() -> Host {
    let host = Host::new();
    host.sh("set -e
        ip netns add internet
        ip link add up0 type veth peer name eth0 netns internet
        ip address add 192.0.2.1/24 dev up0
        ip link set up0 addrgenmode none up
        ip -n internet link set lo up
        ip -n internet address add 192.0.2.2/24 dev eth0
        ip -n internet address add 198.51.100.7/32 dev lo
        ip -n internet link set eth0 up
        ip route add default via 192.0.2.2")
        .ok();
    host.settled()
}

/// One TCP connection between two places. Whom the server saw, when what was said has arrived.
fn talk(
    listen: impl FnOnce(Box<dyn FnOnce() -> TcpListener + Send>) -> TcpListener,
    connect: impl FnOnce(Box<dyn FnOnce(SocketAddr) -> TcpStream + Send>, SocketAddr) -> TcpStream,
    address: &str,
) -> String {
    let any = "0.0.0.0:0";
    let listener = listen(Box::new(move || TcpListener::bind(any).unwrap()));
    let port = listener.local_addr().unwrap().port();
    let to = SocketAddr::new(address.parse().unwrap(), port);
    let open = |to: SocketAddr| TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap();
    let mut stream = connect(Box::new(open), to);
    stream.write_all(b"hello").unwrap();
    drop(stream);
    let (mut accepted, from) = listener.accept().unwrap();
    let mut text = String::new();
    accepted.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    from.ip().to_string()
}

#[test]
fn containers_reach_each_other() {
    let host = Host::new();
    let (one, other) = (Container::new(&host, &[]), Container::new(&host, &[]));
    let from = talk(
        |listen| in_namespace(&host, &one.name(), listen),
        |connect, to| in_namespace(&host, &other.name(), || connect(to)),
        one.address(),
    );
    assert_eq!(from, other.address());
    host.run(&["netns", "exec", &one.id, "--", "ping", "-qc1", "-W5", other.address()]).ok();
    one.undo(&host);
    other.undo(&host);
}

#[test]
fn a_container_and_the_host_reach_each_other() {
    let host = Host::new();
    let one = Container::new(&host, &[]);
    let from = talk(
        |listen| on_host(&host, listen),
        |connect, to| in_namespace(&host, &one.name(), || connect(to)),
        "172.29.0.1",
    );
    assert_eq!(from, one.address());
    let from = talk(
        |listen| in_namespace(&host, &one.name(), listen),
        |connect, to| on_host(&host, || connect(to)),
        one.address(),
    );
    assert_eq!(from, "172.29.0.1");
    one.undo(&host);
}

#[test]
fn a_container_reaches_what_the_host_reaches_and_is_seen_as_the_host() {
    let host = connected_host();
    let one = Container::new(&host, &[]);
    for there in ["192.0.2.2", "198.51.100.7"] {
        let from = talk(
            |listen| in_namespace(&host, "internet", listen),
            |connect, to| in_namespace(&host, &one.name(), || connect(to)),
            there,
        );
        assert_eq!(from, "192.0.2.1");
        host.run(&["netns", "exec", &one.id, "--", "ping", "-qc1", "-W5", there]).ok();
    }
    // With other people's tools alone.
    host.sh(&format!(
        "ip netns exec internet busybox nc -l -p 80 -e echo hello &
        until ip netns exec internet grep -qs ':0050 ' /proc/net/tcp /proc/net/tcp6; do :; done
        ip netns exec {} busybox nc -w 5 198.51.100.7 80 < /dev/null
        wait",
        one.name()
    ))
    .prints("hello");
    one.undo(&host);
}

#[test]
fn the_host_reaches_the_outside_as_before_and_no_other_source_is_changed() {
    let host = connected_host();
    let one = Container::new(&host, &[]);
    let from = talk(
        |listen| in_namespace(&host, "internet", listen),
        |connect, to| on_host(&host, || connect(to)),
        "198.51.100.7",
    );
    assert_eq!(from, "192.0.2.1");
    one.undo(&host);
}

#[test]
fn nobody_outside_reaches_a_container() {
    let host = connected_host();
    let one = Container::new(&host, &[]);
    // Even one who knows the way.
    host.sh("ip -n internet route add 172.29.0.0/16 via 192.0.2.1").ok();
    let listener = in_namespace(&host, &one.name(), || TcpListener::bind("0.0.0.0:0").unwrap());
    let to = SocketAddr::new(one.address().parse().unwrap(), listener.local_addr().unwrap().port());
    let connect = || TcpStream::connect_timeout(&to, Duration::from_millis(500));
    let error = in_namespace(&host, "internet", connect).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    on_host(&host, connect).unwrap();
    host.sh("ip -n internet route del 172.29.0.0/16 via 192.0.2.1").ok();
    one.undo(&host);
}

#[test]
fn a_container_without_network_reaches_itself_alone() {
    let host = connected_host();
    let bridged = Container::new(&host, &[]);
    let one = Container::new(&host, &["--network=none"]);
    host.run(&["netns", "exec", &one.id, "--", "ping", "-qc1", "-W5", "127.0.0.1"]).ok();
    let connect = || TcpStream::connect("172.29.0.1:1").unwrap_err().kind();
    let error = in_namespace(&host, &one.name(), connect);
    assert_eq!(error, std::io::ErrorKind::NetworkUnreachable);
    bridged.undo(&host);
    one.undo(&host);
}

#[test]
fn any_user_may_ping_and_listen_on_port_80() {
    let host = Host::new();
    let one = Container::new(&host, &[]);
    host.sh(&format!(
        "netns exec {} -- sh -c 'cat /proc/sys/net/ipv4/ping_group_range /proc/sys/net/ipv4/ip_unprivileged_port_start'
        cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
        one.id
    ))
    .prints("0\t2147483647\n0\n1024");
    one.undo(&host);
}

#[test]
fn where_iptables_drops_what_is_forwarded_netns_says_so_once_and_what_helps() {
    let host = connected_host();
    host.sh("iptables -P FORWARD DROP").ok();
    let host = host.settled();
    let output = host.run(&["netns"]);
    let one = Container::of(&output.clone().json());
    let hint = output.stderr.lines().nth(1).unwrap().strip_prefix("  hint: ").unwrap();
    assert_eq!(
        output.stderr.lines().next().unwrap(),
        "netns: iptables drops what the host forwards (docker sets it so): containers do not reach the outside"
    );
    let other = host.run(&["netns"]);
    assert_eq!(other.stderr, "");
    let other = Container::of(&other.json());
    let ping = ["netns", "exec", &one.id, "--", "ping", "-qc1", "-W1", "198.51.100.7"];
    host.run(&ping).code(1);
    host.sh(hint).ok();
    host.run(&ping).ok();
    host.sh("iptables -F FORWARD").ok();
    one.undo(&host);
    other.undo(&host);
}

/// A container that sends under somebody else's address, as CAP_NET_RAW or an address of its own making allows.
#[test]
fn a_false_senders_address_goes_nowhere() {
    let host = connected_host();
    let one = Container::new(&host, &[]);
    host.sh(&format!("ip -n {} address add 198.51.100.99/32 dev lo", one.name())).ok();
    let listener = on_host(&host, || std::net::UdpSocket::bind("172.29.0.1:0").unwrap());
    let to = listener.local_addr().unwrap();
    let send = |from: &str, text: &[u8]| {
        let from = format!("{from}:0");
        in_namespace(&host, &one.name(), || {
            std::net::UdpSocket::bind(&from).unwrap().send_to(text, to).unwrap()
        });
    };
    // What is sent first comes first, if it comes.
    send("198.51.100.99", b"false");
    send(one.address(), b"true");
    let mut bytes = [0; 16];
    listener.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let length = listener.recv(&mut bytes).unwrap();
    assert_eq!(&bytes[..length], b"true");
    host.sh("nft flush chain inet gocker martians; nft add rule inet gocker martians meta nfproto ipv4").ok();
    send("198.51.100.99", b"false");
    let length = listener.recv(&mut bytes).unwrap();
    assert_eq!(&bytes[..length], b"false");
    one.undo(&host);
}
