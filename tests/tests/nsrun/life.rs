//! Signals, ends, records: `--init`, `--die-with-parent`, `--json-fd`, `ls`, `undo`.

use nix::sys::signal::Signal;
use tests::{Host, new_id};

use super::{ROOTFS, Sleeper, host, run, words};

#[test]
fn signals_reach_the_command_once() {
    let host = host();
    for init in [&[][..], &["--init"]] {
        let script =
            "trap 'echo usr1' USR1; trap 'echo term; exit 5' TERM; echo ready; while :; do sleep 0.01; done";
        let mut running = host.start(&words(&[init, &["--", "sh", "-c", script]].concat()));
        running.wait_for_line("ready");
        running.signal(Signal::SIGUSR1);
        running.wait_for_line("usr1");
        running.signal(Signal::SIGTERM);
        let end = running.end();
        assert_eq!((end.code, end.stdout.as_str()), (5, "term\n"), "{end}");
    }
}

#[test]
fn the_first_process_ignores_what_it_does_not_handle_unless_there_is_an_init() {
    let host = host();
    let mut running = host.start(&words(&["--init", "--", "sh", "-c", "echo ready; exec sleep 1000"]));
    running.wait_for_line("ready");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().code, 143);
    let mut running = host.start(&words(&["-i", "--", "sh", "-c", "echo ready; cat"]));
    running.wait_for_line("ready");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().code, 0, "as with docker");
}

#[test]
fn init_reaps_orphans() {
    let host = host();
    let script = "(sh -c 'exit 0' & exec true); while ps -o stat | grep -q Z; do sleep 0.01; done; echo $$; ps -o pid,comm | head -n2 | tail -n1";
    let output = run(&host, &["--init", "--", "sh", "-c", script]);
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(output.stdout.lines().next(), Some("2"), "{output}");
    // When the command ends, so does everything.
    run(&host, &["--init", "--", "sh", "-c", "sleep 1000 & exit 3"]).code(3);
    host.assert_clean();
}

/// The kernel then forgets whom the command depends on; that of the init, it does not.
#[test]
fn with_an_init_a_set_user_id_command_dies_with_nsrun_too() {
    let host = host();
    host.sh(&format!(
        "mkdir {ROOTFS}/own && cp {ROOTFS}/bin/busybox {ROOTFS}/own/sh && chmod 4755 {ROOTFS}/own/sh"
    ))
    .ok();
    let id = new_id();
    let script = ["--", "/own/sh", "-c", "echo ready; while :; do sleep 1000; done"];
    let mut running = host.start(&words(&[&["--init", "-u", "app", "--id", &id], &script[..]].concat()));
    running.wait_for_line("ready");
    running.signal(Signal::SIGKILL);
    assert_eq!(running.end().code, 137);
    // Before anybody undoes it: the leak check would find its processes.
    host.sh("while pgrep -x sleep > /dev/null; do :; done").ok();
    host.run(&["nsrun", "undo", &id]).ok();
    host.assert_clean();
}

#[test]
fn the_container_dies_with_nsrun() {
    let host = host();
    for more in [&[][..], &["--init"], &["-u", "app"]] {
        let sleeper = Sleeper::start(&host, more);
        sleeper.running.signal(Signal::SIGKILL);
        assert_eq!(sleeper.running.end().code, 137);
        host.run(&["nsrun", "undo", &sleeper.id]).ok();
        host.assert_clean();
    }
}

#[test]
fn nsrun_dies_with_its_parent_when_told_to() {
    let host = host();
    let id = new_id();
    let mut line = words(&["--die-with-parent", "-i", "--id", &id, "--", "sh", "-c", "echo ready; cat"]);
    line.splice(0..0, ["sh", "-c", "\"$@\" & wait; true", "sh"]);
    let mut running = host.start(&line);
    // The shell gives a background job /dev/null as stdin: the command ends by itself unless it is killed first.
    line[2] = "\"$@\" <&3 3<&- & wait; true";
    drop(running.child.stdin.take());
    running.end();
    line.splice(0..0, ["bash", "-c", "exec 3<&0; exec \"$@\"", "bash"]);
    let mut running = host.start(&line);
    running.wait_for_line("ready");
    running.signal(Signal::SIGKILL);
    let mut rest = String::new();
    std::io::Read::read_to_string(running.child.stdout.as_mut().unwrap(), &mut rest).unwrap();
    running.child.wait().unwrap();
    host.run(&["nsrun", "undo", &id]).ok();
    host.assert_clean();
}

