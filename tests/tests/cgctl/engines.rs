//! cgctl as an OCI runtime calls it: a group by its path, limits as `linux.resources`, with what engines send.

use serde_json::{Value, json};
use tests::{Host, schema};

use super::{TOOL, file, inside, is_v1, text};

/// What docker 20.10 puts into `linux.resources` for `docker run -m 64m` (logged from its calls of runc).
const DOCKER: &str = r#"{"devices":[{"allow":false,"access":"rwm"},
    {"allow":true,"type":"c","major":1,"minor":5,"access":"rwm"},
    {"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},
    {"allow":false,"type":"c","major":10,"minor":229,"access":"rwm"}],
    "memory":{"limit":67108864,"swap":134217728,"disableOOMKiller":false},
    "cpu":{"shares":0},"pids":{"limit":0},"blockIO":{"weight":0}}"#;

/// A path for a group of the test's own, and its option.
fn path(host: &Host, name: &str) -> String {
    format!("--cgroups-path={}/{name}", host.cgroup_parent())
}

fn create(host: &Host, path: &str, resources: &str) -> Value {
    host.feed(&[TOOL, "create", path, "--resources", "-"], resources).json()
}

/// Shell commands that enter the group.
fn enter(document: &Value) -> String {
    let dirs = document["cgroup"]["paths"].as_object().unwrap().values();
    dirs.map(|dir| format!("echo 0 > {}/cgroup.procs; ", dir.as_str().unwrap())).collect()
}

#[test]
fn dockers_call_makes_the_group_in_every_hierarchy_and_the_path_alone_takes_it_back() {
    let host = Host::new();
    let path = path(&host, "docker/box");
    let document = create(&host, &path, DOCKER);
    schema::check(&document, "cgroup");
    assert_eq!(document.get("id"), None);
    assert_eq!(text(&document, "/cgroup/cgroupsPath"), format!("{}/docker/box", host.cgroup_parent()));
    let resources = &document["cgroup"]["resources"];
    assert_eq!(resources["memory"], json!({"limit": 67_108_864, "swap": 134_217_728}));
    assert_eq!((resources.get("cpu"), resources.get("pids"), resources.get("blockIO")), (None, None, None));
    if document["cgroup"]["version"] == 1 {
        let keys: Vec<&String> = document["cgroup"]["paths"].as_object().unwrap().keys().collect();
        // Where it is mounted, too.
        let keys: Vec<&str> = keys.into_iter().map(String::as_str).filter(|key| *key != "hugetlb").collect();
        assert_eq!(keys, ["blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"]);
        assert_eq!(file(&host, &document, "memory", "memory.limit_in_bytes"), "67108864");
        assert!(!file(&host, &document, "cpuset", "cpuset.cpus").is_empty());
    }
    let status = inside(
        &host,
        &document,
        ": > /dev/null; mknod /run/kmsg c 1 11; true < /run/kmsg; mknod /run/zero c 1 5; head -c1 < /run/zero | wc -c",
    );
    let status = status.code(0).says("/run/kmsg: Operation not permitted");
    assert_eq!(status.stdout, "1\n");
    // Nothing is written down: the path is enough.
    host.sh("ls /run/gocker/cgctl").code(2);
    host.run(&[TOOL, "undo", &path]).prints("");
    host.run(&[TOOL, "undo", &path]).prints("");
    host.assert_clean();
}

