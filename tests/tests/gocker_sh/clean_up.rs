//! Nothing is left, however it ends.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use nix::sys::signal::Signal;
use tests::inject::{Fault, every_kill, once};
use tests::{Host, host};

use super::start;

const RUN: [&str; 5] = ["gocker-sh", "run", "--rm", "busybox", "true"];
const GC: [&[&str]; 1] = [&["gocker-sh", "gc"]];

/// The first container makes the bridge and the rules.
fn first(host: &Host) {
    host.run(&RUN).ok();
    host.assert_clean();
}

#[test]
fn every_way_to_end_leaves_nothing() {
    let host = Host::with_images();
    for words in [
        &["busybox", "true"][..],
        &["busybox", "false"],
        &["busybox", "no-such"],
        &["--pull=never", "absent"],
        &["--memory=1", "busybox"],
        &["--ip=1.2.3.4", "busybox"],
        &["--network=none", "busybox", "true"],
        &["--network=host", "busybox", "true"],
        &["--init", "busybox", "sh", "-c", "sleep 1000 & exit 0"],
        &["busybox", "sh", "-c", "sleep 1000 & exit 0"],
    ] {
        super::run(&host, words);
        host.assert_clean();
    }
    // What never ran is not kept, with or without --rm.
    host.run(&["gocker-sh", "run", "--memory=1", "busybox"]).code(125);
    host.assert_clean();
}

#[test]
fn killed_at_any_call_it_leaves_what_gc_removes() {
    let host = Host::with_images();
    first(&host);
    // strace counts the calls of each process by itself: whoever gets there first is killed, be it gocker-sh or a stage.
    let calls = [
        "mkdir",
        "symlink",
        "flock",
        "rename",
        "poll",
        "unshare",
        "mount",
        "move_mount",
        "pivot_root",
        "umount2",
        "rmdir",
    ];
    let met = every_kill(&host, &RUN, None, &calls, &GC);
    assert!(met > 10, "killed only {met} times");
}

#[test]
fn whatever_call_fails_it_says_so_and_cleans_up_itself() {
    let host = Host::with_images();
    first(&host);
    let before = host.snapshot();
    let mut met = 0;
    // Each process counts for itself: the N-th of gocker-sh fails, and that of each stage that gets so far.
    for call in ["mkdir", "symlink", "rename", "pipe2", "signalfd4", "clone3"] {
        for when in 1..40 {
            let Some(output) = once(&host, &RUN, None, call, Fault::Error("EPERM"), when) else { break };
            met += 1;
            let what = format!("{call} number {when}\n{output}");
            assert!(output.code == 0 || output.stderr.lines().count() > 0, "{what}");
            assert_eq!(output.stdout, "", "{what}");
            // What could not be taken back the next command removes; the code is the command's all the same.
            if output.code == 0
                || output.stderr.contains("cannot run")
                || output.stderr.contains("cannot remove")
            {
                host.run(GC[0]).ok();
            }
            if let Err(difference) = before.wait_for(&host) {
                panic!("{what}\nleft on the host:\n{difference}");
            }
        }
    }
    assert!(met > 20, "{met}");
}

#[test]
fn a_killed_container_that_is_kept_can_be_removed() {
    let host = Host::with_images();
    first(&host);
    for call in ["rename", "flock", "symlink"] {
        for when in 1..8 {
            let run = ["gocker-sh", "run", "--name", "web", "busybox", "true"];
            if once(&host, &run, None, call, Fault::Kill, when).is_none() {
                break;
            }
            host.run(&["gocker-sh", "gc"]).ok();
            host.run(&["gocker-sh", "rm", "-f", "web"]);
            host.assert_clean();
        }
    }
    host.run(&["gocker-sh", "rm", "-f", "web"]);
}

#[test]
fn a_foreground_container_dies_with_its_client() {
    let host = Host::with_images();
    let running = start(&host, &["--rm", "--name", "web"]);
    running.signal(Signal::SIGKILL);
    let output = running.end();
    assert_eq!(output.code, 137, "{output}");
    host.run(&["gocker-sh", "gc"]).ok();
    host.assert_clean();
    // Any other command does the same, if not as patiently.
    let running = start(&host, &["--name", "web"]);
    running.signal(Signal::SIGKILL);
    running.end();
    host.run(&["gocker-sh", "gc"]).ok();
    let listed = host.run(&["gocker-sh", "ps", "-a", "--format", "{{.Names}} {{.Status}}"]).ok();
    assert!(listed.starts_with("web Exited (137) "), "{listed}");
    host.run(&["gocker-sh", "rm", "web"]).prints("web");
}

#[test]
fn a_killed_stage_fails_the_run_and_nothing_is_left() {
    let host = Host::with_images();
    first(&host);
    for (tool, call) in [("nsrun", "pivot_root"), ("netns", "unshare"), ("mount-overlay", "fsopen")] {
        let before = host.snapshot();
        let Some(output) = once(&host, &RUN, None, call, Fault::Kill, 1) else {
            panic!("{tool} makes no {call}");
        };
        assert_ne!(output.code, 0, "{output}");
        // gocker-sh was there to clean up: no gc is needed.
        host.assert_same(&before);
    }
}

#[test]
fn a_signal_while_pulling_ends_it() {
    let host = Host::with_images();
    // A registry that never answers.
    let serve = "import socket, signal; s = socket.create_server(('127.0.0.1', 5001)); print('up', flush=True); signal.pause()";
    let mut deaf = host.start(&["python3", "-c", serve]);
    deaf.wait_for_line("up");
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let running = host.start(&["gocker-sh", "run", "--rm", "127.0.0.1:5001/slow", "true"]);
        host.sh("timeout 10 sh -c 'until ss -tn | grep -q 127.0.0.1:5001; do :; done'").ok();
        running.signal(signal);
        let output = running.end();
        assert_eq!(output.code, code, "{output}");
    }
    deaf.signal(Signal::SIGKILL);
    deaf.end();
    host.assert_clean();
}

#[test]
fn control_c_at_a_terminal_reaches_the_command_once() {
    let host = Host::with_images();
    let pty = nix::pty::openpty(None, None).unwrap();
    let side = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
    let script = "n=0; trap 'n=$((n+1))' INT; echo up; while [ $n = 0 ]; do sleep 0.01; done; sleep 0.2; exit $((n+40))";
    let mut command = host.command(&[
        "setsid",
        "--ctty",
        "--wait",
        "gocker-sh",
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    command.stdin(side(&pty.slave)).stdout(Stdio::piped()).stderr(side(&pty.slave));
    let mut child = command.spawn().unwrap();
    let mut up = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut up).unwrap();
    std::fs::File::from(pty.master).write_all(b"\x03").unwrap();
    let end = child.wait().unwrap();
    assert_eq!(end.code(), Some(41));
    host.assert_clean();
}

#[test]
fn the_reader_that_goes_away_is_no_failure() {
    let host = Host::with_images();
    host.sh("gocker-sh ps | true; gocker-sh images | true").ok();
    let output = host::finish(
        host.command(&["sh", "-c", "gocker-sh run --rm busybox sh -c 'yes | head -1000000' | head -1"]),
        None,
    );
    assert_eq!(output.stdout, "y\n", "{output}");
    host.assert_clean();
}
