//! `--conf`: containers whose network other people's plugins make.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Host, schema};

use crate::netns::container::{Container, in_namespace, quiet_host};

/// Debian's plugins.
const PLUGINS: &str = "/usr/lib/cni";

fn conflist(host: &Host, version: &str) {
    let list = json!({
        "cniVersion": version,
        "name": "theirs",
        "plugins": [
            {"type": "bridge", "bridge": "their0", "isGateway": true, "ipMasq": true, "capabilities": {"ips": true},
             "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/leases"}},
            {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true},
            {"type": "tuning", "capabilities": {"mac": true}, "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}},
        ]
    });
    std::fs::write(host.path("/run/net.conflist"), list.to_string()).unwrap();
}

/// What Debian's plugins leave for the next container.
fn finish(host: &Host) {
    host.sh(
        "ip link delete their0; for table in nat filter; do iptables -t $table -F; iptables -t $table -X; done
        nft delete table ip nat; nft delete table ip filter; rm -r /run/leases /run/net.conflist
        echo 0 > /proc/sys/net/ipv4/ip_forward",
    );
}

#[test]
fn a_chain_of_debians_plugins() {
    let host = quiet_host();
    for version in ["0.4.0", "1.0.0"] {
        conflist(&host, version);
        let words = [
            "--conf=/run/net.conflist",
            "-p",
            "8080:80",
            "--ip=10.7.0.77",
            "--mac-address=02:11:22:33:44:55",
        ];
        let document = host.run(&[&["netns"], &words[..]].concat()).json();
        schema::check(&document, "network");
        let one = Container::of(&document);
        assert_eq!(one.address(), "10.7.0.77");
        assert_eq!(one.network["ips"][0].get("version"), None);
        assert_eq!(one.network["netns"], format!("/run/netns/{}", one.name()));
        assert_eq!(one.network["portMappings"][0]["hostPort"], 8080);
        let link: Value = host.run(&["ip", "-n", &one.name(), "-j", "address", "show", "eth0"]).json();
        assert_eq!(link[0]["address"], "02:11:22:33:44:55");
        assert_eq!(link[0]["addr_info"][0]["local"], "10.7.0.77");
        host.run(&["ip", "netns", "exec", &one.name(), "ping", "-qc1", "-W5", "10.7.0.1"]).ok();
        host.run(&["ip", "netns", "exec", &one.name(), "cat", "/proc/sys/net/ipv4/conf/eth0/arp_filter"])
            .prints("1");
        // Reached as a neighbour reaches the host: by its address.
        let server = in_namespace(&host, &one.name(), || TcpListener::bind("0.0.0.0:80").unwrap());
        let place = "10.7.0.1:8080".parse().unwrap();
        super::container::on_host(&host, || {
            TcpStream::connect_timeout(&place, Duration::from_secs(5)).unwrap()
        });
        drop(server);
        host.sh("netns ls | jq -c '.[].portMappings[].hostPort'; ls /run/leases/theirs")
            .prints("8080\n10.7.0.77\nlast_reserved_ip.0\nlock");
        one.undo(&host);
        host.sh("netns ls; ls /run/leases/theirs; iptables -t nat -S | grep -c 8080; true")
            .prints("[]\nlast_reserved_ip.0\nlock\n0");
        // Nothing to take back.
        one.undo(&host);
    }
    finish(&host);
}

#[test]
fn a_single_plugin_by_its_path_and_our_own_program_as_one() {
    let host = quiet_host();
    let conf = json!({"cniVersion": "1.1.0", "name": "own", "type": "bridge", "bridge": "gocker7", "ipam": {"type": "host-local", "subnet": "10.8.0.0/24"}});
    std::fs::write(host.path("/run/own.conf"), conf.to_string()).unwrap();
    let netns = host.sh("command -v netns").ok();
    let document = host.run(&["netns", "--conf=/run/own.conf", "--plugin", netns.trim()]).json();
    schema::check(&document, "network");
    let one = Container::of(&document);
    assert!(one.address().starts_with("10.8.0."), "{document}");
    host.run(&["ip", "netns", "exec", &one.name(), "ping", "-qc1", "-W5", "10.8.0.1"]).ok();
    // The namespace goes without us: gc has the plugin take back the rest, though the plugin is this very program.
    host.run(&["ip", "netns", "delete", &one.name()]).ok();
    host.run(&["netns", "gc"]).prints("");
    host.run(&["netns", "ls"]).prints("[]");
    host.sh("netns network rm own; echo 0 > /proc/sys/net/ipv4/ip_forward; rm /run/own.conf").ok();
}

#[test]
fn a_plugin_that_fails_leaves_nothing_and_says_why() {
    let host = quiet_host();
    conflist(&host, "1.0.0");
    // Its last plugin fails: those before it are taken back.
    host.sh("sed -i 's/arp_filter/nosuch/' /run/net.conflist").ok();
    let output = host.run(&["netns", "--conf=/run/net.conflist"]).code(1);
    assert!(
        output.stderr.starts_with(&format!("netns: cannot ADD by plugin {PLUGINS}/tuning: "))
            && output.stderr.contains("nosuch"),
        "{output}"
    );
    host.sh("netns ls; ls /run/netns; ls /run/leases/theirs").prints("[]\nlast_reserved_ip.0\nlock");
    conflist(&host, "1.0.0");
    for (words, says) in [
        (&["--conf=/run/nosuch"][..], "cannot use network configuration /run/nosuch: open: "),
        (&["--conf=/run/net.conflist", "--plugin=/run"], "cannot find plugin bridge in /run"),
        (
            &["--conf=/run/net.conflist", "-p", "80"],
            "cannot publish port 80: with --conf the host's port must be given",
        ),
    ] {
        host.run(&[&["netns"], words].concat()).code(1).says(says);
    }
    host.sh("sed -i 's/\"mac\":true//' /run/net.conflist").ok();
    host.run(&["netns", "--conf=/run/net.conflist", "--mac-address=02:11:22:33:44:55"])
        .code(1)
        .says("cannot use --mac-address: no plugin of it has the capability");
    host.run(&["netns", "--conf=/run/net.conflist", "--network=none"]).code(2).says("cannot be used with");
    finish(&host);
}
