//! Containers that go on without the command that started them.

use nix::sys::signal::Signal;
use tests::{Host, Output};

fn gocker(host: &Host, words: &[&str]) -> Output {
    host.run(&[&["gocker-sh"], words].concat())
}

/// Starts a detached container of the image busybox; its id.
fn detach(host: &Host, options: &[&str], command: &[&str]) -> String {
    let id = gocker(host, &[&["run", "-d"], options, &["busybox"], command].concat()).ok();
    id.trim_end().to_owned()
}

/// The pid of the watcher of a container, on the host.
fn watcher(host: &Host, id: &str) -> String {
    host.sh(&format!("pgrep -f '^gocker-sh watch {id}'")).ok().trim_end().to_owned()
}

/// Kills the watcher, and waits until it is gone.
fn kill_watcher(host: &Host, id: &str) {
    let pid = watcher(host, id);
    host.sh(&format!("kill -KILL {pid}; while kill -0 {pid} 2> /dev/null; do sleep 0.01; done")).ok();
}

fn status(host: &Host, name: &str) -> String {
    gocker(host, &["ps", "-a", "--filter", &format!("name=^{name}$"), "--format", "{{.Status}}"]).ok()
}

#[test]
fn it_goes_on_and_its_output_and_code_are_kept() {
    let host = Host::with_images();
    let script = "echo to stdout; echo to stderr >&2; printf 'no newline'; exit 7";
    let id = detach(&host, &["--name", "job"], &["sh", "-c", script]);
    assert_eq!(id.len(), 64, "{id}");
    gocker(&host, &["wait", "job"]).prints("7");
    let logs = gocker(&host, &["logs", "job"]);
    assert_eq!(
        (logs.stdout.as_str(), logs.stderr.as_str()),
        ("to stdout\nno newline", "to stderr\n"),
        "{logs}"
    );
    assert!(status(&host, "job").starts_with("Exited (7) "));
    // docker's form of the file.
    let file = format!("/var/lib/gocker/gocker-sh/{id}/{id}-json.log");
    let lines = host.run(&["jq", "-c", "-s", "sort_by(.stream) | map([.log, .stream])", &file]).ok();
    assert_eq!(
        lines.trim(),
        r#"[["to stderr\n","stderr"],["to stdout\n","stdout"],["no newline","stdout"]]"#
    );
    gocker(&host, &["rm", "job"]).prints("job");
}

#[test]
fn it_stays_when_its_client_and_terminal_are_gone() {
    let host = Host::with_images();
    // setsid's child would get a hang-up with its terminal; script makes one and closes it.
    host.sh("script -qec 'gocker-sh run -d --name job busybox sleep 1000' /dev/null").ok();
    assert!(status(&host, "job").starts_with("Up "));
    gocker(&host, &["stop", "-t", "0", "job"]).prints("job");
    gocker(&host, &["rm", "job"]).prints("job");
}

#[test]
fn stop_asks_and_then_kills() {
    let host = Host::with_images();
    let script = "trap 'echo asked; exit 3' USR1; echo up; while :; do sleep 0.01; done";
    detach(&host, &["--name", "polite", "--stop-signal", "USR1"], &["sh", "-c", script]);
    detach(&host, &["--name", "stubborn"], &["sleep", "1000"]);
    host.sh("until gocker-sh logs polite | grep -q up; do sleep 0.01; done").ok();
    gocker(&host, &["stop", "polite"]).prints("polite");
    gocker(&host, &["logs", "polite"]).prints("up\nasked");
    assert!(status(&host, "polite").starts_with("Exited (3) "));
    let stopped = gocker(&host, &["stop", "-t", "1", "stubborn"]);
    assert_eq!(stopped.stdout, "stubborn\n", "{stopped}");
    assert!(stopped.stderr.contains("  hint: its command may not handle the signal: --init"), "{stopped}");
    assert!(status(&host, "stubborn").starts_with("Exited (137) "));
    // What has ended needs no stopping.
    gocker(&host, &["stop", "polite"]).prints("polite");
    gocker(&host, &["kill", "polite"]).code(1).says("is not running");
    gocker(&host, &["rm", "polite", "stubborn"]).ok();
}

