//! What can be seen afterwards, and from outside: events, room, spans; and which devices may be used.

use serde_json::Value;
use tests::{Host, Output};

fn gocker(host: &Host, words: &[&str]) -> Output {
    host.run(&[&["gocker-sh"], words].concat())
}

#[test]
fn events_tell_what_has_happened() {
    let host = Host::with_images();
    gocker(
        &host,
        &["run", "--rm", "--name", "one", "-l", "a=b", "--network=none", "busybox", "sh", "-c", "exit 3"],
    )
    .code(3);
    let past = ["events", "--since", "1h", "--until", "0s"];
    let all = gocker(&host, &[&past[..], &["--format", "{{.Action}} {{.Actor.Attributes.name}}"]].concat());
    all.prints("create one\nstart one\ndie one\ndestroy one");
    let died = gocker(&host, &[&past[..], &["-f", "event=die"]].concat()).ok();
    let (time, rest) = died.split_once(' ').unwrap();
    assert!(time.len() == 30 && time.ends_with('Z'), "{died}");
    assert!(
        rest.starts_with("container die ") && rest.ends_with(" (a=b, exitCode=3, image=busybox, name=one)\n"),
        "{died}"
    );
    for (filter, count) in [
        ("container=one", 4),
        ("container=two", 0),
        ("label=a=b", 4),
        ("image=busybox", 4),
        ("type=image", 0),
    ] {
        let lines = gocker(&host, &[&past[..], &["-f", filter, "--format", "json"]].concat()).ok();
        assert_eq!(lines.lines().count(), count, "{filter}: {lines}");
        lines.lines().for_each(|line| assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}"));
    }
    gocker(&host, &["events", "--since", "1h", "--until", "30m"]).prints("");
    gocker(&host, &["events", "-f", "frob=x"]).code(1).says("invalid filter 'frob'");
    gocker(&host, &["system", "events", "--since", "soon"]).code(1);
}

#[test]
fn events_are_shown_as_they_happen() {
    let host = Host::with_images();
    let mut running = host.start(&["gocker-sh", "events", "--since", "1h", "--format", "{{.Action}}"]);
    gocker(&host, &["run", "-d", "--name", "web", "--network=none", "busybox", "sleep", "1000"]).ok();
    running.wait_for_line("start");
    gocker(&host, &["pause", "web"]).ok();
    running.wait_for_line("pause");
    gocker(&host, &["unpause", "web"]).ok();
    gocker(&host, &["kill", "-s", "KILL", "web"]).ok();
    // The watcher has seen it.
    running.wait_for_line("die");
    gocker(&host, &["rm", "web"]).ok();
    running.wait_for_line("destroy");
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.end();
}

#[test]
fn room_is_counted_by_kind() {
    let host = Host::with_images();
    gocker(
        &host,
        &[
            "run",
            "--name",
            "old",
            "--network=none",
            "-v",
            "data:/data",
            "busybox",
            "sh",
            "-c",
            "head -c 5000 /dev/zero | tee /file > /data/file",
        ],
    )
    .code(0);
    let table = gocker(&host, &["system", "df"]).ok();
    assert!(table.starts_with("TYPE            TOTAL     ACTIVE    SIZE"), "{table}");
    gocker(&host, &["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"]).ok();
    let kinds = gocker(&host, &["system", "df", "--json"]).json();
    let (containers, volumes) = (&kinds[1], &kinds[2]);
    assert_eq!(containers["total"], 1, "{kinds:#}");
    assert_eq!(containers["active"], 0, "{kinds:#}");
    assert!(containers["size"].as_u64().unwrap() >= 5000, "{kinds:#}");
    assert_eq!(containers["reclaimable"], containers["size"], "{kinds:#}");
    assert_eq!(volumes["size"], 5000, "{kinds:#}");
    assert_eq!(volumes["reclaimable"], 0, "{kinds:#}");
    assert!(kinds[0]["active"] == 1 && kinds[0]["size"].as_u64().unwrap() > 100_000, "{kinds:#}");
    let size = gocker(&host, &["ps", "-as", "--format", "{{.Size}}"]).ok();
    assert!(size.starts_with("5") && size.ends_with("kB\n"), "{size}");
    assert!(gocker(&host, &["ps", "-as"]).ok().lines().next().unwrap().ends_with("SIZE"));
    gocker(&host, &["rm", "old"]).ok();
    gocker(&host, &["volume", "rm", "data"]).ok();
}

#[test]
fn a_trace_in_a_file_is_spans_of_the_callers_trace() {
    let host = Host::with_images();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    host.sh(&format!("TRACEPARENT={parent} gocker-sh --trace=/run/spans run --rm busybox true")).prints("");
    let spans: Vec<Value> = host
        .sh("cat /run/spans; rm /run/spans")
        .ok()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let whole = spans.iter().find(|span| span["name"] == "gocker-sh").unwrap();
    assert_eq!(whole["parentSpanId"], "b7ad6b7169203331");
    let nanos = |span: &Value, key: &str| span[key].as_str().unwrap().parse::<u128>().unwrap();
    for tool in ["pull", "mount-overlay", "netns", "cgctl", "nsrun"] {
        let span =
            spans.iter().find(|span| span["name"] == tool).unwrap_or_else(|| panic!("{tool}: {spans:#?}"));
        assert_eq!(span["traceId"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span["parentSpanId"], whole["spanId"]);
        assert!(nanos(span, "startTimeUnixNano") <= nanos(span, "endTimeUnixNano"), "{span:#}");
        assert!(nanos(span, "endTimeUnixNano") <= nanos(whole, "endTimeUnixNano"), "{span:#}");
        assert_eq!(span["attributes"]["exitCode"], 0, "{span:#}");
    }
    let pull = spans.iter().find(|span| span["name"] == "pull").unwrap();
    assert!(pull["attributes"]["document"]["image"]["reference"].is_string(), "{pull:#}");
    host.sh("gocker-sh --trace=/no/such/file run --rm --network=none busybox sh -c 'exit 4'")
        .code(4)
        .says("gocker-sh: cannot write /no/such/file: ");
}

/// A node that root in the container makes for itself is of no use, unless the device was given to it.
#[test]
fn only_devices_that_were_given_can_be_used() {
    let host = Host::with_images();
    let run = |options: &[&str], command: &str| {
        gocker(
            &host,
            &[&["run", "--rm", "--network=none"], options, &["busybox", "sh", "-c", command]].concat(),
        )
    };
    let tun = "mknod /dev/k c 10 200 && : < /dev/k";
    run(&[], tun).code(1).says("Operation not permitted");
    run(&["--device-cgroup-rule", "c 10:200 rwm"], tun).code(0);
    run(&["--privileged"], ": < /dev/net/tun").code(0);
    run(&[], "head -c 1 /dev/urandom > /dev/null; : > /dev/zero; : > /dev/ptmx").code(0);
    run(&["--device", "/dev/net/tun"], ": < /dev/net/tun && : > /dev/net/tun").code(0);
    let read = run(&["--device", "/dev/net/tun:/dev/k:r"], ": < /dev/k && : > /dev/k");
    read.code(1).says("Operation not permitted");
    run(&["--device", "/dev/no-such"], "true").code(125).says("error gathering device information");
    run(&["--device-cgroup-rule", "frob"], "true").code(125);
}
