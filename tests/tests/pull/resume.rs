//! Downloads that are interrupted, by the server, by a signal or by the death of pull, and go on.

use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::Host;

use super::server::{Answered, Server, hang, respond, respond_in_part};
use super::{assert_whole, large_layout};

/// Bytes of the layer that come at first.
const HALF: usize = 150_000;

/// The first bytes that the requests for the layer asked for.
fn ranges(server: &Server) -> Vec<Option<usize>> {
    // The configuration is a blob, too, and the first.
    server.blobs().skip(1).map(|request| request.range()).collect()
}

#[test]
fn a_dropped_connection_goes_on_where_it_ended() {
    let host = Host::new();
    let server = large_layout(&host).serve_but_once(&host, |stream, blob| {
        respond_in_part(stream, blob, HALF);
    });
    let output =
        host.run(&["pull", &format!("{}/x", server.address)]).code(0).says("; trying again in 0.2 s\n");
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_whole(&host, &document);
    assert_eq!(ranges(&server), [None, Some(HALF)]);
    let requests = document["image"]["fetched"]["requests"].as_array().unwrap();
    assert_eq!(requests.last().unwrap()["status"], 206);
    assert_eq!(
        document["image"]["fetched"]["phases"]["download"]["bytes"],
        document["image"]["layers"][0]["size"]
    );
    tests::schema::check(&document, "image");
}

#[test]
fn a_server_without_ranges_sends_all_of_it_again() {
    let host = Host::new();
    let server = large_layout(&host).serve_but(&host, |n, _, stream, blob| {
        if n == 0 {
            respond_in_part(stream, blob, HALF);
        } else {
            respond(stream, "200 OK", &[], blob);
        }
        Answered::Yes
    });
    let document = host.run(&["pull", "-q", &format!("{}/x", server.address)]).json();
    assert_whole(&host, &document);
    assert_eq!(ranges(&server), [None, Some(HALF)]);
}

#[test]
fn a_range_that_was_not_asked_for_is_refused() {
    let host = Host::new();
    let server = large_layout(&host).serve_but(&host, |n, _, stream, blob| {
        if n == 0 {
            respond_in_part(stream, blob, HALF);
        } else {
            respond(stream, "206 Partial Content", &[("Content-Range", "bytes 5-9/10")], b"evil!");
        }
        Answered::Yes
    });
    host.run(&["pull", "-q", &format!("{}/x", server.address)])
        .code(1)
        .says("the range \"bytes 5-9/10\" was not asked for\n");
}

