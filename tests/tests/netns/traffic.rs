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

/// What docker 28 makes of iptables' filter table, ports and all, reduced to its own bridge.
const DOCKER: &str = "set -e
    iptables -P FORWARD DROP
    for chain in DOCKER DOCKER-USER DOCKER-FORWARD DOCKER-CT DOCKER-BRIDGE; do iptables -N $chain; done
    iptables -A FORWARD -j DOCKER-USER
    iptables -A FORWARD -j DOCKER-FORWARD
    iptables -A DOCKER-FORWARD -j DOCKER-CT
    iptables -A DOCKER-FORWARD -j DOCKER-BRIDGE
    iptables -A DOCKER-FORWARD -i docker0 -j ACCEPT
    iptables -A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    iptables -A DOCKER-BRIDGE -o docker0 -j DOCKER
    iptables -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
    iptables -A DOCKER ! -i docker0 -o docker0 -j DROP";

/// A ufw that denies what is routed, as it does by itself.
const UFW: &str = "set -e
    iptables -P FORWARD DROP
    for chain in ufw-before-forward ufw-user-forward; do iptables -N $chain; done
    iptables -A FORWARD -j ufw-before-forward
    iptables -A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    iptables -A ufw-before-forward -p icmp -m icmp --icmp-type 8 -j ACCEPT
    iptables -A ufw-before-forward -j ufw-user-forward";

