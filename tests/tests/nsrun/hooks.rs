//! Hooks of all six kinds: when, where, with what, and what becomes of a container whose hook fails.

use serde_json::{Value, json};
use tests::Host;

use super::bundle::{self, config, create, delete, nsrun, wait_for_end};
use super::host;

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that notes its name, the state and what it can see. It runs in either tree: both have /bin/sh.
fn noting(name: &str) -> Value {
    let script = format!(
        "read -r state; {{ echo {name} $A $0; echo \"$state\"; readlink /proc/self/ns/net; readlink /proc/self/ns/uts; }} >> /mnt/notes 2>&1"
    );
    json!({"path": "/bin/sh", "args": ["sh", "-c", script, "zero"], "env": ["PATH=/usr/bin:/bin", "A=b"]})
}

struct Note {
    name: String,
    state: Value,
    net: String,
}

/// The notes of a tree.
fn notes(host: &Host, path: &str) -> Vec<Note> {
    let text = std::fs::read_to_string(host.path(path)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines
        .chunks(4)
        .map(|note| Note {
            name: note[0].to_owned(),
            state: serde_json::from_str(note[1]).unwrap_or_else(|error| panic!("{error}: {note:?}")),
            net: note[2].to_owned(),
        })
        .collect()
}

fn host_with_notes() -> Host {
    let host = host();
    host.sh("mkdir /run/rootfs/mnt; mount -t tmpfs tmpfs /mnt").ok();
    host.settled()
}

#[test]
fn all_six_in_order_with_state_environment_and_namespaces() {
    let host = host_with_notes();
    let mut config = config(&host, "box", "exit 0");
    for kind in KINDS {
        config["hooks"][kind] = json!([noting(&format!("{kind}-1")), noting(&format!("{kind}-2"))]);
    }
    config["annotations"] = json!({"org.example.key": "value"});
    bundle::write(&host, "box", &config);
    create(&host, "box").prints("");
    let pid: i64 = std::fs::read_to_string(host.path("/run/box.pid")).unwrap().parse().unwrap();
    let net = |path: String| host.run(&["readlink", &path]).ok().trim_end().to_owned();
    let (inside, outside) = (net(format!("/proc/{pid}/ns/net")), net("/proc/self/ns/net".to_owned()));
    let before = notes(&host, "/mnt/notes");
    let names: Vec<&str> = before.iter().map(|note| note.name.as_str()).collect();
    // createContainer's path is the host's, its namespaces are the container's: it writes to the same file.
    let created = ["prestart", "createRuntime", "createContainer"];
    let wanted: Vec<String> =
        created.iter().flat_map(|kind| [format!("{kind}-1 b zero"), format!("{kind}-2 b zero")]).collect();
    assert_eq!(names, wanted);
    for note in &before {
        let in_container = note.name.starts_with("createContainer");
        assert_eq!(note.net, if in_container { &inside } else { &outside }.as_str(), "{}", note.name);
        assert_eq!(note.state["pid"], if in_container { 1 } else { pid }, "{}", note.name);
        assert_eq!(
            note.state.to_string(),
            json!({"ociVersion": "1.0.2", "id": "box", "status": "creating", "pid": note.state["pid"], "bundle": "/run/box",
                   "annotations": {"org.example.key": "value"}})
            .to_string()
        );
    }
    nsrun(&host, &["start", "box"]).prints("");
    wait_for_end(&host, "box");
    nsrun(&host, &["delete", "box"]).prints("");
    let later: Vec<Note> = notes(&host, "/mnt/notes").into_iter().skip(6).collect();
    let seen: Vec<(&str, &str, &Value)> =
        later.iter().map(|note| (note.name.as_str(), note.net.as_str(), &note.state["status"])).collect();
    let (running, stopped) = (json!("running"), json!("stopped"));
    assert_eq!(
        seen,
        [
            ("poststart-1 b zero", outside.as_str(), &running),
            ("poststart-2 b zero", outside.as_str(), &running),
            ("poststop-1 b zero", outside.as_str(), &stopped),
            ("poststop-2 b zero", outside.as_str(), &stopped)
        ]
    );
    let last = notes(&host, "/run/rootfs/mnt/notes");
    assert_eq!(last.len(), 2);
    assert_eq!(
        (last[0].name.as_str(), &last[0].state["status"]),
        ("startContainer-1 b zero", &json!("created"))
    );
    assert_eq!((&last[1].net, &last[1].state["pid"]), (&inside, &json!(1)));
}

/// One hook of a kind, that fails.
fn failing(host: &Host, kind: &str) {
    let mut config = config(host, "box", "exec sleep 1000");
    let fail = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo because >&2; exit 3"]});
    config["hooks"][kind] = json!([fail, noting("after")]);
    if kind != "poststop" {
        config["hooks"]["poststop"] = json!([noting("poststop")]);
    }
    bundle::write(host, "box", &config);
}

#[test]
fn one_that_fails_ends_the_creation_and_poststop_still_comes() {
    let host = host_with_notes();
    for kind in &KINDS[..3] {
        failing(&host, kind);
        let words = format!("nsrun: cannot run {kind} hook /bin/sh: exit status: 3: because\n");
        create(&host, "box").fails(125, &words);
        host.assert_clean();
        let notes = notes(&host, "/mnt/notes");
        assert_eq!(
            notes.iter().map(|note| note.name.as_str()).collect::<Vec<_>>(),
            ["poststop b zero"],
            "{kind}"
        );
        std::fs::remove_file(host.path("/mnt/notes")).unwrap();
    }
}

#[test]
fn one_that_fails_at_the_start_ends_the_container() {
    let host = host_with_notes();
    for kind in &KINDS[3..5] {
        failing(&host, kind);
        create(&host, "box").prints("");
        let words = format!("nsrun: cannot run {kind} hook /bin/sh: exit status: 3: because\n");
        nsrun(&host, &["start", "box"]).fails(125, &words);
        wait_for_end(&host, "box");
        nsrun(&host, &["delete", "box"]).prints("");
        // The same in one.
        nsrun(&host, &["run", "-b", "/run/box", "box"]).fails(125, &words);
        nsrun(&host, &["run", "-d", "-b", "/run/box", "box"]).fails(125, &words);
        host.assert_clean();
    }
}

#[test]
fn after_the_end_a_failure_is_a_warning() {
    let host = host_with_notes();
    failing(&host, "poststop");
    create(&host, "box").prints("");
    let deleted = nsrun(&host, &["--log=/run/log", "--log-format=json", "delete", "--force", "box"]).code(0);
    let words = "cannot run poststop hook /bin/sh: exit status: 3: because";
    assert_eq!(deleted.stderr, format!("nsrun: warning: {words}\n"));
    let log: Value = serde_json::from_str(&std::fs::read_to_string(host.path("/run/log")).unwrap()).unwrap();
    assert_eq!((&log["level"], &log["msg"]), (&json!("warning"), &json!(words)));
    assert_eq!(notes(&host, "/mnt/notes").len(), 1);
}

#[test]
fn one_that_takes_too_long_is_killed() {
    let host = host_with_notes();
    let mut config = config(&host, "box", "true");
    config["hooks"]["createRuntime"] =
        json!([{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]);
    bundle::write(&host, "box", &config);
    create(&host, "box").fails(
        125,
        "nsrun: cannot run createRuntime hook /bin/sleep: it took longer than its timeout, 1 s\n",
    );
    config["hooks"]["createRuntime"][0]["timeout"] = json!(0);
    bundle::write(&host, "box", &config);
    create(&host, "box").code(125).says("hooks.createRuntime: timeout is not positive");
    config["hooks"]["createRuntime"] = json!([{"path": "sleep"}]);
    bundle::write(&host, "box", &config);
    create(&host, "box").code(125).says("hooks.createRuntime: \"sleep\" is not absolute");
    config["hooks"]["createRuntime"] = json!([{"path": "/bin/nil"}]);
    bundle::write(&host, "box", &config);
    create(&host, "box")
        .code(125)
        .says("cannot run createRuntime hook /bin/nil: execve: No such file or directory");
    host.assert_clean();
    delete(&host, "box");
}
