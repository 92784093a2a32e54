//! cgctl alone: what it writes is read with cat(1) from the kernel's files, limits are tried with processes.

mod enforced;
mod engines;
mod limits;
mod systemd;
mod verbs;

use serde_json::{Value, json};
use tests::{Host, inject, new_id, schema};

const TOOL: &str = "cgctl";
/// The system calls with which it changes the host.
const CALLS: [&str; 4] = ["symlink", "mkdir", "write", "renameat2"];

fn create(host: &Host, arguments: &[&str]) -> Value {
    host.run(&[&[TOOL], arguments].concat()).json()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} in {value}"))
}

fn undo(host: &Host, document: &Value) {
    host.run(&[TOOL, "undo", text(document, "/id")]).ok();
}

/// Whether this machine's cgroups are used as v1. The exact checks of files are of v1; v2 machines come with the guest.
fn is_v1(host: &Host) -> bool {
    let document = create(host, &[]);
    undo(host, &document);
    document["cgroup"]["version"] == 1
}

/// What a file of the group says.
fn file(host: &Host, document: &Value, controller: &str, file: &str) -> String {
    let dir = text(document, &format!("/cgroup/paths/{controller}"));
    host.run(&["cat", &format!("{dir}/{file}")]).ok().trim_end().to_owned()
}

/// Runs a shell script inside the group, as nsrun does it: the shell itself enters, then becomes the script.
fn inside(host: &Host, document: &Value, script: &str) -> tests::Output {
    let paths = document["cgroup"]["paths"].as_object().unwrap();
    let enter: String = paths
        .iter()
        .map(|(controller, dir)| {
            let name = if controller.is_empty() { "cgroup.procs" } else { "tasks" };
            format!("echo 0 > {}/{name}; ", dir.as_str().unwrap())
        })
        .collect();
    host.run(&["sh", "-c", &format!("{enter} exec \"$@\""), "sh", "sh", "-c", script])
}