#[test]
fn a_signal_can_be_sent_by_name_and_number() {
    let host = Host::with_images();
    let script = "trap 'echo one' USR1; trap 'echo two' USR2; trap 'exit 4' TERM; echo up; while :; do sleep 0.01; done";
    detach(&host, &["--name", "job"], &["sh", "-c", script]);
    for (signal, line) in [("", "up"), ("USR1", "one"), ("SIGUSR2", "two")] {
        if !signal.is_empty() {
            gocker(&host, &["kill", "-s", signal, "job"]).prints("job");
        }
        host.sh(&format!("until gocker-sh logs job | grep -qx {line}; do sleep 0.01; done")).ok();
    }
    gocker(&host, &["kill", "--signal=15", "job"]).prints("job");
    gocker(&host, &["wait", "job"]).prints("4");
    gocker(&host, &["kill", "-s", "FROB", "job"]).fails(1, "gocker-sh: Invalid signal: FROB\n");
    gocker(&host, &["rm", "job"]).ok();
}

#[test]
fn started_again_it_has_its_files_and_its_log() {
    let host = Host::with_images();
    detach(&host, &["--name", "job"], &["sh", "-c", "echo run >> /count; wc -l < /count"]);
    gocker(&host, &["wait", "job"]).prints("0");
    gocker(&host, &["start", "job"]).prints("job");
    gocker(&host, &["wait", "job"]).prints("0");
    gocker(&host, &["start", "--attach", "job"]).prints("3");
    gocker(&host, &["restart", "job"]).prints("job");
    gocker(&host, &["wait", "job"]).ok();
    gocker(&host, &["logs", "job"]).prints("1\n2\n3\n4");
    gocker(&host, &["logs", "--tail", "1", "job"]).prints("4");
    gocker(&host, &["rm", "job"]).ok();
}

#[test]
fn created_it_waits_to_be_started() {
    let host = Host::with_images();
    gocker(&host, &["create", "--name", "job", "-e", "A=b", "busybox", "sh", "-c", "echo $A; exit 9"]).ok();
    assert_eq!(status(&host, "job"), "Created\n");
    gocker(&host, &["start", "-a", "job"]).code(9);
    gocker(&host, &["logs", "job"]).prints("b");
    gocker(&host, &["rm", "job"]).ok();
    gocker(&host, &["create", "--name", "job", "--rm", "busybox", "true"]).ok();
    gocker(&host, &["start", "-a", "job"]).code(0);
    gocker(&host, &["rm", "job"]).code(1).says("No such container: job");
    gocker(&host, &["create", "absent-image"]).code(1);
}

#[test]
fn what_cannot_start_again_is_not_lost() {
    let host = Host::with_images();
    gocker(&host, &["create", "--name", "job", "busybox", "no-such-command"]).ok();
    let output = gocker(&host, &["start", "job"]).code(1);
    assert!(output.stderr.contains("no-such-command"), "{output}");
    assert!(status(&host, "job").starts_with("Exited (127) "), "{}", status(&host, "job"));
    gocker(&host, &["rm", "job"]).prints("job");
}

#[test]
fn with_rm_nothing_stays() {
    let host = Host::with_images();
    let id = detach(&host, &["--rm"], &["sh", "-c", "sleep 0.2; exit 5"]);
    gocker(&host, &["wait", &id]).prints("5");
    gocker(&host, &["ps", "-aq"]).prints("");
    host.assert_clean();
}

#[test]
fn without_its_watcher_it_goes_on_and_loses_nothing() {
    let host = Host::with_images();
    let script =
        "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); [ -e /go ] || sleep 0.01; done; exit 6";
    let id = detach(&host, &["--name", "job"], &["sh", "-c", script]);
    kill_watcher(&host, &id);
    // The next command of any kind picks it up.
    assert!(status(&host, "job").starts_with("Up "));
    watcher(&host, &id);
    kill_watcher(&host, &id);
    gocker(&host, &["exec", "job", "touch", "/go"]).ok();
    gocker(&host, &["wait", "job"]).prints("6");
    let lines: Vec<String> = gocker(&host, &["logs", "job"]).ok().lines().map(str::to_owned).collect();
    assert_eq!(lines, (0..400).map(|number| format!("line {number}")).collect::<Vec<_>>());
    gocker(&host, &["rm", "job"]).ok();
}

