//! The OCI runtime's command line, verb by verb.

use std::io::{IoSliceMut, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};
use tests::Host;

use super::bundle::{self, config, create, delete, nsrun, output, script, status, wait_for_end};
use super::host;

#[test]
fn from_create_to_delete() {
    let host = host();
    script(&host, "box", "echo up; read line; exit 0");
    create(&host, "box").prints("");
    let state = nsrun(&host, &["state", "box"]).json();
    let pid = std::fs::read_to_string(host.path("/run/box.pid")).unwrap();
    assert_eq!(
        (&state["ociVersion"], &state["id"], &state["status"], &state["bundle"], &state["rootfs"]),
        (&json!("1.0.2"), &json!("box"), &json!("created"), &json!("/run/box"), &json!(super::ROOTFS))
    );
    assert_eq!(state["pid"].to_string(), pid);
    // No process of nsrun's stays, and the container's parent is the host's first process.
    host.sh("ps -eo comm= | grep -cx nsrun; true").prints("1");
    host.sh(&format!("ps -o ppid= {pid} | tr -d ' '")).prints("1");
    assert_eq!(output(&host, "box"), "");
    nsrun(&host, &["delete", "nil"]).code(125).says("cannot delete container nil: it does not exist");
    nsrun(&host, &["start", "box"]).prints("");
    wait_for_end(&host, "box");
    assert_eq!(output(&host, "box"), "up\n");
    let state = nsrun(&host, &["state", "box"]).json();
    assert_eq!((&state["status"], &state["pid"]), (&json!("stopped"), &json!(0)));
    nsrun(&host, &["start", "box"]).fails(125, "nsrun: cannot start container box: it is stopped\n");
    nsrun(&host, &["kill", "box", "KILL"])
        .fails(125, "nsrun: cannot kill container box: container not running\n");
    nsrun(&host, &["delete", "box"]).prints("");
    nsrun(&host, &["state", "box"]).code(125).says("cannot show container box: it does not exist");
    for _ in 0..2 {
        nsrun(&host, &["delete", "--force", "box"]).prints("");
    }
}

/// A container that runs until it is killed.
fn sleeper(host: &Host, id: &str, change: impl FnOnce(&mut Value)) {
    let mut config = config(host, id, "echo up; exec sleep 1000");
    change(&mut config);
    bundle::write(host, id, &config);
    create(host, id).prints("");
    nsrun(host, &["start", id]).prints("");
}

#[test]
fn a_running_container_is_killed_before_it_is_deleted() {
    let host = host();
    sleeper(&host, "box", |_| {});
    assert_eq!(status(&host, "box"), "running");
    nsrun(&host, &["delete", "box"])
        .code(125)
        .says("cannot delete container box: it is running\n  hint: kill it first");
    create(&host, "box").code(125).says("cannot run container box: it is there already");
    // PID 1 ignores what it does not handle.
    nsrun(&host, &["kill", "box"]).prints("");
    nsrun(&host, &["kill", "box", "SIGNIL"])
        .code(125)
        .says("cannot send signal \"SIGNIL\": there is no such signal");
    assert_eq!(status(&host, "box"), "running");
    nsrun(&host, &["kill", "box", "9"]).prints("");
    wait_for_end(&host, "box");
    assert_eq!(status(&host, "box"), "stopped");
    nsrun(&host, &["delete", "box"]).prints("");
    // By force also when it runs, and when it was never started.
    sleeper(&host, "box", |_| {});
    delete(&host, "box");
    create(&host, "box").prints("");
    delete(&host, "box");
}

#[test]
fn every_process_is_signalled_where_there_is_no_pid_namespace() {
    let host = host();
    sleeper(&host, "box", |config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().remove(0);
        config["process"]["args"] = json!(["sh", "-c", "sleep 1000 & sleep 1000 & exec sleep 1000"]);
    });
    let pids = || nsrun(&host, &["ps", "--format", "json", "box"]).json().as_array().unwrap().len();
    while pids() < 3 {
        std::thread::yield_now();
    }
    host.sh("nsrun ps box | tail -n +2 | grep -c sleep").prints("3");
    nsrun(&host, &["kill", "--all", "box", "15"]).prints("");
    wait_for_end(&host, "box");
    while pids() > 0 {
        std::thread::yield_now();
    }
    nsrun(&host, &["kill", "--all", "box", "9"]).prints("");
    delete(&host, "box");
}

