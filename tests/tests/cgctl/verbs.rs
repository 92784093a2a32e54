//! exec, top, gc, delegate; and what stat tells of a group whose memory ran out.

use serde_json::{Value, json};
use tests::{Host, inject, new_id};

use super::{CALLS, TOOL, create, inside, text, undo};

fn exec(host: &Host, document: &Value, command: &[&str]) -> tests::Output {
    host.run(&[&[TOOL, "exec", text(document, "/id"), "--"], command].concat())
}

#[test]
fn a_command_runs_in_the_group_from_its_first_instruction_on() {
    let host = Host::new();
    let document = create(&host, &["--pids-limit=1"]);
    let groups = exec(&host, &document, &["cat", "/proc/self/cgroup"]).ok();
    let paths = document["cgroup"]["paths"].as_object().unwrap();
    let group = format!(":{}/{}\n", host.cgroup_parent(), text(&document, "/id"));
    assert_eq!(groups.matches(&group).count(), paths.len(), "{groups}");
    exec(&host, &document, &["sh", "-c", "/bin/true; echo forked"]).code(2).says("Cannot fork");
    undo(&host, &document);
}

#[test]
fn exec_ends_as_its_command_does() {
    let host = Host::new();
    let document = create(&host, &[]);
    exec(&host, &document, &["sh", "-c", "exit 7"]).fails(7, "");
    exec(&host, &document, &["sh", "-c", "kill -9 $$"]).fails(137, "");
    exec(&host, &document, &["nosuchcommand"])
        .fails(127, "cgctl: cannot run nosuchcommand: exec: No such file or directory (os error 2)\n");
    exec(&host, &document, &["/tmp"])
        .fails(126, "cgctl: cannot run /tmp: exec: Permission denied (os error 13)\n");
    host.run(&[TOOL, "exec", &new_id(), "--", "true"]).code(125).says(": there is no such cgroup\n");
    host.run(&[TOOL, "exec", text(&document, "/id")]).code(2);
    let words = ["sh", "-c", "trap 'echo caught; exit 4' TERM; echo up; while :; do sleep 0.01; done"];
    let mut running = host.start(&[&[TOOL, "exec", text(&document, "/id"), "--"], &words[..]].concat());
    running.wait_for_line("up");
    running.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = running.end();
    assert_eq!((ended.code, ended.stdout.as_str()), (4, "caught\n"), "{ended}");
    undo(&host, &document);
}

#[test]
fn top_tells_what_each_group_used_since_the_last_look() {
    let host = Host::new();
    let (busy, idle) = (create(&host, &["--cpus=0.5", "-m64m"]), create(&host, &[]));
    let mut running =
        host.start(&[TOOL, "exec", text(&busy, "/id"), "--", "sh", "-c", "echo up; while :; do :; done"]);
    running.wait_for_line("up");
    let lines = host.run(&[TOOL, "top", "-n1"]).ok();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |document: &Value| lines.iter().find(|line| line["id"] == document["id"]).unwrap();
    let share = of(&busy)["cpuUsec"].as_f64().unwrap() / of(&busy)["intervalUsec"].as_f64().unwrap();
    // A whole cpu's worth would be 1, the quota allows 0.5; another machine's load may take some of it.
    assert!((0.05..0.65).contains(&share), "{lines:?}");
    assert_eq!((&of(&busy)["memory"]["limit"], &of(&idle)["cpuUsec"]), (&json!(64 << 20), &json!(0)));
    // On a terminal it is a table.
    let table = host.run(&["script", "-qec", "cgctl top -n 1", "/dev/null"]).ok();
    let short = &text(&busy, "/id")[..12];
    assert!(table.contains("GROUP") && table.contains(short) && table.contains("64.0MiB"), "{table}");
    host.run(&[TOOL, "undo", "--kill", text(&busy, "/id")]).ok();
    assert_eq!(running.end().code, 137);
    undo(&host, &idle);
    host.run(&[TOOL, "top", "-n1"]).prints("");
    host.run(&[TOOL, "top", "--interval=0"]).code(2);
}

