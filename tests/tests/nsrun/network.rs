//! The network namespace, and the files that name what is in it.

use serde_json::json;

use super::{ROOTFS, host, run, sh};

#[test]
fn none_and_host() {
    let host = host();
    let outside = host.sh("readlink /proc/self/ns/net").ok();
    assert_eq!(run(&host, &["--network=host", "--", "readlink", "/proc/self/ns/net"]).ok(), outside);
    assert_ne!(run(&host, &["--network=none", "--", "readlink", "/proc/self/ns/net"]).ok(), outside);
    // Its host's name and files.
    let script = "hostname; cat /etc/hosts /etc/resolv.conf";
    let files = host.sh(script).ok();
    assert_eq!(run(&host, &["--network=host", "--", "sh", "-c", script]).ok(), files);
    let script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
    run(&host, &["--network=host", "--", "sh", "-c", script]).prints("1024");
    run(&host, &["--", "sh", "-c", script]).prints("0");
    host.sh(script).prints("1024");
}

#[test]
fn a_namespace_by_path_with_its_facts() {
    let host = host();
    // The first `ip netns add` makes a mount that stays.
    host.sh("ip netns add first && ip netns del first").ok();
    let host = host.settled();
    host.sh("ip netns add test && ip -n test link add marker type bridge").ok();
    let id = tests::new_id();
    let document = |dns: serde_json::Value| {
        json!({"gocker": 1, "id": id, "rootfs": {"path": ROOTFS, "mount": {}}, "network": {"cniVersion": "1.1.0", "netns": "/run/netns/test",
            "ips": [{"address": "172.29.0.5/16", "gateway": "172.29.0.1"}], "dns": dns}})
        .to_string()
    };
    let dns = json!({"nameservers": ["9.9.9.9"], "search": ["a.b", "c"], "options": ["ndots:2"]});
    let run = |dns, more: &[&str]| host.feed(&[&["nsrun"], more].concat(), &document(dns));
    run(dns.clone(), &["--", "sh", "-c", "ip -o link | grep -c marker; cat /etc/resolv.conf"])
        .prints("1\nnameserver 9.9.9.9\nsearch a.b c\noptions ndots:2");
    let more = [
        "--add-host=db:10.0.0.1",
        "--add-host=host:host-gateway",
        "--hostname=web.example",
        "--",
        "cat",
        "/etc/hosts",
        "/etc/hostname",
    ];
    run(dns, &more).prints(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n10.0.0.1\tdb\n172.29.0.1\thost\n172.29.0.5\tweb.example web\nweb.example",
    );
    run(json!({}), &["--", "hostname"]).prints(&id[..12]);
    host.sh("ip netns del test").ok();
    run(json!({}), &["--", "true"]).fails(
        125,
        "nsrun: cannot join network namespace /run/netns/test: open: ENOENT: No such file or directory\n",
    );
}

#[test]
fn resolvers_that_only_the_host_can_reach_are_left_out() {
    let host = host();
    for (theirs, ours) in [
        ("nameserver 127.0.0.1\nnameserver 10.0.0.53\nsearch x\n", "nameserver 10.0.0.53\nsearch x"),
        ("nameserver 127.0.0.1\n", "nameserver 8.8.8.8\nnameserver 8.8.4.4"),
    ] {
        std::fs::write(host.path("/run/resolv.conf"), theirs).unwrap();
        host.sh("mount --bind /run/resolv.conf /etc/resolv.conf").ok();
        sh(&host, "cat /etc/resolv.conf").prints(ours);
        host.sh("umount /etc/resolv.conf").ok();
    }
}

#[test]
fn added_hosts_are_checked() {
    let host = host();
    for (entry, said) in [
        ("x", "it is not NAME:ADDRESS"),
        ("x:y", "\"y\" is not an address"),
        (":1.2.3.4", "\"\" is not a host name"),
    ] {
        let option = format!("--add-host={entry}");
        run(&host, &[&option, "--", "true"]).fails(125, &format!("nsrun: cannot add host {entry}: {said}\n"));
    }
    run(&host, &["--add-host=x:host-gateway", "--", "true"])
        .code(125)
        .says("cannot add host x:host-gateway: the container's network has no gateway");
    run(&host, &["--add-host=v6:[fd00::1]", "--", "tail", "-n1", "/etc/hosts"]).prints("fd00::1\tv6");
}
