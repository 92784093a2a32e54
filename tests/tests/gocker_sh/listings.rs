//! What `ps` and `images` show, as docker shows it.

use tests::Host;

use super::start;

#[test]
fn ps_shows_what_runs() {
    let host = Host::with_images();
    host.run(&["gocker-sh", "ps"])
        .prints("CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES");
    let running = start(&host, &["--rm", "--name", "web", "--label", "tier=front"]);
    let shown = host.run(&["gocker-sh", "ps"]).ok();
    let row: Vec<&str> =
        shown.lines().nth(1).unwrap().split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(
        (row[1], row[2], *row.last().unwrap()),
        ("busybox", "\"sh -c 'echo up; exe…\"", "web"),
        "{shown}"
    );
    assert!(row[3].ends_with(" ago") && row[4].starts_with("Up "), "{shown}");
    let listed = host.run(&["gocker-sh", "ps", "--json"]).json();
    let one = &listed[0];
    assert_eq!(one["name"], "web");
    assert_eq!(one["state"], "running");
    assert_eq!(one["command"], serde_json::json!(["sh", "-c", super::STAY]));
    assert_eq!(one["labels"], serde_json::json!(["tier=front"]));
    assert_eq!(one["network"], "bridge");
    // The pid is that of the container's first process, as this host sees it.
    host.run(&[
        "sh",
        "-c",
        "readlink /proc/$1/root > /dev/null; tr '\\0' ' ' < /proc/$1/cmdline",
        "sh",
        &one["pid"].to_string(),
    ])
    .prints("cat ");
    assert_eq!(running.end().code, 0);
    host.run(&["gocker-sh", "ps", "-a", "--json"]).prints("[]");
}

#[test]
fn formats_and_filters() {
    let host = Host::with_images();
    for (name, label, code) in [("first", "a=1", "0"), ("second", "a=2", "3")] {
        let words = ["run", "--name", name, "--label", label, "busybox", "sh", "-c", &format!("exit {code}")];
        host.run(&[&["gocker-sh"], &words[..]].concat());
    }
    let running = start(&host, &["--name", "third"]);
    for (words, shown) in [
        (&["-a", "--format", "{{.Names}}"][..], "third\nsecond\nfirst"),
        (&["--format", "{{.Names}}"], "third"),
        (&["-n", "2", "--format", "{{.Names}}"], "third\nsecond"),
        (&["-l", "--format", "{{.Names}}"], "third"),
        (&["-f", "status=exited", "--format", "{{.Names}}"], "second\nfirst"),
        (&["-f", "exited=3", "--format", "{{.Names}} {{.State}}"], "second exited"),
        (&["-a", "-f", "label=a", "--format", "{{.Names}}"], "second\nfirst"),
        (&["-a", "-f", "label=a=1", "--format", "{{.Names}} {{.Label \"a\"}}"], "first 1"),
        (&["-a", "-f", "name=^f", "--format", "{{.Names}}"], "first"),
        (&["-a", "-f", "name=first", "-f", "name=third", "--format", "{{.Names}}"], "third\nfirst"),
        (&["-a", "-f", "since=first", "--format", "{{.Names}}"], "third\nsecond"),
        (&["-a", "-f", "before=second", "--format", "{{.Names}}"], "first"),
        (&["-a", "-f", "ancestor=busybox:latest", "-q", "-f", "name=nobody"], ""),
        (&["-a", "-f", "network=none", "-q"], ""),
        (
            &["-a", "--format", "table {{.Names}}\\t{{.Image}}"],
            "NAMES     IMAGE\nthird     busybox\nsecond    busybox\nfirst     busybox",
        ),
        (&["-a", "-f", "name=second", "--format", "{{json .Image}}"], "\"busybox\""),
    ] {
        host.run(&[&["gocker-sh", "ps"], words].concat()).prints(shown);
    }
    let status = host.run(&["gocker-sh", "ps", "-a", "-f", "name=second", "--format", "{{.Status}}"]).ok();
    assert!(status.starts_with("Exited (3) ") && status.ends_with(" ago\n"), "{status}");
    let ids = host.run(&["gocker-sh", "ps", "-aq", "--no-trunc"]).ok();
    assert!(ids.lines().count() == 3 && ids.lines().all(|id| id.len() == 64), "{ids}");
    let lines = host.run(&["gocker-sh", "ps", "-a", "--format", "json"]).ok();
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["Names"], &first["LocalVolumes"], &first["Ports"]),
        (&"third".into(), &"0".into(), &"".into())
    );
    host.run(&["gocker-sh", "ps", "-f", "frob=1"]).fails(1, "gocker-sh: invalid filter 'frob'\n");
    host.run(&["gocker-sh", "ps", "--format", "{{.Nope}}"])
        .fails(1, "gocker-sh: cannot apply the template: there is no field .Nope\n");
    assert_eq!(running.end().code, 0);
    host.run(&["gocker-sh", "rm", "first", "second", "third"]).prints("first\nsecond\nthird");
}

#[test]
fn a_broken_record_spoils_no_listing() {
    let host = Host::with_images();
    host.run(&["gocker-sh", "run", "--name", "good", "--cidfile", "/run/cid", "busybox", "true"]).ok();
    host.sh(
        "d=/var/lib/gocker/gocker-sh/$(printf 'ab%.0s' $(seq 32)); mkdir $d && echo '{' > $d/record.json",
    )
    .ok();
    let shown = host.run(&["gocker-sh", "ps", "-a", "--format", "{{.ID}} {{.State}} {{.Status}}"]).ok();
    assert!(shown.contains("abababababab dead Broken: cannot read "), "{shown}");
    host.run(&["gocker-sh", "rm", "good", "abab"]).prints("good\nabab");
}

#[test]
fn images_are_shown_as_docker_does() {
    let host = Host::with_images();
    let shown = host.run(&["gocker-sh", "images"]).ok();
    let mut lines = shown.lines();
    assert!(lines.next().unwrap().starts_with("REPOSITORY   TAG       IMAGE ID       CREATED"), "{shown}");
    let names: Vec<&str> = lines.map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(names, ["busybox", "python"], "{shown}");
    for (words, shown) in [
        (&["--format", "{{.Repository}}:{{.Tag}}"][..], "busybox:latest\npython:latest"),
        (&["--format", "{{.Repository}}", "busy*"], "busybox"),
        (&["--format", "{{.Repository}}", "--filter", "reference=*:latest"], "busybox\npython"),
        (&["-q", "--filter", "dangling=true"], ""),
        (&["--format", "{{.Repository}} {{.CreatedAt}}", "busybox"], "busybox 2026-01-02 03:04:05 +0000 UTC"),
    ] {
        host.run(&[&["gocker-sh", "images"], words].concat()).prints(shown);
    }
    let listed = host.run(&["gocker-sh", "images", "--json"]).json();
    let id = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["reference"] == "docker.io/library/busybox:latest")
        .unwrap()["id"]
        .clone();
    let id = id.as_str().unwrap();
    host.run(&["gocker-sh", "images", "-q", "--no-trunc", "busybox"]).prints(id);
    host.run(&["gocker-sh", "images", "-aq", "busybox"]).prints(&id["sha256:".len()..][..12]);
    let digests = host.run(&["gocker-sh", "images", "--digests", "busybox"]).ok();
    assert!(digests.lines().next().unwrap().contains("DIGEST") && digests.contains(" sha256:"), "{digests}");
    host.run(&["gocker-sh", "images", "--filter", "frob=1"]).fails(1, "gocker-sh: invalid filter 'frob'\n");
}