#[test]
fn gc_removes_what_was_never_finished_and_nothing_else() {
    let host = Host::new();
    let whole = create(&host, &[]);
    let id = new_id();
    let words = [TOOL, "-m64m", "--pids-limit=9", "--id", &id];
    let before = host.snapshot();
    for call in CALLS {
        for when in 1.. {
            let killed = inject::once(&host, &words, None, call, inject::Fault::Kill, when);
            let left = host.run(&[TOOL, "gc"]).json();
            assert!(left == json!([]) || left == json!([id]), "{left}");
            if killed.is_none() {
                // It got through: a whole group stays.
                assert_eq!(left, json!([]), "{call}");
                host.run(&[TOOL, "undo", &id]).ok();
                break;
            }
            // Killed when nothing but the document's last byte was missing, the group is whole: its id is known.
            if host.run(&[TOOL, "ls", &id]).json() != json!([]) {
                host.run(&[TOOL, "undo", &id]).ok();
            }
            before.wait_for(&host).unwrap_or_else(|left| panic!("{call} number {when}: {left}"));
        }
    }
    // Half removed: the record is there, the groups are not all.
    host.run(&[TOOL, "--id", &id]).json();
    inject::once(&host, &[TOOL, "undo", &id], None, "rmdir", inject::Fault::Kill, 2);
    host.run(&[TOOL, "gc"]).json();
    before.wait_for(&host).unwrap();
    assert_eq!(host.run(&[TOOL, "ls"]).json()[0]["id"], whole["id"]);
    undo(&host, &whole);
    host.run(&[TOOL, "gc"]).prints("[]");
}

#[test]
fn a_delegated_group_is_the_users_to_divide() {
    let host = Host::new();
    let document = create(&host, &["--pids-limit=20"]);
    let id = text(&document, "/id");
    host.run(&[TOOL, "delegate", "nobody", id]).prints("");
    let dir = document["cgroup"]["paths"].as_object().unwrap().values().next().unwrap().as_str().unwrap();
    let as_nobody = |script: &str| {
        inside(&host, &document, &format!("exec setpriv --reuid=65534 --clear-groups sh -c '{script}'"))
    };
    as_nobody(&format!(
        "mkdir {dir}/mine && echo 0 > {dir}/mine/cgroup.procs && cat {dir}/mine/cgroup.procs | wc -l"
    ))
    .code(0);
    // Its own limit is not theirs.
    let pids =
        document["cgroup"]["paths"].get("pids").or_else(|| document["cgroup"]["paths"].get("")).unwrap();
    as_nobody(&format!("echo max > {}/pids.max", pids.as_str().unwrap())).code(2).says("Permission denied");
    host.run(&[TOOL, "delegate", "nosuchuser", id])
        .fails(1, "cgctl: cannot delegate to nosuchuser: there is no such user\n");
    host.run(&[TOOL, "delegate", "1234", &new_id()]).code(1).says(": there is no such cgroup\n");
    undo(&host, &document);
    host.assert_clean();
}

#[test]
fn stat_tells_whom_the_kernel_killed_and_where() {
    let host = Host::new();
    let document = create(&host, &["-m", "32m", "--memory-swap", "32m"]);
    let (id, group) = (text(&document, "/id"), text(&document, "/cgroup/cgroupsPath"));
    let stat = host.run(&[TOOL, "stat", id]).json();
    assert_eq!((&stat["oomKills"], stat.get("oom")), (&json!(0), None));
    // The shell, which is the one that forks, is not the one that is killed.
    exec(&host, &document, &["sh", "-c", "python3 -c 'bytearray(100 << 20)'; true"]).code(0);
    for stat in [host.run(&[TOOL, "stat", id]).json(), host.run(&[TOOL, "undo", "--stat", id]).json()] {
        assert_eq!(stat["oomKills"], 1, "{stat}");
        assert_eq!(stat["oom"]["groups"], json!([{"cgroupsPath": group, "kills": 1}]), "{stat}");
        let victim = &stat["oom"]["victims"][0];
        assert_eq!((&victim["name"], &victim["cgroupsPath"]), (&json!("python3"), &json!(group)), "{stat}");
    }
}

#[test]
fn stat_has_the_kernels_files_by_their_names() {
    let host = Host::new();
    let document = create(&host, &["-m64m", "--pids-limit=20"]);
    let files = &host.run(&[TOOL, "stat", text(&document, "/id")]).json()["files"];
    assert_eq!(files["pids.max"], 20, "{files}");
    let limit = if document["cgroup"]["version"] == 1 { "memory.limit_in_bytes" } else { "memory.max" };
    assert_eq!(files[limit], 64 << 20, "{files}");
    let kills = if document["cgroup"]["version"] == 1 { "memory.oom_control" } else { "memory.events" };
    assert_eq!(files[kills]["oom_kill"], 0, "{files}");
    assert_eq!(files["cpu.stat"]["nr_throttled"], 0, "{files}");
    undo(&host, &document);
}
