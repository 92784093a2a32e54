//! `dns` in the section: docker's rules.

use serde_json::{Value, json};
use tests::Host;

use crate::netns::container::Container;

/// A host with this in its /etc/resolv.conf.
fn host_with(text: &str) -> Host {
    let host = Host::new();
    host.feed(&["sh", "-c", "cat > /run/resolv && mount --bind /run/resolv /etc/resolv.conf"], text).ok();
    host.settled()
}

#[track_caller]
fn dns(host: &Host, options: &[&str]) -> Value {
    let one = Container::new(host, options);
    one.undo(host);
    one.network["dns"].clone()
}

#[test]
fn the_hosts_servers_as_far_as_a_container_reaches_them() {
    let host = host_with(
        "nameserver 127.0.0.1\nnameserver 10.0.0.53\nnameserver fe80::1\nsearch a.example b.example\noptions ndots:2 rotate\n",
    );
    let expected = json!({
        "nameservers": ["10.0.0.53"],
        "search": ["a.example", "b.example"],
        "options": ["ndots:2", "rotate"],
    });
    assert_eq!(dns(&host, &[]), expected);
    assert_eq!(dns(&host, &["--network=none"]), expected);
    let of_host = dns(&host, &["--network=host"]);
    assert_eq!(of_host["nameservers"], json!(["127.0.0.1", "10.0.0.53", "fe80::1"]));
}

#[test]
fn behind_systemd_resolved_the_servers_that_it_asks() {
    let host = host_with("nameserver 127.0.0.53\nsearch stub.example\n");
    host.sh("mkdir -p /run/systemd/resolve; printf 'nameserver 10.0.0.1\\nsearch real.example\\n' > /run/systemd/resolve/resolv.conf").ok();
    assert_eq!(dns(&host, &[]), json!({"nameservers": ["10.0.0.1"], "search": ["real.example"]}));
    assert_eq!(dns(&host, &["--network=host"])["nameservers"], json!(["127.0.0.53"]));
}

#[test]
fn without_any_server_dockers_choice_and_a_word() {
    for text in ["", "nameserver 127.0.0.1\n"] {
        let host = host_with(text);
        let output = host.run(&["netns"]);
        let one = Container::of(&output.clone().json());
        assert_eq!(one.network["dns"], json!({"nameservers": ["8.8.8.8", "8.8.4.4"]}));
        assert_eq!(
            output.stderr,
            "netns: the host has no name server that a container can reach: using 8.8.8.8 and 8.8.4.4\n"
        );
        one.undo(&host);
    }
}

#[test]
fn what_is_asked_for_wins_list_by_list() {
    let host = host_with("nameserver 10.0.0.53\nsearch a.example\noptions rotate\n");
    assert_eq!(
        dns(&host, &["--dns=9.9.9.9", "--dns=2620:fe::fe", "--dns-option=ndots:1"]),
        json!({"nameservers": ["9.9.9.9", "2620:fe::fe"], "search": ["a.example"], "options": ["ndots:1"]})
    );
    assert_eq!(
        dns(&host, &["--dns-search=.", "--network=none"]),
        json!({"nameservers": ["10.0.0.53"], "options": ["rotate"]})
    );
    assert_eq!(dns(&host, &["--dns-search=c.example", "--network=host"])["search"], json!(["c.example"]));
}
