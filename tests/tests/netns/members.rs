//! The names of a user-made network's containers, as these see them in their `/etc/hosts`.

use serde_json::{Value, json};
use tests::host::Running;
use tests::{Host, images, new_id};

use crate::netns::container::{Container, in_namespace};

const ROOTFS: &str = "/run/rootfs";

/// A member of a network, that runs a shell which does what it is told on stdin.
struct Member {
    document: Value,
    running: Running,
}

impl Member {
    fn start(host: &Host, options: &[&str]) -> Member {
        let id = format!("--id={}", new_id());
        let document = host.run(&[&["netns", "--network=web", &id], options].concat()).json();
        std::fs::write(host.path("/run/doc"), document.to_string()).unwrap();
        let words =
            ["nsrun", "--doc=/run/doc", "--rootfs", ROOTFS, "-i", "--", "sh", "-c", "echo ready; cat"];
        let mut running = host.start(&words);
        running.wait_for_line("ready");
        Member { document, running }
    }

    fn container(&self) -> Container {
        Container::of(&self.document)
    }

    fn sh(&self, host: &Host, script: &str) -> String {
        host.run(&["nsrun", "exec", self.document["id"].as_str().unwrap(), "sh", "-c", script]).ok()
    }

    /// The lines behind netns' own.
    fn sees(&self, host: &Host) -> String {
        self.sh(host, "sed '1,/^# /d' /etc/hosts")
    }

    fn end(self, host: &Host) {
        let output = self.running.end();
        assert_eq!(output.code, 0, "{output}");
        Container::of(&self.document).undo(host);
    }
}

fn host() -> Host {
    let host = Host::new();
    images::busybox_rootfs(&host.path(ROOTFS));
    host.run(&["netns", "network", "create", "web"]).ok();
    host
}

/// Its line for the others, with these names before its id.
fn line(member: &Member, names: &str) -> String {
    let container = member.container();
    format!("{}\t{names}{}\n", container.address(), &container.id[..12])
}

#[test]
fn members_find_each_other_by_name_while_they_are_there() {
    let host = host();
    let web = Member::start(&host, &["--network-alias=front"]);
    assert_eq!(web.sees(&host), line(&web, "front "));
    let db = Member::start(&host, &["--hostname=db.example", "--network-alias=db", "--network-alias=store"]);
    let mut both = [line(&web, "front "), line(&db, "db.example db store ")];
    // In the order of their ids.
    both.sort_by_key(|line| line.split(['\t', ' ']).next_back().unwrap().to_owned());
    for member in [&web, &db] {
        assert_eq!(member.sees(&host), both.concat());
    }
    // The one that was there before reaches the one that came, by each of its names.
    let (server, port) = in_namespace(&host, &db.container().name(), || {
        let server = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = server.local_addr().unwrap().port();
        (server, port)
    });
    for name in ["db.example", "db", "store", &db.container().id[..12]] {
        web.sh(&host, &format!("nc {name} {port} -e true"));
    }
    drop(server);
    // nsrun takes the host name that netns was given; what it writes itself stays before what netns writes.
    assert_eq!(db.sh(&host, "hostname; head -n1 /etc/hosts"), "db.example\n127.0.0.1\tlocalhost\n");
    let shown = host.run(&["netns", "network", "inspect", "web"]).json();
    let names = |member: &Member| {
        let all = shown["containers"].as_array().unwrap();
        all.iter().find(|one| one["id"] == member.document["id"]).unwrap()["names"].clone()
    };
    assert_eq!(names(&web), json!(["front", web.container().id[..12]]));
    assert_eq!(names(&db), json!(["db.example", "db", "store", db.container().id[..12]]));
    let left = line(&web, "front ");
    db.end(&host);
    assert_eq!(web.sees(&host), left);
    web.end(&host);
    host.run(&["netns", "network", "rm", "web"]).ok();
    host.sh("ls /run/gocker/netns").prints("");
}

#[test]
fn what_a_member_does_to_its_file_is_its_own_business() {
    let host = host();
    let one = Member::start(&host, &[]);
    // Neither its lock nor its size keeps the others from coming.
    one.sh(&host, "flock -n /etc/hosts true; yes 1.2.3.4 evil | head -c 100000 > /etc/hosts");
    one.sh(&host, "(exec 9< /etc/hosts; flock 9; exec sleep 1000 > /dev/null 2>&1 < /dev/null) &");
    let other = Member::start(&host, &["--network-alias=other"]);
    let mut both = [line(&one, ""), line(&other, "other ")];
    both.sort_by_key(|line| line.split(['\t', ' ']).next_back().unwrap().to_owned());
    assert_eq!(other.sees(&host), both.concat());
    assert_eq!(one.sh(&host, "wc -c < /etc/hosts; grep -c other /etc/hosts || true"), "100000\n0\n");
    other.end(&host);
    one.end(&host);
    host.run(&["netns", "network", "rm", "web"]).ok();
}

#[test]
fn a_killed_members_name_goes_with_gc() {
    let host = host();
    let web = Member::start(&host, &[]);
    let gone = Container::new(&host, &["--network=web", "--network-alias=gone"]);
    assert!(web.sees(&host).contains("gone"));
    host.run(&["ip", "netns", "delete", &gone.name()]).ok();
    host.run(&["netns", "gc"]).ok();
    assert_eq!(web.sees(&host), line(&web, ""));
    web.end(&host);
    host.run(&["netns", "network", "rm", "web"]).ok();
}

#[test]
fn names_where_nobody_could_use_them_are_refused() {
    let host = Host::new();
    for (options, stderr) in [
        (
            &["--network-alias=db"][..],
            "cannot use --network-alias: network-scoped aliases are only supported for user-defined networks",
        ),
        (
            &["--hostname=db", "--network=host"],
            "cannot use --hostname: with --network=host the host name is another's",
        ),
    ] {
        host.run(&[&["netns"], options].concat()).fails(2, &format!("netns: {stderr}\n"));
    }
    host.run(&["netns", "--hostname=a b"]).code(2).says("it must have 1 to 253 of [a-zA-Z0-9_.-]");
    let document = host.run(&["netns", "--network=none", "--hostname=alone"]).json();
    assert_eq!((&document["network"]["hostname"], document["network"].get("hosts")), (&json!("alone"), None));
    host.run(&["netns", "undo", document["id"].as_str().unwrap()]).ok();
}
