//! The five tools as a person chains them: the same container as gocker-sh's, the original article's experiments, the
//! ways out of a container, and the example script.

use std::collections::BTreeMap;

use tests::snapshot::cgroup_dirs;
use tests::{Host, bins, new_id};

mod experiments;
mod network;

/// What can be told from inside a container, one fact on each line; what must differ is cut out of it.
const LOOK: &str = r#"
for n in /proc/self/ns/*; do echo "ns ${n##*/} $(readlink $n)"; done
sed 's/^/mount /' /proc/self/mounts
sed -n 's/^Cap/cap &/p; s/^NoNewPrivs/& /p; s/^Seccomp:/& /p' /proc/self/status
env | sed 's/^/env /'
sed 's/^/cgroup /' /proc/self/cgroup
echo "hostname $(hostname)"
ip route | sed 's/^/route /'
ip -o addr | sed 's/^[0-9]*: /address /; s/valid_lft.*//'
sed 's/^/hosts /' /etc/hosts
sed 's/^/resolv /' /etc/resolv.conf
echo "me $$ $(id) $(pwd)"
ulimit -a | sed 's/^/limit /'
ls -l /dev | awk '{print "dev", $1, $3, $4, $NF}'
"#;

/// The facts without this container's own numbers.
fn facts(text: &str, id: &str) -> String {
    let text = text.replace(id, "ID").replace(&id[..12], "SHORT");
    text.lines()
        .map(|line| line.split(' ').map(anonymous).collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Namespaces, addresses of the bridge's network and devices' numbers are each container's own.
fn anonymous(word: &str) -> String {
    match word.split_once(":[") {
        Some((kind, _)) => format!("{kind}:[N]"),
        None if word.starts_with("172.29.")
            && !word.starts_with("172.29.0.0/")
            && !word.starts_with("172.29.0.1") =>
        {
            let suffix = word.split_once('/').map(|(_, bits)| format!("/{bits}")).unwrap_or_default();
            let name = word.split_once('\t').map(|(_, name)| format!("\t{name}")).unwrap_or_default();
            format!("ADDRESS{suffix}{name}")
        }
        None if word.starts_with("fe80::") => "LINK-LOCAL".to_owned(),
        None => word.to_owned(),
    }
}

#[test]
fn the_pipeline_typed_by_hand_gives_the_same_container_as_gocker_sh() {
    let host = Host::with_images();
    let id = new_id();
    let typed = host.run(&[
        "sh",
        "-c",
        "pull busybox | mount-overlay --id=$1 | netns | cgctl -m 64M --pids-limit=100 | nsrun -- sh -c \"$2\"",
        "sh",
        &id,
        LOOK,
    ]);
    let by_hand = facts(&typed.ok(), &id);
    host.sh(&format!("nsrun undo {id} && cgctl undo {id} && netns undo {id} && mount-overlay undo {id}"))
        .ok();
    host.assert_clean();

    let chained = host.run(&[
        "gocker-sh",
        "run",
        "--name",
        "same",
        "--cidfile",
        "/run/cid",
        "-m",
        "64M",
        "--pids-limit=100",
        "busybox",
        "sh",
        "-c",
        LOOK,
    ]);
    let id = host.sh("cat /run/cid").ok();
    let by_gocker_sh = facts(&chained.ok(), &id);
    host.run(&["gocker-sh", "rm", "same"]).ok();
    assert_eq!(by_hand, by_gocker_sh);
    // It is not the same because it is empty.
    for fact in [
        "ns net net:[N]",
        "cap CapBnd:",
        "hostname SHORT",
        "route default via 172.29.0.1",
        "mount overlay / overlay",
    ] {
        assert!(by_hand.contains(fact), "no {fact:?} in\n{by_hand}");
    }
}

#[test]
fn the_document_that_reaches_the_end_is_as_the_schemas_say() {
    let host = Host::with_images();
    let id = new_id();
    let document =
        host.sh(&format!("pull busybox | mount-overlay --id={id} | netns | cgctl -m 64M --cpus=0.5")).json();
    for section in ["image", "rootfs", "network", "cgroup"] {
        tests::schema::check(&document, section);
    }
    let keys: Vec<&String> = document.as_object().unwrap().keys().collect();
    let mut sorted = vec!["gocker", "id", "image", "rootfs", "network", "cgroup"];
    sorted.sort_unstable();
    assert_eq!(keys, sorted);
    let facts = host.feed(
        &["sh", "-c", "cat > /run/doc; nsrun --doc=/run/doc --json-fd=3 -- true 3>&1 >&2"],
        &document.to_string(),
    );
    let states: Vec<serde_json::Value> =
        facts.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(states.len(), 2, "{states:?}");
    for state in &states {
        tests::schema::check(state, "process");
    }
    assert_eq!(
        (&states[0]["process"]["status"], &states[1]["process"]["exitCode"]),
        (&"running".into(), &0.into())
    );
    host.sh(&format!(
        "nsrun undo {id} && cgctl undo {id} && netns undo {id} && mount-overlay undo {id}; rm /run/doc"
    ))
    .ok();
}

#[test]
fn a_stage_that_fails_stops_the_pipeline_with_one_message() {
    let host = Host::with_images();
    let output = host.sh("pull --pull=never absent | mount-overlay | netns | cgctl | nsrun -- true");
    assert_eq!(output.code, 125, "{output}");
    let reasons: Vec<&str> = output.stderr.lines().filter(|line| line.contains(": cannot ")).collect();
    assert!(reasons.len() == 1 && reasons[0].starts_with("pull: "), "{output}");
    host.assert_clean();
}

/// The documented way to use the five tools from a script.
fn script() -> String {
    bins::workspace().join("tests/examples/containers.sh").to_str().unwrap().to_owned()
}

#[test]
fn the_example_script_runs_enters_lists_and_removes() {
    let host = Host::with_images();
    let script = script();
    let call = |words: &[&str]| host.run(&[&[script.as_str()], words].concat());
    call(&["run", "web", "busybox", "sh", "-c", "echo hello; exit 4"])
        .code(4)
        .stdout
        .strip_prefix("hello\n")
        .unwrap();
    let listed = call(&["ps"]).ok();
    let row: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((row[0], row[2], row[3]), ("web", "exited", "docker.io/library/busybox:latest"), "{listed}");
    call(&["run", "web", "busybox", "true"]).fails(1, "containers.sh: there is a container web already\n");
    call(&["rm", "web"]).prints("web");
    host.sh("rmdir /run/containers.sh").ok();
    host.assert_clean();

    let mut running = host.start(&[&script, "run", "db", "busybox", "sh", "-c", "echo up; exec cat"]);
    running.wait_for_line("up");
    assert!(call(&["ps"]).ok().contains("running"));
    call(&["exec", "db", "sh", "-c", "echo inside $$"]).ok().strip_prefix("inside ").unwrap();
    assert_eq!(running.end().code, 0);
    call(&["rm", "db", "nobody"]).code(1).says("containers.sh: there is no container nobody\n");
    call(&["run", "none", "absent", "true"]).code(125);
    host.sh("rmdir /run/containers.sh").ok();
}

#[test]
fn the_example_script_ends_what_runs() {
    let host = Host::with_images();
    let script = script();
    let mut running = host.start(&[&script, "run", "db", "busybox", "sh", "-c", "echo up; exec cat"]);
    running.wait_for_line("up");
    host.run(&[&script, "rm", "db"]).prints("db");
    let output = running.end();
    assert_eq!(output.code, 137, "{output}");
    host.sh("rmdir /run/containers.sh").ok();
}

/// The files of the one container's cgroups, by name, wherever their controller is mounted.
fn cgroup_files(host: &Host) -> BTreeMap<String, std::path::PathBuf> {
    let mut files = BTreeMap::new();
    for dir in cgroup_dirs(&host.cgroup_parent()) {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            files.entry(entry.file_name().into_string().unwrap()).or_insert(entry.path());
        }
    }
    files
}