#[test]
fn its_end_is_seen_even_if_no_watcher_was_there() {
    let host = Host::with_images();
    let id =
        detach(&host, &["--name", "job"], &["sh", "-c", "echo up; read line < /fifo || sleep 0.3; exit 8"]);
    kill_watcher(&host, &id);
    // nsrun notes the code; it is gone when the container is.
    host.sh("while pgrep -x nsrun > /dev/null; do sleep 0.01; done").ok();
    assert!(status(&host, "job").starts_with("Exited (8) "), "{}", status(&host, "job"));
    gocker(&host, &["rm", "job"]).ok();
}

#[test]
fn a_killed_nsrun_takes_its_container_along() {
    let host = Host::with_images();
    detach(&host, &["--name", "job"], &["sleep", "1000"]);
    host.sh("pkill -KILL -x nsrun").ok();
    gocker(&host, &["wait", "job"]).prints("137");
    gocker(&host, &["rm", "job"]).ok();
}

#[test]
fn the_log_is_turned_over() {
    let host = Host::with_images();
    let options = ["--name", "job", "--log-opt", "max-size=1k", "--log-opt", "max-file=3"];
    let id = detach(&host, &options, &["sh", "-c", "for i in $(seq 100); do echo line $i; done"]);
    gocker(&host, &["wait", "job"]).prints("0");
    let directory = format!("/var/lib/gocker/gocker-sh/{id}");
    host.sh(&format!("ls {directory} | grep -c json.log")).prints("3");
    host.sh(&format!("find {directory} -name '*json.log*' -size +1023c")).prints("");
    let logs = gocker(&host, &["logs", "job"]).ok();
    assert!(logs.ends_with("line 99\nline 100\n") && !logs.contains("line 1\n"), "{logs}");
    gocker(&host, &["logs", "-n2", "job"]).prints("line 99\nline 100");
    gocker(&host, &["rm", "job"]).ok();
}

#[test]
fn logs_can_be_followed_and_cut() {
    let host = Host::with_images();
    detach(&host, &["--name", "job"], &["sh", "-c", "echo one; sleep 0.3; echo two; exit 2"]);
    let followed = gocker(&host, &["logs", "-f", "job"]);
    assert_eq!((followed.code, followed.stdout.as_str()), (0, "one\ntwo\n"), "{followed}");
    let stamped = gocker(&host, &["logs", "-t", "job"]).ok();
    let time = |line: &str| line.split_once(' ').map(|(time, _)| time.to_owned()).unwrap();
    let times: Vec<String> = stamped.lines().map(time).collect();
    assert!(times[0] < times[1] && times[0].ends_with('Z'), "{stamped}");
    gocker(&host, &["logs", "--since", &times[1], "job"]).prints("two");
    gocker(&host, &["logs", "--until", &times[0], "job"]).prints("one");
    gocker(&host, &["logs", "--since", "soon", "job"]).code(1).says("failed to parse value");
    gocker(&host, &["rm", "job"]).ok();
}

#[test]
fn renamed_it_keeps_running_under_the_new_name() {
    let host = Host::with_images();
    detach(&host, &["--name", "old"], &["sleep", "1000"]);
    gocker(&host, &["rename", "old", "new"]).prints("");
    gocker(&host, &["rename", "new", "x"]).code(1).says("Invalid container name (x)");
    gocker(&host, &["stop", "-t0", "old"]).code(1).says("No such container: old");
    gocker(&host, &["stop", "-t0", "new"]).prints("new");
    assert!(status(&host, "new").starts_with("Exited (137) "));
    gocker(&host, &["rm", "new"]).ok();
}

