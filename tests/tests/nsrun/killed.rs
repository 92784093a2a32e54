//! nsrun, killed at each of its system calls, one after the other, in every verb: `delete --force` then removes all there is.

use super::bundle::{self, script};
use super::host;

/// `FOLLOW BEFORE LINE AFTER`: runs the command line LINE as often as it makes system calls and kills it at each, BEFORE and
/// AFTER around it; then the host must be as it was. It prints how often it has killed.
///
/// strace counts the uses of each call by itself, so a first run tells which use of which call is the next. Where FOLLOW
/// is `-f` it looks at the other side of the fork, too; not in `create`: what that leaves would keep strace from ending.
const KILLER: &str = r#"
import os, re, subprocess, sys, time

def run(line):
    with open("/dev/null", "r+") as null, open("/run/errors", "w+") as errors:
        code = subprocess.run(line.split(), stdin=null, stdout=null, stderr=errors, timeout=60).returncode
        errors.seek(0)
        return code, errors.read()

def must(line):
    for one in line.split(";"):
        code, errors = run(one) if one.strip() else (0, "")
        assert code == 0, (one, code, errors)

def processes():
    names = []
    for pid in os.listdir("/proc"):
        try:
            names.append(open(f"/proc/{pid}/comm").read().strip() if pid.isdigit() else "")
        except OSError:
            pass
    return sorted(name for name in names if name)

def groups():
    found = []
    for hierarchy in os.listdir("/sys/fs/cgroup"):
        for at, _, _ in os.walk(f"/sys/fs/cgroup/{hierarchy}{os.environ['GOCKER_CGROUP_PARENT']}"):
            found.append(at)
    return found

def world():
    records = os.listdir("/run/gocker/nsrun") if os.path.exists("/run/gocker/nsrun") else []
    return records, processes(), groups(), open("/proc/self/mountinfo").read()

# What is only of the process itself.
OWN = re.compile("mmap|munmap|mremap|mprotect|madvise|brk|rt_sig|sigaltstack|arch_prctl|set_|rseq|getrandom|getpid|gettid|futex")

def calls(line):
    code, errors = run(f"{strace} {line}")
    assert code == 0, (line, code, errors)
    counts, found = {}, {}
    # With -f each line begins with a process id, and each process has a count of its own.
    for use in re.findall(r"^(\d* *\w+)\(", open("/run/strace").read(), re.M):
        counts[use] = counts.get(use, 0) + 1
        call = use.split()[-1]
        if not OWN.match(call) and (call, counts[use]) != ("execve", 1):
            found[call, counts[use]] = True
    return list(found)

follow, before, line, after = sys.argv[1:]
strace = f"strace {follow} -qq -o /run/strace"
must(before)
all_calls = calls(line)
must(after)
clean, killed = world(), 0
for call, when in all_calls:
    must(before)
    code, _ = run(f"{strace} -e trace={call} -e inject={call}:signal=KILL:when={when} {line}")
    killed += code != 0
    must(after)
    deadline = time.monotonic() + 20
    while world() != clean:
        assert time.monotonic() < deadline, (call, when, [(a, b) for a, b in zip(clean, world()) if a != b])
print(killed if killed > 0.6 * len(all_calls) else f"{killed} of {len(all_calls)}")
"#;

const CREATE: &str = "nsrun create --bundle /run/box --pid-file /run/box.pid box";
const DELETE: &str = "nsrun delete --force box";

#[track_caller]
fn killed(follow: &str, before: &str, line: &str, after: &str) {
    let host = host();
    script(&host, "box", "read line; exec sleep 1000");
    script(&host, "short", "exit 0");
    // With it the cgroup above is there to stay, as an engine's is.
    script(&host, "other", "exit 0");
    bundle::create(&host, "other").ok();
    let number = host.run(&["python3", "-c", KILLER, follow, before, line, after]).ok();
    bundle::delete(&host, "other");
    assert!(number.trim().parse::<u32>().is_ok_and(|number| number > 20), "{number}");
}

#[test]
fn in_create() {
    killed("", "", CREATE, DELETE);
}

#[test]
fn in_run() {
    killed("", "", "nsrun run --bundle /run/short box", DELETE);
}

#[test]
fn in_run_on_either_side_of_the_fork() {
    killed("-f", "", "nsrun run --bundle /run/short box", DELETE);
}

#[test]
fn in_run_detached() {
    killed("", "", "nsrun run --detach --bundle /run/short box", DELETE);
}

#[test]
fn in_start() {
    killed("", CREATE, "nsrun start box", DELETE);
}

#[test]
fn in_exec_on_either_side_of_the_fork() {
    killed("-f", &format!("{CREATE}; nsrun start box"), "nsrun exec box true", DELETE);
}

#[test]
fn in_kill() {
    killed("", CREATE, "nsrun kill box KILL", DELETE);
}

#[test]
fn in_pause() {
    killed("", CREATE, "nsrun pause box", DELETE);
}

#[test]
fn in_delete() {
    killed("", CREATE, DELETE, DELETE);
}
