//! Every call that can fail fails once; then the host is as it was. And SIGKILL, everywhere.

use tests::inject::{every_error, every_kill};
use tests::{Host, new_id};

use crate::netns::container::{Container, quiet_host};

/// The calls that change the host or prepare it, by name.
const CALLS: [&str; 10] =
    ["unshare", "mount", "setns", "flock", "mkdir", "socket", "setsockopt", "write", "sendto", "recvfrom"];

#[test]
fn the_first_containers_failure_leaves_nothing() {
    let host = Host::new();
    let id = new_id();
    let undo = format!("netns undo {id} && netns gc && echo 0 > /proc/sys/net/ipv4/ip_forward");
    let met = every_error(&host, &["netns", "--id", &id], None, &CALLS, &["sh", "-c", &undo]);
    assert!(met > 40, "{met}");
}

#[test]
fn a_file_that_cannot_be_opened_leaves_nothing() {
    let host = Host::new();
    let id = new_id();
    let undo = format!("netns undo {id} && netns gc && echo 0 > /proc/sys/net/ipv4/ip_forward");
    let met = every_error(&host, &["netns", "--id", &id], None, &["openat"], &["sh", "-c", &undo]);
    assert!(met > 8, "{met}");
}

#[test]
fn a_later_containers_failure_leaves_the_others_alone() {
    let host = quiet_host();
    let first = Container::new(&host, &[]);
    let id = new_id();
    let calls = ["unshare", "mount", "write", "sendto", "recvfrom"];
    let met = every_error(&host, &["netns", "--id", &id], None, &calls, &["netns", "undo", &id]);
    assert!(met > 15, "{met}");
    host.run(&["netns", "exec", &first.id, "--", "ping", "-qc1", "-W5", "172.29.0.1"]).ok();
    first.undo(&host);
}

#[test]
fn without_a_bridge_a_failure_leaves_nothing() {
    let host = Host::new();
    let id = new_id();
    let calls = ["unshare", "mount", "openat", "write", "sendto", "setns"];
    let argv = ["netns", "--network=none", "--id", &id];
    let met = every_error(&host, &argv, None, &calls, &["netns", "undo", &id]);
    assert!(met > 8, "{met}");
}

#[test]
fn undo_takes_back_what_a_kill_left() {
    let id = new_id();
    for calls in [&["unshare", "mount", "setns", "openat"][..], &["sendto", "recvfrom", "write"]] {
        let host = Host::new();
        let met = every_kill(&host, &["netns", "--id", &id], None, calls, &[&["netns", "undo", &id]]);
        assert!(met > 8, "{met}");
    }
}

#[test]
fn whatever_a_kill_left_of_the_ground_the_next_container_completes() {
    let host = Host::new();
    let id = new_id();
    for when in 1..40 {
        let fault = tests::inject::Fault::Kill;
        let killed = tests::inject::once(&host, &["netns", "--id", &id], None, "sendto", fault, when);
        host.run(&["netns", "undo", &id]).ok();
        let one = Container::new(&host, &[]);
        host.run(&["netns", "exec", &one.id, "--", "ping", "-qc1", "-W5", "172.29.0.1"]).ok();
        host.sh("nft list table inet gocker | grep -c 'masquerade'").prints("6");
        one.undo(&host);
        host.run(&["netns", "gc"]).ok();
        if killed.is_none() {
            return;
        }
    }
    panic!("it never got through");
}