#[test]
fn attached_to_it_has_a_terminal() {
    let host = Host::with_images();
    detach(&host, &["-it", "--name", "shell"], &["sh"]);
    // script(1) gives attach a terminal, and types what it reads.
    let mut typing =
        host.start(&["script", "-qec", "gocker-sh attach --detach-keys ctrl-p,ctrl-q shell", "/dev/null"]);
    let input = typing.child.stdin.as_mut().unwrap();
    std::io::Write::write_all(input, b"stty -echo; tty && echo $((40+2)) there\n").unwrap();
    host.sh("until gocker-sh logs shell | grep -q '42 there'; do sleep 0.02; done").ok();
    std::io::Write::write_all(input, b"\x10\x11").unwrap();
    host.sh("while pgrep -x script > /dev/null; do sleep 0.02; done").ok();
    let output = typing.end();
    assert!(
        output.stdout.contains("/dev/pts/0") && output.stdout.contains("read escape sequence"),
        "{output}"
    );
    assert!(status(&host, "shell").starts_with("Up "));
    gocker(&host, &["stop", "-t0", "shell"]).prints("shell");
    gocker(&host, &["rm", "shell"]).ok();
}

#[test]
fn attach_passes_signals_on_and_has_the_code() {
    let host = Host::with_images();
    detach(
        &host,
        &["--name", "job"],
        &["sh", "-c", "trap 'echo got it; exit 7' TERM; while :; do echo up; sleep 0.05; done"],
    );
    let mut attached = host.start(&["gocker-sh", "attach", "job"]);
    attached.wait_for_line("up");
    attached.signal(Signal::SIGTERM);
    let output = attached.end();
    assert!(output.code == 7 && output.stdout.ends_with("got it\n"), "{output}");
    gocker(&host, &["attach", "job"])
        .fails(1, "gocker-sh: You cannot attach to a stopped container, start it first\n");
    gocker(&host, &["rm", "job"]).ok();
}

#[test]
fn a_policy_to_restart_is_refused_with_a_pointer() {
    let host = Host::with_images();
    let output = gocker(&host, &["run", "-d", "--restart=always", "busybox", "true"]).code(125);
    assert!(
        output.stderr.contains("--restart=always\n  hint: ") && output.stderr.contains("systemd"),
        "{output}"
    );
    detach(&host, &["--restart=no", "--rm"], &["true"]);
    host.sh("while [ -n \"$(gocker-sh ps -aq)\" ]; do sleep 0.01; done").ok();
}

#[test]
fn killed_at_any_call_a_detached_run_leaves_what_gc_removes() {
    let host = Host::with_images();
    gocker(&host, &["run", "--rm", "busybox", "true"]).ok();
    host.assert_clean();
    let before = host.snapshot();
    let mut met = 0;
    for call in ["rename", "mknodat", "flock", "pidfd_open", "inotify_add_watch", "poll"] {
        for when in 1..12 {
            let run = ["gocker-sh", "run", "-d", "--name", "job", "busybox", "sleep", "0.1"];
            let Some(_) = tests::inject::once(&host, &run, None, call, tests::inject::Fault::Kill, when)
            else {
                break;
            };
            met += 1;
            // It runs, and is there to be removed, or it never was.
            gocker(&host, &["gc"]).ok();
            gocker(&host, &["rm", "-f", "job"]);
            gocker(&host, &["gc"]).ok();
            if let Err(difference) = before.wait_for(&host) {
                panic!("{call} number {when}\nleft on the host:\n{difference}");
            }
        }
    }
    gocker(&host, &["rm", "-f", "job"]);
    assert!(met > 10, "{met}");
}

#[test]
fn a_watcher_is_small() {
    let host = Host::with_images();
    let ids: Vec<String> = (0..5).map(|_| detach(&host, &["--rm"], &["sleep", "1000"])).collect();
    for id in &ids {
        let rollup = host.sh(&format!("cat /proc/{}/smaps_rollup", watcher(&host, id))).ok();
        let kib = |name: &str| -> u64 {
            let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        assert!(kib("Private_Dirty:") < 300 && kib("Pss:") < 1024, "{rollup}");
    }
    let stop = [&["stop", "-t0"][..], &ids.iter().map(String::as_str).collect::<Vec<_>>()].concat();
    gocker(&host, &stop).ok();
}