#[test]
fn a_privileged_containers_devices_are_all() {
    let host = Host::new();
    let path = path(&host, "box");
    let document = create(&host, &path, r#"{"devices":[{"allow":true,"access":"rwm"}]}"#);
    assert_eq!(document["cgroup"]["resources"]["devices"], json!([{"allow": true, "access": "rwm"}]));
    inside(&host, &document, "mknod /run/kmsg c 1 11; true < /run/kmsg; echo opened").prints("opened");
    host.run(&[TOOL, "undo", &path]).ok();
}

#[test]
fn a_group_that_is_there_and_empty_is_taken_one_with_processes_is_not() {
    let host = Host::new();
    let option = path(&host, "box");
    let document = create(&host, &option, r#"{"pids":{"limit":7}}"#);
    let again = create(&host, &option, r#"{"pids":{"limit":8}}"#);
    assert_eq!(again["cgroup"]["paths"], document["cgroup"]["paths"]);
    assert_eq!(host.run(&[TOOL, "stat", &option]).json()["pids"]["limit"], 8);

    let running = host.start(&["cat"]);
    let inner = running.inner_pid("cat").to_string();
    host.run(&[TOOL, "attach", &option, &inner]).prints("");
    let refused = host.feed(&[TOOL, "create", &option, "--resources=-"], r#"{"pids":{"limit":9}}"#).code(1);
    refused.says(&format!(
        ": a process is in it: {inner} (cat)\n  hint: cgctl set changes the limits of a group in use\n"
    ));
    assert_eq!(host.run(&[TOOL, "stat", &option]).json()["pids"]["limit"], 8);
    let listed = host.run(&[TOOL, "ls", &option]).json();
    assert_eq!(listed[0]["pids"], json!([inner.parse::<i32>().unwrap()]), "{listed}");
    host.run(&[TOOL, "kill", &option]).prints("");
    assert_eq!(running.end().code, 137);
    host.run(&[TOOL, "undo", &option]).ok();
    host.run(&[TOOL, "ls", &option]).prints("[]");
    host.assert_clean();
}

#[test]
fn limits_grow_and_shrink_in_any_order() {
    let host = Host::new();
    let option = path(&host, "box");
    create(&host, &option, "{}");
    let set = |resources: &str| host.feed(&[TOOL, "set", &option, "--resources", "-"], resources).prints("");
    let stat = || host.run(&[TOOL, "stat", &option]).json();
    for (limit, swap, quota, period) in [
        (64, 128, 20_000, 100_000),
        (512, 512, 900_000, 1_000_000),
        (32, 32, 1_000, 1_000),
        (256, -1, -1, 50_000),
    ] {
        let bytes = |mib: i64| if mib < 0 { mib } else { mib << 20 };
        set(&json!({"memory": {"limit": bytes(limit), "swap": bytes(swap)},
            "cpu": {"quota": quota, "period": period}, "pids": {"limit": limit}})
        .to_string());
        assert_eq!(stat()["memory"]["limit"], limit << 20);
        assert_eq!(stat()["pids"]["limit"], limit);
    }
    // podman and docker send the whole object for one change; what means "not set" changes nothing.
    set(r#"{"memory":{"limit":0},"cpu":{"shares":0},"pids":{"limit":-1},"blockIO":{"weight":0}}"#);
    assert_eq!((&stat()["memory"]["limit"], stat()["pids"].get("limit")), (&json!(256 << 20), None));
    host.run(&[TOOL, "undo", &option]).ok();
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let host = Host::new();
    let option = path(&host, "box");
    create(&host, &option, r#"{"memory":{"limit":67108864},"pids":{"limit":5}}"#);
    host.feed(
        &[TOOL, "set", &option, "--resources=-"],
        r#"{"memory":{"limit":134217728},"pids":{"limit":9000000}}"#,
    )
    .code(1)
    .says("cgctl: cannot limit processes to 9000000: write /");
    let stat = host.run(&[TOOL, "stat", &option]).json();
    assert_eq!((&stat["memory"]["limit"], &stat["pids"]["limit"]), (&json!(64 << 20), &json!(5)));
    host.run(&[TOOL, "undo", &option]).ok();
}

#[test]
fn a_relative_path_is_below_our_own_group() {
    let host = Host::new();
    let outer = path(&host, "outer");
    let document = create(&host, &outer, "{}");
    let script = "cgctl create --cgroups-path inner/most --resources /dev/stdin < /dev/null || echo '{}' | \
                  cgctl create --cgroups-path inner/most --resources -";
    let output = inside(&host, &document, script);
    let inner: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"));
    let inner_path = format!("{}/outer/inner/most", host.cgroup_parent());
    assert_eq!(text(&inner, "/cgroup/cgroupsPath"), inner_path);
    // That path holds from everywhere.
    host.run(&[TOOL, "undo", "--cgroups-path", &inner_path]).ok();
    host.run(&[TOOL, "undo", &outer]).ok();
    host.assert_clean();
}

#[test]
fn frozen_processes_stand_still_until_they_are_thawed() {
    let host = Host::new();
    let option = path(&host, "box");
    let document = create(&host, &option, "{}");
    let enter = enter(&document);
    let mut busy = host.start(&["sh", "-c", &format!("{enter} echo up; while :; do :; done")]);
    busy.wait_for_line("up");
    let usage = || host.run(&[TOOL, "stat", &option]).json()["cpu"]["usageUsec"].as_u64().unwrap();
    host.run(&[TOOL, "freeze", &option]).prints("");
    let stopped = usage();
    host.run(&["sleep", "0.2"]).ok();
    assert_eq!(usage(), stopped);
    host.run(&[TOOL, "thaw", &option]).prints("");
    let begin = std::time::Instant::now();
    while usage() == stopped {
        assert!(begin.elapsed().as_secs() < 20, "it does not go on");
    }
    // Signals reach the frozen only when they are thawed; kill sees to that.
    host.run(&[TOOL, "freeze", &option]).prints("");
    host.run(&[TOOL, "kill", &option]).prints("");
    assert_eq!(busy.end().code, 137);
    host.run(&[TOOL, "undo", &option]).ok();
}

#[test]
fn another_signal_is_only_sent_and_wait_ends_with_the_last_process() {
    let host = Host::new();
    let option = path(&host, "box");
    let document = create(&host, &option, "{}");
    let enter = enter(&document);
    let script = format!("{enter} trap 'echo caught; exit 3' TERM; echo up; while :; do sleep 0.01; done");
    let mut running = host.start(&["sh", "-c", &script]);
    running.wait_for_line("up");
    let waiting = host.start(&[TOOL, "wait", &option]);
    host.run(&[TOOL, "kill", "--signal", "USR9", &option]).code(2);
    host.run(&[TOOL, "kill", "--signal", "0", &option]).code(2);
    host.run(&[TOOL, "kill", "--signal", "RTMIN+99", &option]).code(2);
    host.run(&[TOOL, "kill", "-sSIGTERM", &option]).prints("");
    let ended = running.end();
    assert_eq!((ended.code, ended.stdout.as_str()), (3, "caught\n"), "{ended}");
    let figures = waiting.end().json();
    assert_eq!(figures["oomKills"], 0, "{figures}");
    host.run(&[TOOL, "undo", &option]).ok();
    host.run(&[TOOL, "wait", &option]).code(1).says(": there is no such cgroup\n");
    host.run(&[TOOL, "kill", &option]).prints("");
}

#[test]
fn a_realtime_signal_has_a_name() {
    let host = Host::new();
    let option = path(&host, "box");
    let document = create(&host, &option, "{}");
    let mut sleeper = host.start(&["sh", "-c", &format!("{} echo up; exec sleep 1000", enter(&document))]);
    sleeper.wait_for_line("up");
    host.run(&[TOOL, "kill", "-sSIGRTMIN+3", &option]).prints("");
    assert_eq!(sleeper.end().code, 128 + 34 + 3);
    host.run(&[TOOL, "undo", &option]).ok();
}

/// As crun and runc do (measured: both refuse each of these).
#[test]
fn a_limit_without_its_controller_is_refused() {
    let host = Host::new();
    if !is_v1(&host) {
        tests::skip!("there are no cgroup v1 mounts to take away on this machine");
    }
    let option = path(&host, "box");
    let document = create(&host, &option, "{}");
    let mount = |controller: &str| {
        let dir = text(&document, &format!("/cgroup/paths/{controller}"));
        dir.split(&host.cgroup_parent()).next().unwrap().to_owned()
    };
    let (devices, blkio) = (mount("devices"), mount("blkio"));
    host.run(&[TOOL, "undo", &option]).ok();
    let refused = |resources: &str, what: &str, controller: &str| {
        host.feed(&[TOOL, "create", &option, "--resources=-"], resources)
            .code(1)
            .says(&format!("cgctl: cannot limit {what}: cgroup v1: there is no {controller} controller\n"));
    };
    if document["cgroup"]["paths"].get("hugetlb").is_none() {
        refused(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#, "huge pages", "hugetlb");
    }
    host.run(&["umount", &devices, &blkio]).ok();
    let throttle = r#"{"blockIO":{"throttleReadBpsDevice":[{"major":7,"minor":0,"rate":1048576}]}}"#;
    refused(throttle, "io", "blkio");
    refused(DOCKER, "devices", "devices");
    // What is not set needs no controller.
    create(&host, &option, r#"{"blockIO":{"weight":0},"devices":[],"pids":{"limit":3}}"#);
    host.run(&[TOOL, "undo", &option]).ok();
    host.run(&["mount", "-t", "cgroup", "-o", "devices", "cgroup", &devices]).ok();
    host.run(&["mount", "-t", "cgroup", "-o", "blkio", "cgroup", &blkio]).ok();
}

#[test]
fn what_is_no_resources_object_is_refused_before_anything_is_made() {
    let host = Host::new();
    let option = path(&host, "box");
    for (resources, code, said) in [
        ("", 2, "cgctl: cannot read the limits in stdin: EOF while parsing"),
        ("[]", 2, "cgctl: cannot read the limits in stdin: this is no JSON object\n"),
        (r#"{"pids":{"limit":"many"}}"#, 2, "cgctl: cannot read the limits in stdin: "),
        (r#"{"network":{"classID":1}}"#, 1, "cgctl: cannot limit network: "),
        (
            r#"{"memory":{"swappiness":101}}"#,
            1,
            "cgctl: cannot set swappiness: it is a number from 0 to 100\n",
        ),
        (r#"{"unified":{"memory.nosuch":"1"}}"#, 1, "the kernel has no memory.nosuch\n"),
    ] {
        host.feed(&[TOOL, "create", &option, "--resources=-"], resources).code(code).says(said);
        host.assert_clean();
    }
    host.run(&[TOOL, "create", &option, "--resources", "/nowhere"])
        .fails(1, "cgctl: cannot read the limits in /nowhere: No such file or directory (os error 2)\n");
    let root =
        "cgctl: invalid value '/' for '--cgroups-path <PATH>': this is a group that cgctl did not make";
    for verb in ["create", "undo", "kill", "freeze"] {
        host.run(&[TOOL, verb, "--cgroups-path=/"]).code(2).says(root);
    }
    host.run(&[TOOL, "undo"]).code(2);
}