#[test]
fn every_limit_is_in_the_kernels_files() {
    let host = Host::new();
    if !is_v1(&host) {
        tests::skip!("the files of cgroup v1 are not on this machine");
    }
    let document = create(&host, &["-m", "64m", "--cpus", "0.2", "-c", "512", "--pids-limit", "20"]);
    for (controller, name, expected) in [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.memsw.limit_in_bytes", "134217728"),
        ("cpu", "cpu.cfs_quota_us", "20000"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("cpu", "cpu.shares", "512"),
        ("pids", "pids.max", "20"),
    ] {
        assert_eq!(file(&host, &document, controller, name), expected, "{name}");
    }
    let expected = json!({"memory": {"limit": 67_108_864, "swap": 134_217_728},
        "cpu": {"shares": 512, "quota": 20_000, "period": 100_000}, "pids": {"limit": 20}});
    assert_eq!(document["cgroup"]["resources"], expected);
    schema::check(&document, "cgroup");
    let id = text(&document, "/id");
    assert_eq!(text(&document, "/cgroup/cgroupsPath"), format!("{}/{id}", host.cgroup_parent()));
    undo(&host, &document);
    host.assert_clean();
}

#[test]
fn without_limits_there_is_a_group_all_the_same() {
    let host = Host::new();
    let document = create(&host, &[]);
    schema::check(&document, "cgroup");
    assert_eq!(document["cgroup"]["resources"], json!({}));
    for dir in document["cgroup"]["paths"].as_object().unwrap().values() {
        host.run(&["test", "-d", dir.as_str().unwrap()]).ok();
    }
    if document["cgroup"]["version"] == 1 {
        let controllers: Vec<&String> = document["cgroup"]["paths"].as_object().unwrap().keys().collect();
        assert_eq!(controllers, ["cpu", "cpuacct", "freezer", "memory", "pids"]);
    }
    undo(&host, &document);
    host.assert_clean();
}

#[test]
fn swap_is_limited_as_docker_does() {
    let host = Host::new();
    if !is_v1(&host) {
        tests::skip!("the files of cgroup v1 are not on this machine");
    }
    for (swap, total, file_says) in [
        ("64m", Some(64 << 20), "67108864"),
        ("-1", Some(-1), "9223372036854771712"),
        ("0", Some(128 << 20), "134217728"),
        ("67108865", Some(64 << 20), "67108864"),
    ] {
        let document = create(&host, &["-m64m", &format!("--memory-swap={swap}")]);
        assert_eq!(document["cgroup"]["resources"]["memory"]["swap"].as_i64(), total, "{swap}");
        assert_eq!(file(&host, &document, "memory", "memory.memsw.limit_in_bytes"), file_says);
        undo(&host, &document);
    }
}

#[test]
fn zero_is_no_limit() {
    let host = Host::new();
    let document = create(&host, &["-m0", "--cpus=0", "-c0", "--pids-limit=-1", "--memory-swap=0"]);
    assert_eq!(document["cgroup"]["resources"], json!({}));
    undo(&host, &document);
}

#[test]
fn an_allocator_dies_above_the_memory_limit_and_lives_below() {
    let host = Host::new();
    let allocate = |mib: u32| format!("python3 -c 'x = bytearray({mib} << 20); print(len(x) >> 20)'");
    let document = create(&host, &["-m", "48m", "--memory-swap", "48m"]);
    inside(&host, &document, &allocate(20)).prints("20");
    // The shell, which is the one that forks, is not the one that is killed.
    let output = inside(&host, &document, &format!("{}; echo $?", allocate(100)));
    assert!(output.stdout.ends_with("137\n"), "{output}");
    let stat = host.run(&[TOOL, "stat", text(&document, "/id")]).json();
    assert_eq!((&stat["oomKills"], &stat["memory"]["limit"]), (&json!(1), &json!(48 << 20)), "{stat}");
    let peak = stat["memory"]["peak"].as_u64().unwrap();
    assert!((40 << 20..=48 << 20).contains(&peak), "{stat}");
    undo(&host, &document);
}

#[test]
fn forks_fail_at_the_limit_and_only_its_own_processes_count() {
    let host = Host::new();
    let one = create(&host, &["--pids-limit=1"]);
    inside(&host, &one, "exec true").prints("");
    inside(&host, &one, "/bin/true; echo forked").code(2).says("Cannot fork");
    undo(&host, &one);

    let document = create(&host, &["--pids-limit=4"]);
    let script = "import os
r, w = os.pipe()
children = []
try:
    while True:
        pid = os.fork()
        if pid == 0:
            os.close(w)
            os.read(r, 1)
            os._exit(0)
        children.append(pid)
except OSError as error:
    print(len(children), error.strerror)
os.close(w)
for pid in children: os.waitpid(pid, 0)
";
    // Python itself and three children.
    inside(&host, &document, &format!("exec python3 -c '{script}'"))
        .prints("3 Resource temporarily unavailable");
    undo(&host, &document);
}

#[test]
fn processes_are_moved_into_every_hierarchy_or_none() {
    let host = Host::new();
    let document = create(&host, &[]);
    let id = text(&document, "/id");
    let running = host.start(&["cat"]);
    let outer = running.pid.to_string();
    let inner = running.inner_pid("cat").to_string();
    let before = std::fs::read_to_string(format!("/proc/{outer}/cgroup")).unwrap();
    // The second process is not there: the first goes back.
    host.run(&[TOOL, "attach", id, &inner, "99999999"])
        .code(1)
        .says("cannot attach process 99999999: write ");
    assert_eq!(std::fs::read_to_string(format!("/proc/{outer}/cgroup")).unwrap(), before);

    host.run(&[TOOL, "attach", id, &inner]).prints("");
    let now = std::fs::read_to_string(format!("/proc/{outer}/cgroup")).unwrap();
    let mine = format!(":{}/{id}", host.cgroup_parent());
    assert_eq!(now.matches(&mine).count(), document["cgroup"]["paths"].as_object().unwrap().len(), "{now}");
    assert_eq!(host.run(&[TOOL, "stat", id]).json()["pids"]["current"], 1);
    assert_eq!(host.run(&[TOOL, "ls"]).json()[0]["processes"], 1);

    let refused = host.run(&[TOOL, "undo", id]).code(1);
    let refused = refused.says(&format!(
        ": a process is in it: {} (cat)\n  hint: cgctl undo --kill kills them first\n",
        &inner
    ));
    assert!(refused.stderr.starts_with("cgctl: cannot remove cgroup /"), "{refused}");
    host.run(&[
        "test",
        "-d",
        document["cgroup"]["paths"].as_object().unwrap().values().next().unwrap().as_str().unwrap(),
    ])
    .ok();
    running.end();
    undo(&host, &document);
    host.assert_clean();
}

#[test]
fn undo_kills_a_fork_bomb_and_removes_nested_groups() {
    let host = Host::new();
    let document = create(&host, &["--pids-limit=50"]);
    let id = text(&document, "/id");
    for dir in document["cgroup"]["paths"].as_object().unwrap().values() {
        host.sh(&format!("mkdir -p {}/a/b", dir.as_str().unwrap())).ok();
    }
    let dirs = document["cgroup"]["paths"].as_object().unwrap().values().map(|dir| dir.as_str().unwrap());
    let enter: String = dirs.map(|dir| format!("echo 0 > {dir}/a/b/cgroup.procs; ")).collect();
    // In a pid namespace of its own, whose end reaps what the bomb leaves.
    let bomb = "b() { b | b & }; b; while :; do b; done";
    let bomb = host.start(&["unshare", "--pid", "--fork", "bash", "-c", &format!("{enter} {bomb}")]);
    while host.run(&[TOOL, "stat", id]).json()["pids"]["current"] != 50 {}
    let last = host.run(&[TOOL, "undo", "--kill", "--stat", id]).json();
    assert_eq!((&last["id"], &last["pids"]["limit"]), (&document["id"], &json!(50)), "{last}");
    assert!(last["cpu"]["usageUsec"].as_u64().unwrap() > 0);
    bomb.end();
    host.sh("pgrep -x bash").code(1);
    host.run(&[TOOL, "undo", "--kill", "--stat", id]).prints("");
    host.assert_clean();
}

#[test]
fn a_group_is_not_killed_from_inside() {
    let host = Host::new();
    let document = create(&host, &[]);
    let (id, group) = (text(&document, "/id"), text(&document, "/cgroup/cgroupsPath"));
    inside(&host, &document, &format!("exec cgctl undo --kill {id}")).fails(
        1,
        &format!(
            "cgctl: cannot kill what is in cgroup {group}: cgctl itself is in it\n  \
             hint: call it from outside of the group\n"
        ),
    );
    undo(&host, &document);
}

#[test]
fn undo_finds_the_group_below_any_parent_and_removes_parents_that_cgctl_made() {
    let host = Host::new();
    let parent = host.cgroup_parent();
    let roots = tests::snapshot::cgroup_roots();
    let theirs: Vec<String> = roots.iter().map(|root| format!("{root}{parent}/theirs")).collect();
    host.run(&[&["mkdir", "-p"], theirs.iter().map(String::as_str).collect::<Vec<_>>().as_slice()].concat())
        .ok();
    let host = host.settled();
    for below in ["mine", "mine/deeper/still", "theirs", "theirs/mine"] {
        let document = create(&host, &["--cgroup-parent", &format!("{parent}/{below}/")]);
        let id = text(&document, "/id");
        assert_eq!(text(&document, "/cgroup/cgroupsPath"), format!("{parent}/{below}/{id}"));
        assert_eq!(host.run(&[TOOL, "ls"]).json()[0]["cgroupsPath"], document["cgroup"]["cgroupsPath"]);
        undo(&host, &document);
        undo(&host, &document);
        host.assert_clean();
    }
}

#[test]
fn many_at_once_do_not_disturb_each_other() {
    let host = Host::new();
    // Each finds the parent there, or gone, or going.
    host.sh("for i in $(seq 12); do (for j in 1 2 3 4 5; do
             id=$(cgctl --pids-limit 5 | jq -r .id) && cgctl undo $id || echo failed; done) & done; wait")
        .prints("");
    host.assert_clean();
}

#[test]
fn ls_shows_what_there_is() {
    let host = Host::new();
    host.run(&[TOOL, "ls"]).prints("[]");
    let document = create(&host, &[]);
    let expected = json!([{"id": document["id"], "cgroupsPath": document["cgroup"]["cgroupsPath"], "processes": 0, "pids": []}]);
    assert_eq!(host.run(&[TOOL, "ls"]).json(), expected);
    // Without the record, the group's name is enough.
    host.sh("rm /run/gocker/cgctl/*; touch /run/gocker/cgctl/junk").ok();
    assert_eq!(host.run(&[TOOL, "ls"]).json(), expected);
    host.sh("rm /run/gocker/cgctl/junk").ok();
    undo(&host, &document);
    host.run(&[TOOL, "ls"]).prints("[]");
    host.run(&[TOOL, "undo", &new_id()]).prints("");
}

#[test]
fn an_id_has_one_group() {
    let host = Host::new();
    let document = create(&host, &["--pids-limit=7"]);
    let id = text(&document, "/id");
    host.run(&[TOOL, "--id", id]).fails(
        1,
        &format!(
            "cgctl: cannot make /run/gocker/cgctl/{id}: symlink: File exists (os error 17)\n  \
             hint: a group with this id is there already; cgctl undo {id} removes it\n"
        ),
    );
    assert_eq!(host.run(&[TOOL, "stat", id]).json()["pids"]["limit"], 7);
    undo(&host, &document);
}

#[test]
fn a_controller_that_is_not_there_is_named_before_anything_is_made() {
    let host = Host::new();
    if !is_v1(&host) {
        tests::skip!("there are no cgroup v1 mounts to take away on this machine");
    }
    let memory = text(&create_and_undo(&host, &[]), "/cgroup/paths/memory").to_owned();
    let mount = memory.split(&host.cgroup_parent()).next().unwrap().to_owned();
    host.run(&["umount", &mount]).ok();
    let host = host.settled();
    host.run(&[TOOL, "-m", "64m"]).fails(
        1,
        "cgctl: cannot limit memory: cgroup v1: there is no memory controller\n  \
         hint: it is in use, but not mounted here: run cgctl where the host's /sys/fs/cgroup is mounted\n",
    );
    host.assert_clean();
    // The others work.
    let document = create_and_undo(&host, &["--pids-limit", "5"]);
    assert_eq!(document["cgroup"]["paths"].get("memory"), None);
}

fn create_and_undo(host: &Host, arguments: &[&str]) -> Value {
    let document = create(host, arguments);
    undo(host, &document);
    document
}

#[test]
fn where_only_cgroup2_is_mounted_it_is_used() {
    let host = Host::new();
    if !tests::snapshot::cgroup_roots().iter().any(|root| root.ends_with("/unified")) {
        tests::skip!("this machine is not hybrid");
    }
    host.sh("for m in $(findmnt -n -l -t cgroup -o TARGET); do umount $m; done").ok();
    let host = host.settled();
    let document = create(&host, &[]);
    let id = text(&document, "/id");
    schema::check(&document, "cgroup");
    assert_eq!((&document["cgroup"]["version"], &document["cgroup"]["resources"]), (&json!(2), &json!({})));
    let dir = document["cgroup"]["paths"][""].as_str().unwrap();
    assert!(dir.ends_with(&format!("/unified{}/{id}", host.cgroup_parent())), "{dir}");

    let script = format!("mkdir {dir}/nested; echo 0 > {dir}/nested/cgroup.procs; exec sleep 1000");
    let sleeper = host.start(&["sh", "-c", &script]);
    host.sh(&format!(
        "until [ \"$(xargs -I. cat /proc/./comm < {dir}/nested/cgroup.procs)\" = sleep ]; do :; done"
    ))
    .ok();
    host.run(&[TOOL, "undo", id]).code(1).says(" (sleep)\n");
    host.run(&[TOOL, "-v", "undo", "--kill", id])
        .code(0)
        .says(&format!("+ echo 1 > {dir}/cgroup.kill\n+ rmdir {dir}/nested\n"));
    sleeper.end().code(137);
    host.assert_clean();

    for (option, what, controller) in [
        ("-m64m", "memory", "memory"),
        ("--cpus=1", "cpu time", "cpu"),
        ("--pids-limit=5", "processes", "pids"),
    ] {
        host.run(&[TOOL, option]).fails(
            1,
            &format!(
                "cgctl: cannot limit {what}: cgroup v2: there is no {controller} controller\n  \
                 hint: a cgroup v1 hierarchy has it: mount that, or boot with systemd.unified_cgroup_hierarchy=1\n"
            ),
        );
    }
    host.assert_clean();
    host.run(&["umount", "/sys/fs/cgroup/unified"]).ok();
    let host = host.settled();
    host.run(&[TOOL]).fails(
        1,
        "cgctl: cannot make a cgroup: no cgroup file system is mounted\n  \
         hint: mount -t cgroup2 cgroup2 /sys/fs/cgroup\n",
    );
}

#[test]
fn a_value_that_the_kernel_does_not_take_is_refused_with_its_file() {
    let host = Host::new();
    let id = new_id();
    let output = host.run(&[TOOL, "--pids-limit=5000000", "--id", &id]).code(1);
    assert!(output.stderr.starts_with("cgctl: cannot limit processes to 5000000: write /"), "{output}");
    assert!(
        output.stderr.ends_with(&format!("/{id}/pids.max: Invalid argument (os error 22)\n")),
        "{output}"
    );
    host.assert_clean();
}

#[test]
fn what_cannot_be_meant_is_refused_with_the_reason() {
    let host = Host::new();
    let memory = "an amount of memory is a number of bytes, or of k, m or g";
    for (option, value, name, reason) in [
        ("--memory", "5m", "BYTES", "Minimum memory limit allowed is 6MB"),
        ("--memory", "1.5g", "BYTES", memory),
        ("--memory", "-1", "BYTES", memory),
        ("--memory", "12q", "BYTES", memory),
        ("--memory-swap", "-2", "BYTES", memory),
        ("--cpus", "x", "N", "a number of cpus is a decimal number such as 2 or 0.5"),
        ("--cpus", "0.001", "N", "the smallest limit is 0.01 cpus"),
        ("--cpus", "0.123456", "N", "the quota is counted in 1/100000 of a cpu: at most 5 decimals"),
        ("--cpu-shares", "1", "N", "cpu shares are a number from 2 to 262144, or 0 for the default"),
        ("--pids-limit", "-2", "N", "a number of processes is at least 1, or -1 for no limit"),
        ("--cgroup-parent", "gocker", "PATH", "a cgroup's path begins with /, at the root of the hierarchy"),
        ("--cgroup-parent", "/a/../b", "PATH", "a cgroup's path has no . or .. in it"),
    ] {
        let output = host.run(&[TOOL, &format!("{option}={value}")]).code(2);
        let expected = format!("cgctl: invalid value '{value}' for '{option} <{name}>': {reason}\n");
        assert!(output.stderr.starts_with(&expected), "{output}");
    }
    host.run(&[TOOL, "--memory-swap=8m"])
        .fails(2, "cgctl: You should always set the Memory limit when using Memoryswap limit, see usage\n");
    host.run(&[TOOL, "-m8m", "--memory-swap=7m"])
        .fails(2, "cgctl: Minimum memoryswap limit should be larger than memory limit, see usage\n");
    host.run(&[TOOL, "-m8m", "ls"]).fails(2, "cgctl: cannot use --id, a path or a limit before a verb\n");
    for arguments in
        [&["attach"][..], &["attach", &new_id()], &["attach", &new_id(), "0"], &["undo"], &["stat", "x"]]
    {
        host.run(&[&[TOOL], arguments].concat()).code(2);
    }
    let (id, parent) = (new_id(), host.cgroup_parent());
    host.run(&[TOOL, "stat", &id]).fails(
        1,
        &format!("cgctl: cannot read the figures of {parent}/{id}: there is no such cgroup\n  hint: cgctl ls lists what there is\n"),
    );
    host.run(&[TOOL, "attach", &id, "1"])
        .code(1)
        .says(&format!("cgctl: cannot attach to {parent}/{id}: there is no such cgroup\n"));
    host.assert_clean();
}

/// stage/README.md D2 to D5, I3.
#[test]
fn the_document_passes_through() {
    let host = Host::new();
    let id = new_id();
    let stdin =
        format!("{{\"gocker\":1,\"id\":\"{id}\",\"x\":[1.10],\"image\":{{\"spec\":{{\"a\":1e400}}}}}}");
    let output = host.feed(&[TOOL], &stdin).ok();
    let start = stdin.strip_suffix('}').unwrap();
    assert!(output.starts_with(&format!("{start},\"cgroup\":{{\"version\":")), "{output}");
    host.run(&[TOOL, "undo", &id]).ok();
    for (stdin, code, stderr) in [
        ("", 3, "cgctl: no document on stdin: the stage before this one has said why\n"),
        (
            "{\"gocker\":2}",
            2,
            "cgctl: cannot read the document: version 2 of the document is not supported, only 1\n",
        ),
        (
            "{\"gocker\":1,\"cgroup\":{}}",
            2,
            "cgctl: cannot add to the document: section \"cgroup\" is already there\n",
        ),
    ] {
        host.feed(&[TOOL], stdin).fails(code, stderr);
    }
    host.assert_clean();
}

#[test]
fn each_effect_is_shown_as_a_command() {
    let host = Host::new();
    let id = new_id();
    let output = host.run(&[TOOL, "-v", "--pids-limit=5", "--id", &id]).code(0);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let group = text(&document, "/cgroup/cgroupsPath");
    assert!(output.stderr.starts_with("+ mkdir -p -m 700 /run/gocker/cgctl\n"), "{output}");
    for line in [
        format!("+ ln -s {group} /run/gocker/cgctl/{id}.making\n"),
        format!("+ mv -n /run/gocker/cgctl/{id}.making /run/gocker/cgctl/{id}\n"),
        format!("{group}\n"),
        format!("+ echo 5 > /sys/fs/cgroup/pids{group}/pids.max\n"),
    ] {
        if document["cgroup"]["version"] == 1 {
            assert!(output.stderr.contains(&line), "{line}{output}");
        }
    }
    undo(&host, &document);
    // Those commands have the same effect.
    host.sh(&output.stderr.replace("+ ", "")).ok();
    assert_eq!(host.run(&[TOOL, "stat", &id]).json()["pids"]["limit"], 5);
    host.run(&[TOOL, "undo", &id]).ok();
    // The parents that a shell has made are not cgctl's to remove: the host removes its own.
}

#[test]
fn whatever_fails_the_host_is_as_it_was() {
    let host = Host::new();
    let id = new_id();
    let create = [TOOL, "-m64m", "--cpus=0.5", "--pids-limit=9", "--id", &id];
    let met = inject::every_error(&host, &create, None, &CALLS, &[TOOL, "undo", &id]);
    assert!(met >= 14, "only {met} calls failed");
}

#[test]
fn whenever_it_is_killed_undo_removes_what_is_left() {
    let host = Host::new();
    let id = new_id();
    let undo = [TOOL, "undo", "--kill", &id];
    let create = [TOOL, "-m64m", "--cpus=0.5", "--pids-limit=9", "--id", &id];
    let met = inject::every_kill(&host, &create, None, &CALLS, &[&undo]);
    assert!(met >= 14, "only {met} calls met");
    // Killed itself, undo can be called again.
    let script = format!("cgctl --id {id} > /dev/null; cgctl undo {id}");
    let met = inject::every_kill(&host, &["sh", "-c", &script], None, &["rmdir", "unlink"], &[&undo]);
    assert!(met >= 6, "only {met} calls met");
}
