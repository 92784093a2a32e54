//! Many lives, one after the other and at once; and nsrun killed at every step of one.

use tests::inject;

use super::bundle::{self, config, script};
use super::host;

/// Lives through the bundle /run/box, as an engine's monitor does: it is the reaper of what `create` leaves to it, so it
/// gets the exit status.
const MONITOR: &str = r#"
import ctypes, os, subprocess, sys
from concurrent.futures import ThreadPoolExecutor

ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER

def nsrun(*words):
    done = subprocess.run(["nsrun", *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert done.returncode == 0, (words, done.stderr)

def live(name, signal=None):
    nsrun("create", "--bundle", "/run/" + ("sleeper" if signal else "box"), "--pid-file", f"/run/pids/{name}", name)
    pid = int(open(f"/run/pids/{name}").read())
    nsrun("start", name)
    if signal:
        nsrun("kill", name, signal)
    _, status = os.waitpid(pid, 0)
    nsrun("delete", name)
    os.unlink(f"/run/pids/{name}")
    return os.waitstatus_to_exitcode(status)

os.makedirs("/run/pids", exist_ok=True)
count, at_once = int(sys.argv[1]), int(sys.argv[2])
with ThreadPoolExecutor(at_once) as pool:
    ends = list(pool.map(lambda number: live(f"box-{number}", "KILL" if number % 5 == 0 else None), range(count)))
wrong = [(number, end) for number, end in enumerate(ends) if end != (-9 if number % 5 == 0 else 42)]
assert not wrong, wrong
os.rmdir("/run/pids")
print("all", len(ends))
"#;

fn lives(count: u32, at_once: u32) {
    let host = host();
    // Each container gets a cgroup of its own name, as none is configured.
    for (name, words) in [("box", "exit 42"), ("sleeper", "exec sleep 1000")] {
        let mut config = config(&host, name, words);
        let linux = config["linux"].as_object_mut().unwrap();
        linux.remove("cgroupsPath");
        bundle::write(&host, name, &config);
    }
    let monitor = ["python3", "-c", MONITOR, &count.to_string(), &at_once.to_string()];
    host.run(&monitor).prints(&format!("all {count}"));
    host.assert_clean();
}

#[test]
fn five_hundred_one_after_the_other() {
    lives(500, 1);
}

#[test]
fn a_hundred_at_once() {
    lives(100, 100);
}

/// The calls at which `create` changes something, on either side of the fork.
const CREATE: [&str; 17] = [
    "mkdir",
    "rename",
    "execve",
    "bind",
    "listen",
    "clone3",
    "sendmsg",
    "recvmsg",
    "move_mount",
    "mount",
    "mknodat",
    "pivot_root",
    "umount2",
    "capset",
    "prctl",
    "shutdown",
    "accept4",
];

#[test]
fn killed_at_every_step_of_create_it_leaves_what_delete_removes() {
    let host = host();
    script(&host, "box", "exit 0");
    let line = ["nsrun", "create", "--bundle=/run/box", "--pid-file=/run/box.pid", "box"];
    let delete: &[&[&str]] = &[&["nsrun", "delete", "--force", "box"]];
    let met = inject::every_kill(&host, &line, None, &CREATE, delete);
    assert!(met > 50, "{met}");
}

#[test]
fn killed_at_every_step_of_run_and_start() {
    let host = host();
    script(&host, "box", "exit 0");
    let delete: &[&[&str]] = &[&["nsrun", "delete", "--force", "box"]];
    let calls = ["mkdir", "rename", "clone3", "sendmsg", "recvmsg", "pivot_root", "execve", "unlink"];
    let met = inject::every_kill(&host, &["nsrun", "run", "--bundle=/run/box", "box"], None, &calls, delete);
    assert!(met > 10, "{met}");
    for call in ["connect", "sendmsg", "recvmsg"] {
        for when in 1.. {
            bundle::create(&host, "box").prints("");
            let killed =
                inject::once(&host, &["nsrun", "start", "box"], None, call, inject::Fault::Kill, when);
            host.run(delete[0]).prints("");
            if killed.is_none() {
                break;
            }
        }
    }
    host.assert_clean();
}

#[test]
fn killed_at_every_step_of_delete_it_can_be_deleted_again() {
    let host = host();
    script(&host, "box", "exec sleep 1000");
    for call in ["pidfd_open", "pidfd_send_signal", "poll", "execve", "unlink", "rmdir"] {
        for when in 1.. {
            bundle::create(&host, "box").prints("");
            let line = ["nsrun", "delete", "--force", "box"];
            let killed = inject::once(&host, &line, None, call, inject::Fault::Kill, when);
            host.run(&line).prints("");
            if killed.is_none() {
                break;
            }
        }
    }
    host.assert_clean();
}

/// The same with an error in the place of the end: nothing is left, and one error is said.
#[test]
fn every_failing_call_of_run_leaves_the_host_as_it_was() {
    let host = host();
    script(&host, "box", "exit 0");
    let line = ["nsrun", "run", "--bundle=/run/box", "box"];
    let calls =
        ["mkdir", "rename", "socketpair", "clone3", "sendmsg", "chdir", "move_mount", "pivot_root", "capset"];
    let met = inject::every_error(&host, &line, None, &calls, &["nsrun", "delete", "--force", "box"]);
    assert!(met > 10, "{met}");
}
