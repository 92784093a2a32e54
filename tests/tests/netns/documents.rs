//! What goes in and out on the pipe, and wrong input.

use serde_json::json;
use tests::{Host, new_id};

use crate::netns::container::{Container, quiet_host};

#[test]
fn the_document_passes_through_and_gains_one_section() {
    let host = Host::new();
    let id = new_id();
    let document = format!(
        "{{\"gocker\":1,\"id\":\"{id}\",\"x\":{{\"a\":1.10,\"b\":18446744073709551616}},\"rootfs\":{{}}}}\n"
    );
    let output = host.feed(&["netns", "--network=host", "--dns=1.1.1.1"], &document).ok();
    let dns = output.strip_prefix(document.trim_end().strip_suffix('}').unwrap()).unwrap();
    assert!(
        dns.starts_with(",\"network\":{\"cniVersion\":\"1.1.0\",\"dns\":{\"nameservers\":[\"1.1.1.1\"]"),
        "{output}"
    );
    assert!(output.ends_with("}\n"));
}

#[test]
fn the_section_without_a_bridge() {
    let host = Host::new();
    let none = Container::new(&host, &["--network=none", "--dns=1.1.1.1", "--dns-search=."]);
    let path = format!("/run/netns/{}", none.name());
    assert_eq!(
        none.network,
        json!({"cniVersion": "1.1.0", "dns": {"nameservers": ["1.1.1.1"]}, "netns": path})
    );
    let of_host = Container::new(&host, &["--network=host", "--dns=1.1.1.1", "--dns-search=."]);
    assert_eq!(of_host.network, json!({"cniVersion": "1.1.0", "dns": {"nameservers": ["1.1.1.1"]}}));
    host.sh("ip -o link | wc -l").prints("1");
    none.undo(&host);
    of_host.undo(&host);
}

#[test]
fn the_section_is_as_its_schema_says() {
    let host = Host::new();
    for network in ["bridge", "none", "host"] {
        let document = host.run(&["netns", "--network", network, "--dns=1.1.1.1"]).json();
        tests::schema::check(&document, "network");
        Container::of(&document).undo(&host);
    }
}

#[test]
fn a_document_that_is_none() {
    let host = Host::new();
    let id = new_id();
    for (document, code, stderr) in [
        ("", 3, "no document on stdin: the stage before this one has said why"),
        ("{\"gocker\":2}", 2, "cannot read the document: version 2 of the document is not supported, only 1"),
        ("{}", 2, "cannot read the document: key \"gocker\" is missing"),
        (
            "{\"gocker\":1,\"network\":{}}",
            2,
            "cannot add to the document: section \"network\" is already there",
        ),
    ] {
        host.feed(&["netns"], document).fails(code, &format!("netns: {stderr}\n"));
    }
    host.feed(&["netns"], "{\"gocker\":1").code(2).says("netns: cannot read the document: ");
    let other = format!("{{\"gocker\":1,\"id\":\"{id}\"}}");
    let wanted = new_id();
    host.feed(&["netns", "--id", &wanted], &other)
        .fails(2, &format!("netns: cannot use id {wanted}: the document's is {id}\n"));
}

#[test]
fn wrong_options() {
    let host = Host::new();
    for (options, stderr) in [
        (
            &["--network=none", "--ip=172.29.0.9"][..],
            "cannot use --ip: only a container on the bridge has an address",
        ),
        (&["--network=host", "--subnet=10.1.0.0/16"], "cannot use --subnet: only the bridge has a subnet"),
        (&["--ip=172.29.0.9", "ls"], "cannot use the set-up's options: they do not go with a verb"),
    ] {
        host.run(&[&["netns"], options].concat()).fails(2, &format!("netns: {stderr}\n"));
    }
    host.run(&["netns", "--subnet=10.1.0.0/31"])
        .code(2)
        .says("a subnet for containers has a prefix length from 4 to 30, not 31");
    host.run(&["netns", "--subnet=10.1"])
        .code(2)
        .says("a subnet is written like 172.29.0.0/16, not \"10.1\"");
    host.run(&["netns", "--ip=x"]).code(2).says("invalid value 'x' for '--ip");
    host.sh("GOCKER_SUBNET=x netns < /dev/null")
        .fails(2, "netns: cannot use GOCKER_SUBNET: a subnet is written like 172.29.0.0/16, not \"x\"\n");
    host.run(&["netns", "undo", "abc"]).code(2).says("an id is 64 lower-case hex digits, not \"abc\"");
}

#[test]
fn not_being_root() {
    let host = Host::new();
    for words in [&["netns"][..], &["netns", "undo", &new_id()], &["netns", "gc"]] {
        host.run(&[&["setpriv", "--reuid=65534", "--clear-groups"], words].concat())
            .fails(1, "netns: cannot change the host: not root\n  hint: run it as root, or with sudo\n");
    }
}

#[test]
fn the_same_container_twice() {
    let host = quiet_host();
    let one = Container::new(&host, &[]);
    let before = host.snapshot();
    host.run(&["netns", "--id", &one.id]).fails(
        1,
        &format!(
            "netns: cannot make /run/gocker/netns/{0}: open: File exists (os error 17)\n  hint: netns undo {0}\n",
            one.id
        ),
    );
    before.wait_for_exactly(&host).unwrap();
    one.undo(&host);
}

#[test]
fn a_document_that_cannot_be_written_is_a_failure_that_is_undone() {
    let host = Host::new();
    let before = host.snapshot();
    host.sh("netns < /dev/null > /dev/full").code(1).says("netns: cannot write the document: write stdout: ");
    before.wait_for_exactly(&host).unwrap();
}