/// Waits until so much of a layer is on disk.
fn wait_for_half(host: &Host) {
    let partial = host.path("/var/lib/gocker/pull/partial");
    loop {
        let files = std::fs::read_dir(&partial).into_iter().flatten().flatten();
        if files.filter_map(|file| file.metadata().ok()).any(|meta| meta.len() == HALF as u64) {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn what_came_before_a_signal_or_a_death_is_kept() {
    for signal in [Signal::SIGKILL, Signal::SIGINT, Signal::SIGTERM] {
        let host = Host::new();
        let server = large_layout(&host).serve_but_once(&host, |stream, blob| {
            respond_in_part(stream, blob, HALF);
            hang(stream);
        });
        let name = format!("{}/x", server.address);
        let running = host.start(&["pull", "-q", &name]);
        wait_for_half(&host);
        running.signal(signal);
        let end = running.end();
        if signal == Signal::SIGKILL {
            assert_eq!(end.code, 137, "{end}");
        } else {
            end.code(1).says(&format!("interrupted by {signal}\n"));
        }
        let output = host.run(&["pull", &name]).code(0).says(": resuming at 150000 of 30");
        assert_whole(&host, &serde_json::from_str(&output.stdout).unwrap());
        assert_eq!(ranges(&server), [None, Some(HALF)]);
    }
}

#[test]
fn what_was_kept_is_verified() {
    let host = Host::new();
    let server = large_layout(&host).serve_but_once(&host, |stream, blob| {
        respond_in_part(stream, blob, HALF);
    });
    let name = format!("{}/x", server.address);
    host.run(&["pull", "-q", "--retry=0", &name]).code(1);
    host.sh(
        "cd /var/lib/gocker/pull/partial && printf x | dd of=$(ls) bs=1 seek=70000 conv=notrunc status=none",
    )
    .ok();
    let output =
        host.run(&["pull", &name]).code(0).says("what was kept of it is wrong; fetching all of it again\n");
    assert_whole(&host, &serde_json::from_str(&output.stdout).unwrap());
    assert_eq!(ranges(&server), [None, Some(HALF), None]);
    // What is longer than the blob cannot be a part of it.
    let layer = large_layout(&host).layer();
    host.run(&["pull", "rm", &name]).ok();
    host.sh(&format!("head -c 400000 /dev/zero > /var/lib/gocker/pull/partial/{}", &layer[7..])).ok();
    let document = host.run(&["pull", "-q", &name]).json();
    assert_whole(&host, &document);
    // All of it, and right: nothing is asked for.
    let asked = ranges(&server).len();
    host.run(&["pull", "rm", &name]).ok();
    host.sh(&format!("cp /run/oci/blobs/sha256/{0} /var/lib/gocker/pull/partial/{0}", &layer[7..])).ok();
    assert_whole(&host, &host.run(&["pull", "-q", &name]).json());
    assert_eq!(ranges(&server).len() - asked, 1, "the configuration alone");
}

#[test]
fn a_connection_that_stalls_is_given_up() {
    let host = Host::new();
    let server = large_layout(&host).serve_but_once(&host, |stream, blob| {
        respond_in_part(stream, blob, HALF);
        hang(stream);
    });
    let output = host
        .run(&["pull", "--stall=1", &format!("{}/x", server.address)])
        .code(0)
        .says(": stalled: 150000 bytes in 1 s; trying again in 0.2 s\n");
    assert_whole(&host, &serde_json::from_str(&output.stdout).unwrap());
    assert_eq!(ranges(&server), [None, Some(HALF)]);
}

/// A registry that answers like this before it does its work.
#[track_caller]
fn retried(status: &'static str, headers: &'static [(&str, &str)], why: &str) {
    let host = Host::new();
    let layout = large_layout(&host);
    let count = AtomicUsize::new(0);
    let server = Server::start(&host, move |request, stream| {
        if count.fetch_add(1, Ordering::SeqCst) < 2 {
            respond(stream, status, headers, b"");
        } else {
            layout.answer(request, stream);
        }
    });
    let name = format!("{}/x", server.address);
    let url = format!("GET http://{}/v2/x/manifests/latest", server.address);
    let output = host.run(&["pull", &name]).code(0).says(&format!("{url}: {why}\n"));
    assert_eq!(output.stderr.matches("trying again").count(), 2, "{output}");
    let output = host.run(&["pull", "--pull=always", "--progress=json", &name]).code(0);
    assert!(output.stderr.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{output}");
}

#[test]
fn servers_that_are_busy_are_asked_again() {
    retried("503 Service Unavailable", &[], "503 Service Unavailable; trying again in 0.2 s");
    retried("408 Request Timeout", &[], "408 Request Timeout; trying again in 0.5 s");
    retried("429 Too Many Requests", &[("Retry-After", "1")], "429 Too Many Requests; trying again in 1.0 s");
}

#[test]
fn a_connection_that_is_cut_is_made_again() {
    let host = Host::new();
    let layout = large_layout(&host);
    let count = AtomicUsize::new(0);
    // The first is the try with TLS, the second gets no answer.
    let server = Server::start(&host, move |request, stream| {
        if count.fetch_add(1, Ordering::SeqCst) > 0 {
            layout.answer(request, stream);
        }
    });
    host.run(&["pull", &format!("{}/x", server.address)]).code(0).says("; trying again in 0.2 s\n");
    // Nobody listens: each try is told of, and the last error is the one that is reported.
    let output = host.run(&["pull", "--retry=1", "127.0.0.1:1/x"]).code(1);
    assert_eq!(
        output.stderr.matches("Connection refused (os error 111); trying again in 0.2 s\n").count(),
        1,
        "{output}"
    );
    assert!(output.stderr.ends_with("manifests/latest: Connection refused (os error 111)\n"), "{output}");
}

#[test]
fn no_retry_is_one_try() {
    let host = Host::new();
    let server = Server::start(&host, |_, stream| respond(stream, "503 Service Unavailable", &[], b""));
    host.run(&["pull", "-q", "--retry=0", &format!("{}/x", server.address)])
        .code(1)
        .says(": 503 Service Unavailable\n");
    assert_eq!(server.requests().len(), 1);
    // What will not change is not tried again.
    let server = Server::start(&host, |_, stream| respond(stream, "403 Forbidden", &[], b""));
    host.run(&["pull", "-q", &format!("{}/x", server.address)]).code(1).says(": 403 Forbidden\n");
    assert_eq!(server.requests().len(), 1);
}
