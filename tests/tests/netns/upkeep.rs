//! `check`, `repair`, `stats`.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::json;
use tests::new_id;

use crate::netns::container::{Container, in_namespace, on_host, quiet_host};

#[test]
fn repair_puts_back_what_somebody_flushed_and_nothing_else() {
    let host = quiet_host();
    host.run(&["netns", "network", "create", "web"]).ok();
    host.sh("nft add table inet somebody; nft add chain inet somebody x").ok();
    let one = Container::new(&host, &["-p", "8080:80"]);
    let other = Container::new(&host, &["--network=web", "-p", "127.0.0.1:81:81/udp"]);
    let rules = || host.sh("nft list ruleset").ok();
    let right = rules();
    host.run(&["netns", "check"]).prints("[]");
    let server = in_namespace(&host, &one.name(), || TcpListener::bind("0.0.0.0:80").unwrap());
    for (damage, found) in [
        ("nft delete table inet gocker", "table inet gocker is not as it should be"),
        ("nft delete element inet gocker ports { tcp . 8080 }", "table inet gocker is not as it should be"),
        ("nft flush set inet gocker bridges", "table inet gocker is not as it should be"),
        ("echo 0 > /proc/sys/net/ipv4/ip_forward", "net.ipv4.ip_forward is off"),
        ("ip link set gocker1 down", "bridge gocker1 is down"),
    ] {
        host.sh(damage).ok();
        assert_eq!(host.run(&["netns", "check"]).code(1).stdout, json!([{"what": found}]).to_string() + "\n");
        host.run(&["netns", "repair"]).prints("");
        assert_eq!(
            rules().split("table").collect::<std::collections::BTreeSet<_>>(),
            right.split("table").collect()
        );
        host.run(&["netns", "check"]).prints("[]");
        let to: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        on_host(&host, || TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap());
        server.accept().unwrap();
        // What is as it should be is not touched.
        assert_eq!(host.run(&["netns", "repair", "-v"]).stderr, "");
    }
    host.sh("nft flush ruleset; netns repair; nft list tables").prints("table inet gocker");
    drop(server);
    one.undo(&host);
    other.undo(&host);
    host.run(&["netns", "network", "rm", "web"]).ok();
    host.run(&["netns", "gc"]).ok();
    host.sh("netns repair; netns check; nft list ruleset").prints("[]");
}

#[test]
fn check_names_what_is_wrong_with_whom() {
    let host = quiet_host();
    let made: Vec<Container> = (0..4).map(|_| Container::new(&host, &[])).collect();
    let names: Vec<String> = made.iter().map(Container::interface).collect();
    let gone = new_id();
    host.sh(&format!(
        "set -e
        ip link set {} down
        ip link set {} nomaster
        ip link property del dev {} altname gocker-{}
        touch /run/gocker/netns/{gone}",
        names[0],
        names[1],
        names[2],
        made[2].address()
    ))
    .ok();
    let mut expected = vec![
        json!({"id": made[0].id, "what": format!("link {} is down", names[0])}),
        json!({"id": made[1].id, "what": format!("link {} is no port of gocker0", names[1])}),
        json!({"id": made[2].id, "what": format!("link {} has lost the lease of its address", names[2])}),
        json!({"id": gone, "what": format!("/run/netns/gocker-{} is no namespace", &gone[..12])}),
    ];
    expected.sort_by_key(|finding| finding["id"].as_str().unwrap().to_owned());
    let output = host.run(&["netns", "check"]).code(1);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&output.stdout).unwrap(), json!(expected));
    for one in &made {
        one.undo(&host);
    }
    host.run(&["netns", "undo", &gone]).ok();
}

#[test]
fn stats_are_what_the_container_counts() {
    let host = quiet_host();
    let one = Container::new(&host, &[]);
    host.run(&["netns", "exec", &one.id, "--", "ping", "-qc3", "-i0.2", "-W5", "172.29.0.1"]).ok();
    let stats = host.run(&["netns", "stats", &one.id]).json();
    let inside = host.run(&["ip", "-j", "-s", "-n", &one.name(), "link", "show", "eth0"]).json();
    let counters = &inside[0]["stats64"];
    for (ours, theirs) in [("rx", &counters["rx"]), ("tx", &counters["tx"])] {
        for (key, name) in
            [("Bytes", "bytes"), ("Packets", "packets"), ("Errors", "errors"), ("Dropped", "dropped")]
        {
            assert_eq!(stats[format!("{ours}{key}")], theirs[name], "{ours}{key}");
        }
    }
    assert!(stats["rxPackets"].as_u64().unwrap() >= 3);
    assert_eq!((&stats["id"], &stats["interface"]), (&json!(one.id), &json!("eth0")));
    one.undo(&host);
    let id = new_id();
    host.run(&["netns", "stats", &id]).fails(
        1,
        &format!(
            "netns: cannot look for link gk{}: RTM_GETLINK: ENODEV: No such device\n  \
             hint: netns ls shows who has an interface\n",
            &id[..12]
        ),
    );
}