#[test]
fn engines_order_of_words_and_their_global_options() {
    let host = host();
    script(&host, "a_b+c.d-1", "exit 0");
    let run = |line: &str| {
        host.sh(&format!("cd /run/a_b+c.d-1 && nsrun {line} < /dev/null > /dev/null 2> /run/err; code=$?; cat /run/err >&2; exit $code"))
    };
    let global = "--root /run/other --log /run/log --log-format json";
    run(&format!("{global} create --bundle . --pid-file /run/pid a_b+c.d-1")).prints("");
    run(&format!("{global} --debug --rootless=auto delete --force a_b+c.d-1")).code(0);
    run(&format!(
        "create a_b+c.d-1 --bundle=. --pid-file=/run/pid --no-new-keyring --preserve-fds 0 {global}"
    ))
    .prints("");
    host.sh("ls /run/other").prints("a_b+c.d-1");
    nsrun(&host, &["list", "-q", "--root", "/run/other"]).prints("a_b+c.d-1");
    nsrun(&host, &["list", "-q"]).prints("");
    run(&format!("delete a_b+c.d-1 --force {global}")).prints("");
    for id in ["a/b", "..", "", "a b"] {
        nsrun(&host, &["state", id])
            .code(125)
            .says("a container's id has letters, digits, _, +, - and . only");
    }
    for words in [&["create", "x"][..], &["run", "x"], &["--", "true"]] {
        let words = [&["--systemd-cgroup"], words].concat();
        nsrun(&host, &words).code(125).says("cannot use --systemd-cgroup");
    }
    // Engines say it with every verb, and tidy up after a create that failed.
    nsrun(&host, &["--systemd-cgroup", "state", "x"])
        .code(125)
        .says("cannot show container x: it does not exist");
    nsrun(&host, &["--systemd-cgroup", "delete", "--force", "x"]).prints("");
    nsrun(&host, &["--rootless=true", "state", "x"]).code(125).says("cannot use --rootless=true");
    host.sh("rm -r /run/other").ok();
}

#[test]
fn what_engines_parse() {
    let host = host();
    nsrun(&host, &["--version"]).prints("nsrun version 0.1.0\nspec: 1.3.0");
    let features = nsrun(&host, &["features"]).json();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert_eq!(features["hooks"].as_array().unwrap().len(), 6);
    assert!(features["linux"]["capabilities"].as_array().unwrap().contains(&json!("CAP_SYS_ADMIN")));
    let mut config = config(&host, "box", "");
    let fails = |config: &Value, code: i32, words: &str| {
        bundle::write(&host, "box", config);
        let log = host.path("/run/log");
        for verb in ["create", "run"] {
            nsrun(&host, &["--log=/run/log", "--log-format=json", verb, "--bundle=/run/box", "box"])
                .code(code)
                .says(words);
            let text = std::fs::read_to_string(&log).unwrap();
            let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
            assert_eq!(line["level"], "error");
            // docker's client wants the reason as Go writes it.
            let words = words.replace(": No such", ": no such").replace(": Permission", ": permission");
            assert!(line["msg"].as_str().unwrap().contains(&words), "{line}");
            host.sh(&format!("date -d {} > /dev/null", line["time"])).ok();
        }
    };
    config["process"]["args"] = json!(["nil"]);
    fails(&config, 127, "exec: \"nil\": executable file not found in $PATH");
    config["process"]["args"] = json!(["/bin/nil"]);
    fails(&config, 127, "cannot execute /bin/nil: execve: ENOENT: No such file or directory");
    config["process"]["args"] = json!(["/etc/passwd"]);
    fails(&config, 126, "cannot execute /etc/passwd: execve: EACCES: Permission denied");
    config["process"]["args"] = json!(["true"]);
    config["ociVersion"] = json!("2.0.0");
    fails(
        &config,
        125,
        "cannot use /run/box/config.json: ociVersion: \"2.0.0\" is not of the 1.x that nsrun knows",
    );
    config["ociVersion"] = json!("1.3.0-rc.1+dev");
    config["process"]["cwd"] = json!("tmp");
    fails(&config, 125, "process.cwd: \"tmp\" is not absolute");
    host.assert_clean();
}

