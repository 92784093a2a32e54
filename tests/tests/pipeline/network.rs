//! Containers reach each other, the host, and what the host reaches.

use tests::Host;
use tests::host::Running;

/// A container that answers each connection to port 80 with its own address; the address.
fn server(host: &Host, name: &str) -> (Running, String) {
    let script = "address=$(ip -o -4 addr show eth0 | awk '{print $4}' | cut -d/ -f1); echo $address > /run/address; \
        mkdir /www; echo hello from $address > /www/index.html; httpd -p 80 -h /www; echo up; exec cat";
    let mut running = host.start(&[
        "gocker-sh",
        "run",
        "--rm",
        "-i",
        "--name",
        name,
        "busybox",
        "sh",
        "-c",
        &format!("mkdir -p /run; {script}"),
    ]);
    running.wait_for_line("up");
    let address = host.run(&["gocker-sh", "exec", name, "cat", "/run/address"]).ok().trim_end().to_owned();
    (running, address)
}

/// The last line of what an HTTP server answers. (wget of Debian's static busybox wants glibc's name service files.)
fn get(address: &str, path: &str) -> String {
    format!("printf 'GET /{path} HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {address} 80 | tail -n 1")
}

#[test]
fn each_other_and_the_host() {
    let host = Host::with_images();
    let (first, one) = server(&host, "one");
    let (second, two) = server(&host, "two");
    assert_ne!(one, two);
    host.run(&["gocker-sh", "exec", "one", "sh", "-c", &get(&two, "")]).prints(&format!("hello from {two}"));
    host.run(&["gocker-sh", "exec", "two", "sh", "-c", &get(&one, "")]).prints(&format!("hello from {one}"));
    // The host reaches them, and they reach the host, which is their gateway.
    host.sh(&get(&one, "").replace("nc ", "busybox nc ")).prints(&format!("hello from {one}"));
    let script = "mkdir /tmp/www.$$ && echo the host > /tmp/www.$$/index.html && busybox httpd -p 172.29.0.1:80 -h /tmp/www.$$ && echo /tmp/www.$$";
    let directory = host.sh(script).ok();
    host.run(&["gocker-sh", "exec", "one", "sh", "-c", &get("172.29.0.1", "")]).prints("the host");
    host.sh(&format!("pkill -x busybox; rm -r {directory}")).ok();
    assert_eq!((first.end().code, second.end().code), (0, 0));
}

#[test]
fn an_outside_network_through_the_hosts_address() {
    let host = Host::with_images();
    // The outside: a namespace with an address that the host has a route to, and none back to the containers.
    host.sh("set -e
        ip netns add outside
        ip link add wan type veth peer name eth0 netns outside
        ip addr add 203.0.113.1/24 dev wan
        ip link set wan up
        ip -n outside addr add 203.0.113.2/24 dev eth0
        ip -n outside link set eth0 up")
        .ok();
    run_ping(&host);
    let script = "mkdir -p /run/www/cgi-bin && printf '#!/bin/sh\\necho; echo from $REMOTE_ADDR\\n' > /run/www/cgi-bin/who && \
        chmod +x /run/www/cgi-bin/who && ip netns exec outside busybox httpd -p 80 -h /run/www";
    host.sh(script).ok();
    host.run(&["gocker-sh", "run", "--rm", "busybox", "sh", "-c", &get("203.0.113.2", "cgi-bin/who")])
        .prints("from [::ffff:203.0.113.1]");
    host.run(&[
        "gocker-sh",
        "run",
        "--rm",
        "--network=none",
        "busybox",
        "ping",
        "-c",
        "1",
        "-W",
        "1",
        "203.0.113.2",
    ])
    .code(1);
    // ip makes a mount of the directory, which stays.
    host.sh("pkill -x busybox; ip netns del outside; umount /run/netns; rm -r /run/www").ok();
}

fn run_ping(host: &Host) {
    host.run(&["gocker-sh", "run", "--rm", "busybox", "ping", "-q", "-c", "1", "-W", "5", "203.0.113.2"])
        .ok();
}
