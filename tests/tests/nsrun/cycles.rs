//! Many lives, one after the other and at once; and each call of one failing.

use tests::inject;

use super::bundle::{self, config, script};
use super::host;

/// Lives through the bundle /run/box, as an engine's monitor does: it is the reaper of what `create` leaves to it, so it
/// gets the exit status.
const MONITOR: &str = r#"
import ctypes, os, subprocess, sys, tempfile
from concurrent.futures import ThreadPoolExecutor

ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER

def nsrun(*words):
    # No pipe: the container has what create had, and would keep it open.
    with tempfile.TemporaryFile(dir="/run") as errors:
        done = subprocess.run(["nsrun", *words], stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        errors.seek(0)
        assert done.returncode == 0, (words, errors.read())

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
    ends = list(pool.map(lambda number: live(f"box-{count}-{number}", "KILL" if number % 5 == 0 else None), range(count)))
wrong = [(number, end) for number, end in enumerate(ends) if end != (-9 if number % 5 == 0 else 42)]
assert not wrong, wrong
os.rmdir("/run/pids")
print("all", len(ends))
"#;

fn lives(count: u32, at_once: u32) {
    let host = host();
    // Each container gets a cgroup of its own name, as none is configured, in the group that all tests are in: so the names
    // are of this test alone.
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

/// Nothing is left, and one error is said.
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