/// firewalld 1.3, an uplink in the zone public.
const FIREWALLD: &str = "nft -f - <<END
    table inet firewalld {
        chain filter_FORWARD {
            type filter hook forward priority filter + 10; policy accept;
            ct state { established, related } accept
            ct status dnat accept
            iifname \"lo\" accept
            jump filter_FORWARD_ZONES
            ct state invalid drop
            reject with icmpx admin-prohibited
        }
        chain filter_FORWARD_ZONES {
            iifname \"up0\" goto filter_FWD_public
            goto filter_FWD_public
        }
        chain filter_FWD_public { jump filter_FWD_public_allow; reject with icmpx admin-prohibited; }
        chain filter_FWD_public_allow { oifname \"nothing\" ip daddr 10.0.0.1 tcp dport 1 accept; }
    }
END";

#[test]
fn where_others_drop_what_is_forwarded_nothing_is_made_and_what_helps_is_said() {
    let (docker, forward, ufw, firewalld) = (
        "iptables -I DOCKER-USER -i gocker0 -j ACCEPT; iptables -I DOCKER-USER -o gocker0 -j ACCEPT",
        "iptables -I FORWARD -i gocker0 -j ACCEPT; iptables -I FORWARD -o gocker0 -j ACCEPT",
        "ufw route allow in on gocker0; ufw route allow out on gocker0",
        "firewall-cmd --permanent --zone=trusted --add-interface=gocker0 && firewall-cmd --reload",
    );
    let own = "nft add table inet mine; nft 'add chain inet mine f { type filter hook forward priority 5; policy drop; }'";
    let insert = "nft insert rule inet mine f iifname gocker0 accept; nft insert rule inet mine f oifname gocker0 accept";
    // The second is what the first does where there is such a program.
    for (rules, chain, hint, helps) in [
        (DOCKER, "ip filter FORWARD", docker, docker),
        ("iptables -P FORWARD DROP", "ip filter FORWARD", forward, forward),
        (
            UFW,
            "ip filter FORWARD",
            ufw,
            "iptables -A ufw-user-forward -i gocker0 -j ACCEPT; iptables -A ufw-user-forward -o gocker0 -j ACCEPT",
        ),
        (
            FIREWALLD,
            "inet firewalld filter_FORWARD",
            firewalld,
            "nft 'add chain inet firewalld filter_FWD_trusted { accept; }'
            nft insert rule inet firewalld filter_FORWARD_ZONES iifname gocker0 goto filter_FWD_trusted",
        ),
        (own, "inet mine f", insert, insert),
    ] {
        let host = connected_host();
        host.sh(rules).ok();
        let host = host.settled();
        let before = host.sh("nft -s list ruleset").ok();
        let output = host.run(&["netns"]).code(1);
        assert_eq!(
            output.stderr,
            format!(
                "netns: cannot connect bridge gocker0 to the outside: chain {chain} drops what is forwarded \
                 (--no-firewall-check goes on all the same)\n  hint: {hint}\n"
            )
        );
        assert_eq!(host.sh("nft -s list ruleset; ip link show type bridge").ok(), before);
        host.sh(helps).ok();
        let opened = host.sh("nft -s list ruleset").ok();
        let one = Container::new(&host, &[]);
        host.run(&["netns", "exec", &one.id, "--", "ping", "-qc1", "-W5", "198.51.100.7"]).ok();
        host.run(&["netns", "check"]).prints("[]");
        one.undo(&host);
        host.run(&["netns", "gc"]).ok();
        assert_eq!(host.sh("nft -s list ruleset").ok(), opened);
        host.sh("nft flush ruleset").ok();
    }
}

#[test]
fn who_knows_better_sets_up_behind_a_firewall_that_drops() {
    let host = connected_host();
    host.sh("iptables -P FORWARD DROP").ok();
    let host = host.settled();
    let one = Container::new(&host, &["--no-firewall-check"]);
    // The ground is there: nobody looks again.
    let other = Container::new(&host, &[]);
    host.run(&["netns", "exec", &one.id, "--", "ping", "-qc1", "-W1", "198.51.100.7"]).code(1);
    let what = "chain ip filter FORWARD drops what bridge gocker0 forwards: \
        iptables -I FORWARD -i gocker0 -j ACCEPT; iptables -I FORWARD -o gocker0 -j ACCEPT";
    let found = host.run(&["netns", "check"]).code(1).stdout;
    assert_eq!(found, serde_json::json!([{"what": what}]).to_string() + "\n");
    one.undo(&host);
    other.undo(&host);
    host.run(&["netns", "gc"]).ok();
    host.sh("GOCKER_NO_FIREWALL_CHECK=1 netns --id $(printf %064d 7) </dev/null >/dev/null
        netns undo $(printf %064d 7)")
        .ok();
    host.sh("netns network create --internal lab && netns --network lab --id $(printf %064d 8) </dev/null >/dev/null
        netns undo $(printf %064d 8)
        netns network rm lab").ok();
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

/// Who takes on a neighbour's hardware address would have what is sent to the neighbour.
#[test]
fn a_neighbours_hardware_address_is_of_no_use() {
    let host = connected_host();
    let [one, neighbour] = [0, 1].map(|_| Container::new(&host, &[]));
    let mac = neighbour.network["interfaces"][2]["mac"].as_str().unwrap();
    let own = one.network["interfaces"][2]["mac"].as_str().unwrap();
    let ping =
        |from: &Container, to: &str| host.run(&["netns", "exec", &from.id, "--", "ping", "-qc1", "-W1", to]);
    let take = |mac: &str| {
        host.sh(&format!("ip -n {} link set eth0 address {mac}", one.name())).ok();
    };
    ping(&one, neighbour.address()).ok();
    take(mac);
    ping(&one, "172.29.0.1").code(1);
    // The bridge has learnt nothing from that.
    ping(&neighbour, "172.29.0.1").ok();
    take("02:42:00:00:00:01");
    ping(&one, "172.29.0.1").code(1);
    take(own);
    ping(&one, neighbour.address()).ok();
    host.run(&["netns", "check"]).prints("[]");
    host.sh(&format!("bridge link set dev {} locked off", one.interface())).ok();
    let what = format!("link {} takes what is sent from any hardware address", one.interface());
    let found = host.run(&["netns", "check"]).code(1).stdout;
    assert_eq!(found, serde_json::json!([{"id": one.id, "what": what}]).to_string() + "\n");
    one.undo(&host);
    neighbour.undo(&host);
}