#[test]
fn a_program_that_cannot_be_executed_is_told_to_who_starts_it() {
    let host = host();
    std::fs::write(host.path("/run/rootfs/bin/odd"), "no program\n").unwrap();
    host.sh("chmod +x /run/rootfs/bin/odd").ok();
    let mut config = config(&host, "box", "");
    config["process"]["args"] = json!(["odd"]);
    bundle::write(&host, "box", &config);
    create(&host, "box").prints("");
    nsrun(&host, &["start", "box"]).code(126).says("nsrun: cannot execute /bin/odd: execve: ENOEXEC");
    wait_for_end(&host, "box");
    nsrun(&host, &["delete", "box"]).prints("");
}

#[test]
fn exec_as_engines_do_it() {
    let host = host();
    sleeper(&host, "box", |config| {
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 99}]);
        config["process"]["oomScoreAdj"] = json!(300);
    });
    let process = json!({"user": {"uid": 1000, "gid": 1000, "additionalGids": [2000]}, "cwd": "/tmp",
        "args": ["sh", "-c", "id -u; id -G; pwd; echo $A; grep CapEff /proc/self/status; cat; exec sleep 1000"], "env": ["PATH=/bin", "A=b"]});
    std::fs::write(host.path("/run/process.json"), process.to_string()).unwrap();
    let words = "--root /run/gocker/nsrun --log /run/log --log-format json exec --process /run/process.json --detach --pid-file /run/exec.pid box";
    host.sh(&format!("echo in | nsrun {words} > /run/exec.out 2>&1")).prints("");
    let pid = std::fs::read_to_string(host.path("/run/exec.pid")).unwrap();
    host.sh(&format!(
        "while ! grep -q in /run/exec.out; do :; done; cat /run/exec.out; ps -o ppid=,comm= {pid} | tr -s ' '"
    ))
    .prints("1000\n1000 2000\n/tmp\nb\nCapEff:\t0000000000000000\nin\n 1 sleep");
    let pids = nsrun(&host, &["ps", "-f", "json", "box"]).json();
    let pid: serde_json::Value = pid.parse().unwrap();
    assert!(pids.as_array().unwrap().contains(&pid), "{pids}");
    // What it leaves open is the container's.
    let shows = "ulimit -n; sed -n 's/^CapEff:.//p' /proc/self/status; cat /proc/self/oom_score_adj";
    let mut process =
        json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh", "-c", shows], "env": ["PATH=/bin"]});
    let mut exec = |change: Value| {
        super::table::patch(&mut process, &change);
        std::fs::write(host.path("/run/process.json"), process.to_string()).unwrap();
        nsrun(&host, &["exec", "--process=/run/process.json", "box"])
    };
    exec(json!({})).prints("99\n00000000000005e1\n300");
    exec(json!({"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}], "oomScoreAdj": 400,
        "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]}}))
    .prints("50\n0000000000000020\n400");
    exec(json!({"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 61, "hard": 60}]}))
        .fails(125, "nsrun: cannot use process.rlimits: RLIMIT_NOFILE has a soft limit above the hard one\n");
    // Waited for, with what is typed; and what fails.
    nsrun(&host, &["exec", "--cwd=/etc", "-e", "X=y", "box", "sh", "-c", "pwd; echo $X; exit 5"]).code(5);
    let nil = nsrun(&host, &["--log=/run/log", "--log-format=json", "exec", "-d", "box", "nil"]);
    nil.code(127).says("exec: \"nil\": executable file not found in $PATH");
    assert!(
        std::fs::read_to_string(host.path("/run/log"))
            .unwrap()
            .contains("executable file not found in $PATH")
    );
    assert!(!host.path("/run/rootfs/run/log").exists());
    nsrun(&host, &["exec", "-d", "-t", "box", "true"]).code(125).says("cannot give the command a terminal");
    nsrun(&host, &["pause", "box"]).prints("");
    nsrun(&host, &["exec", "box", "true"]).fails(125, "nsrun: cannot run in container box: it is paused\n");
    delete(&host, "box");
    nsrun(&host, &["exec", "box", "true"]).code(125).says("there is none of that id");
}

/// What is written to a terminal whose master end comes through a socket.
fn from_console(listener: &UnixListener) -> String {
    let (stream, _) = listener.accept().unwrap();
    let mut bytes = [0u8; 64];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let mut space = nix::cmsg_space!([i32; 1]);
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty()).unwrap();
    let fds: Vec<i32> = message
        .cmsgs()
        .unwrap()
        .flat_map(|one| match one {
            ControlMessageOwned::ScmRights(fds) => fds,
            _ => Vec::new(),
        })
        .collect();
    assert_eq!((message.bytes > 0, fds.len()), (true, 1));
    // SAFETY: it came with this message and is nobody else's.
    #[allow(unsafe_code)]
    let master = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    let mut text = String::new();
    // EIO is the end of a terminal.
    std::fs::File::from(master).read_to_string(&mut text).unwrap_err();
    text
}

#[test]
fn the_terminal_goes_to_the_console_socket() {
    let host = host();
    let listener = UnixListener::bind(host.path("/run/console")).unwrap();
    let mut config = config(&host, "box", "stty size; tty; exit 0");
    config["process"]["terminal"] = json!(true);
    config["process"]["consoleSize"] = json!({"height": 20, "width": 60});
    bundle::write(&host, "box", &config);
    create(&host, "box")
        .code(125)
        .says("cannot give container box a terminal: nobody has its other end\n  hint: --console-socket");
    let words = ["--bundle=/run/box", "--console-socket=/run/console", "box"];
    nsrun(&host, &[&["create", "--pid-file=/run/box.pid"], &words[..]].concat()).prints("");
    nsrun(&host, &["start", "box"]).prints("");
    let said = from_console(&listener);
    assert_eq!(said, "20 60\r\n/dev/pts/0\r\n");
    wait_for_end(&host, "box");
    delete(&host, "box");
    sleeper(&host, "box", |_| {});
    nsrun(
        &host,
        &[
            "exec",
            "-d",
            "-t",
            "--console-socket=/run/console",
            "box",
            "sh",
            "-c",
            "test -t 0 && echo terminal",
        ],
    )
    .prints("");
    assert_eq!(from_console(&listener), "terminal\r\n");
    delete(&host, "box");
}

#[test]
fn descriptors_are_passed_on_only_if_told() {
    let host = host();
    script(&host, "box", "ls /proc/self/fd | tr '\\n' ' '; cat <&3");
    let run = |options: &str| {
        host.sh(&format!("echo three > /run/three; exec 3< /run/three 4< /run/three; nsrun run --bundle /run/box {options} box"))
    };
    run("--preserve-fds 2").prints("0 1 2 3 4 5 three");
    run("").code(1);
    run("--preserve-fds 3").code(125).says("cannot pass on 3 descriptors: number 5 is not open");
    sleeper(&host, "other", |_| {});
    host.sh("exec 3< /run/three; nsrun exec --preserve-fds 1 other cat /proc/self/fd/3").prints("three");
    delete(&host, "other");
}

#[test]
fn run_in_the_foreground_and_in_the_background() {
    let host = host();
    script(&host, "box", "cat; hostname; exit 7");
    let output = host.feed(&["nsrun", "run", "-b", "/run/box", "box"], "fed\n");
    assert_eq!(
        (output.code, output.stdout.as_str(), output.stderr.as_str()),
        (7, "fed\nbox\n", ""),
        "{output}"
    );
    nsrun(&host, &["list", "-q"]).prints("");
    script(&host, "box", "trap 'exit 9' TERM; echo up; while :; do sleep 1; done");
    let mut running = host.start(&["nsrun", "run", "--keep", "-b", "/run/box", "box"]);
    running.wait_for_line("up");
    running.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(running.end().code, 9);
    assert_eq!(status(&host, "box"), "stopped");
    delete(&host, "box");
    host.sh("nsrun run --detach --pid-file /run/box.pid -b /run/box box > /run/box.out 2>&1").prints("");
    host.sh("while ! grep -q up /run/box.out; do :; done").ok();
    assert_eq!(status(&host, "box"), "running");
    nsrun(&host, &["kill", "box", "TERM"]).prints("");
    wait_for_end(&host, "box");
    let list = nsrun(&host, &["list"]).ok();
    assert!(list.lines().nth(1).unwrap().starts_with("box           0         stopped   "), "{list}");
    delete(&host, "box");
}

#[test]
fn without_pivot_root_and_with_the_callers_keyring() {
    let host = host();
    script(&host, "box", "ls / | tr '\\n' ' '; cat /proc/self/mountinfo | wc -l");
    let text = nsrun(&host, &["run", "--no-pivot", "-b", "/run/box", "box"]).ok();
    assert!(
        text.starts_with("bin dev etc home proc root sys tmp usr var ") && !text.contains("lib"),
        "{text}"
    );
    script(&host, "box", "grep -c . /proc/keys; true");
    let keyring = |option: &str| {
        host.sh(&format!(
            "keyctl session gocker-test sh -c 'keyctl add user secret text @s > /dev/null; nsrun run {option} -b /run/box box' 2>/dev/null"
        ))
    };
    if host.sh("command -v keyctl").code != 0 {
        tests::skip!("keyctl (keyutils) is not here");
    }
    let (ours, theirs) = (keyring("").ok(), keyring("--no-new-keyring").ok());
    assert_ne!(ours, theirs);
}

#[test]
fn pause_update_and_events() {
    let host = host();
    sleeper(&host, "box", |config| {
        config["linux"]["resources"] = json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 20}})
    });
    let stats = || nsrun(&host, &["events", "--stats", "box"]).json();
    let first = stats();
    assert_eq!((&first["type"], &first["id"]), (&json!("stats"), &json!("box")));
    assert_eq!(first["data"]["memory"]["usage"]["limit"], 64 << 20);
    let data = &first["data"];
    assert_eq!(data["pids"], json!({"current": 1, "limit": 20}));
    assert_eq!(data["network_interfaces"][0]["Name"], "lo");
    assert!(data["memory"]["raw"].as_object().unwrap().len() > 10, "{data}");
    let usage = &data["cpu"]["usage"];
    assert!(usage["total"].as_u64().unwrap() > 0, "{usage}");
    if !usage["percpu"].as_array().unwrap().is_empty() {
        let each = usage["percpu"].as_array().unwrap().iter().map(|one| one.as_u64().unwrap());
        // Microseconds are rounded down, and time goes on between two files.
        assert!(each.sum::<u64>() + 1000 > usage["total"].as_u64().unwrap(), "{usage}");
    }
    nsrun(&host, &["pause", "box"]).prints("");
    assert_eq!(status(&host, "box"), "paused");
    nsrun(&host, &["pause", "box"]).fails(125, "nsrun: cannot pause container box: it is paused\n");
    nsrun(&host, &["resume", "box"]).prints("");
    assert_eq!(status(&host, "box"), "running");
    nsrun(&host, &["resume", "box"]).fails(125, "nsrun: cannot resume container box: it is running\n");
    nsrun(&host, &["update", "--memory=33554432", "--pids-limit", "7", "box"]).prints("");
    assert_eq!(stats()["data"]["memory"]["usage"]["limit"], 32 << 20);
    host.feed(&["nsrun", "update", "--resources", "-", "box"], r#"{"pids": {"limit": 9}}"#).prints("");
    assert_eq!(stats()["data"]["pids"]["limit"], 9);
    assert_eq!(stats()["data"]["memory"]["usage"]["limit"], 32 << 20);
    nsrun(&host, &["update", "--cpuset-cpus", "999", "box"]).code(125).says("cannot change cgroup ");
    // It ends with the container.
    let events = host.start(&["nsrun", "events", "--interval", "1", "box"]);
    let mut running = events;
    let mut line = Vec::new();
    let stdout = running.child.stdout.as_mut().unwrap();
    let mut byte = [0u8];
    while !line.ends_with(b"\n") && stdout.read(&mut byte).unwrap() == 1 {
        line.push(byte[0]);
    }
    assert_eq!(serde_json::from_slice::<Value>(&line).unwrap()["type"], "stats");
    delete(&host, "box");
    assert_eq!(running.end().code, 0);
}

#[test]
fn containers_of_the_pipeline_are_seen_by_the_same_verbs() {
    let host = host();
    let sleeper = super::Sleeper::start(&host, &[]);
    let state = nsrun(&host, &["state", &sleeper.id]).json();
    assert_eq!(state["status"], "running");
    nsrun(&host, &["list", "-q"]).prints(&sleeper.id);
    nsrun(&host, &["kill", &sleeper.id, "KILL"]).prints("");
    assert_eq!(sleeper.running.end().code, 137);
}