#[test]
fn facts_on_a_descriptor() {
    let host = host();
    let id = new_id();
    let with_facts = |more: &[&str]| {
        let line = words(&[&["--json-fd=5", "--id", &id], more].concat());
        let output =
            host.run(&[&["bash", "-c", "exec 5>/run/facts; exec \"$@\"", "bash"], &line[..]].concat());
        let facts = std::fs::read_to_string(host.path("/run/facts")).unwrap();
        let facts: Vec<serde_json::Value> =
            facts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (output, facts)
    };
    let (output, facts) = with_facts(&["--", "sh", "-c", "exit 9"]);
    assert_eq!((output.code, facts.len()), (9, 2), "{output}");
    let process = &facts[0]["process"];
    assert_eq!(process["status"], "running");
    assert_eq!(process["id"], id.as_str());
    assert!(process["pid"].as_i64().unwrap() > 1 && process["startTime"].is_u64(), "{process}");
    assert_eq!(
        (&facts[1]["process"]["status"], &facts[1]["process"]["exitCode"]),
        (&"stopped".into(), &9.into())
    );
    // Nothing is running that never began.
    let (output, facts) = with_facts(&["--", "nil"]);
    assert_eq!((output.code, facts.len()), (127, 0), "{output}");
    host.run(&words(&["--json-fd=77", "--", "true"]))
        .fails(125, "nsrun: cannot use --json-fd=77: EBADF: Bad file number\n");
    host.sh("rm /run/facts").ok();
}

fn listed(host: &Host) -> serde_json::Value {
    host.run(&["nsrun", "ls"]).json()
}

#[test]
fn ls_and_undo() {
    let host = host();
    assert_eq!(listed(&host), serde_json::json!([]));
    let sleeper = Sleeper::start(&host, &[]);
    let list = listed(&host);
    assert_eq!((&list[0]["id"], &list[0]["status"]), (&sleeper.id.as_str().into(), &"running".into()));
    assert!(list[0]["pid"].is_i64());
    // Its id is taken.
    run(&host, &["--id", &sleeper.id, "--", "true"]).fails(
        125,
        &format!(
            "nsrun: cannot run container {0}: it is there already\n  hint: if it is not to be: nsrun undo {0}\n",
            sleeper.id
        ),
    );
    host.run(&["nsrun", "undo", &sleeper.id]).prints("");
    assert_eq!(sleeper.running.end().code, 137);
    for _ in 0..2 {
        host.run(&["nsrun", "undo", &sleeper.id]).prints("");
    }
    host.run(&["nsrun", "undo", &new_id()]).prints("");
    host.run(&["nsrun", "undo", "../etc"]).code(125).says("a container's id has letters");
    assert_eq!(listed(&host), serde_json::json!([]));
    host.assert_clean();
}

#[test]
fn broken_records_are_listed_and_undone() {
    let host = host();
    let (empty, broken, stale) = (new_id(), new_id(), new_id());
    host.sh(&format!(
        "cd /run && mkdir -p gocker/nsrun && cd gocker/nsrun && mkdir {empty} {broken} {stale} && echo '{{' > {broken}/state.json \
         && echo x > {stale}/state.json.77.tmp && touch not-an-id"
    ))
    .ok();
    let list = listed(&host);
    let find = |id: &str| list.as_array().unwrap().iter().find(|entry| entry["id"] == id).unwrap().clone();
    assert_eq!(list.as_array().unwrap().len(), 3);
    assert_eq!(find(&empty)["status"], "stopped");
    assert!(find(&broken)["error"].as_str().unwrap().starts_with("cannot read "));
    for id in [&empty, &broken, &stale] {
        host.run(&["nsrun", "undo", id]).prints("");
    }
    host.sh("rm /run/gocker/nsrun/not-an-id").ok();
    host.assert_clean();
}

#[test]
fn another_process_of_the_recorded_pid_is_left_alone() {
    let host = host();
    let id = new_id();
    let dir = format!("/run/gocker/nsrun/{id}");
    host.sh(&format!("mkdir -p {dir}")).ok();
    let state = serde_json::json!({"id": id, "pid": 1, "startTime": 1, "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/"}});
    std::fs::write(host.path(&format!("{dir}/state.json")), state.to_string()).unwrap();
    assert_eq!(listed(&host)[0]["status"], "stopped");
    host.run(&["nsrun", "exec", &id, "true"]).fails(125, &format!("nsrun: container {id} is not running\n"));
    host.run(&["nsrun", "undo", &id]).prints("");
}

#[test]
fn effects_are_shown_as_commands() {
    let host = host();
    let output = run(&host, &["-v", "--volume=/etc:/e:ro", "--", "true"]);
    for part in [
        "+ unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child --propagation slave\n",
        "+ mount -t proc -o nosuid,noexec,nodev proc ./proc\n",
        "+ mount -o rbind,rprivate,ro=recursive /etc ./e\n",
        "+ pivot_root . .\n",
    ] {
        assert!(output.stderr.contains(part), "{part}{output}");
    }
}
