//! Every call that changes the host fails, one after the other; and nsrun is killed at each.

use tests::{inject, new_id};

use super::{Sleeper, host, words};

const CALLS: [&str; 23] = [
    "mkdir",
    "write",
    "chmod",
    "socketpair",
    "sendmsg",
    "setgroups",
    "fchdir",
    "openat2",
    "rename",
    "clone3",
    "unshare",
    "setsid",
    "open_tree",
    "move_mount",
    "mount",
    "mount_setattr",
    "mknodat",
    "symlinkat",
    "sethostname",
    "pivot_root",
    "umount2",
    "setresuid",
    "capset",
];

#[test]
fn every_failing_call_leaves_the_host_as_it_was() {
    let host = host();
    let id = new_id();
    let line = words(&["--read-only", "--id", &id, "--", "/bin/true"]);
    // What busybox itself calls is not nsrun's: it calls none of these.
    let met = inject::every_error(&host, &line, None, &CALLS, &["nsrun", "undo", &id]);
    assert!(met > 60, "{met}");
}

#[test]
fn with_a_terminal_and_an_init_as_well() {
    let host = host();
    let id = new_id();
    let line = words(&["-t", "--init", "-u", "app", "--id", &id, "--", "/bin/true"]);
    let calls = ["ioctl", "fchown", "clone3", "sendmsg", "capset", "setsid", "setresuid", "openat"];
    let met = inject::every_error(&host, &line, None, &calls, &["nsrun", "undo", &id]);
    assert!(met > 10, "{met}");
}

#[test]
fn a_failing_exec_leaves_the_container_alone() {
    let host = host();
    let sleeper = Sleeper::start(&host, &[]);
    let line = ["nsrun", "exec", "-u", "app", &sleeper.id, "/bin/true"];
    let calls =
        ["pidfd_open", "socketpair", "setns", "clone3", "sendmsg", "fchdir", "setsid", "setresuid", "capset"];
    let met = inject::every_error(&host, &line, None, &calls, &["nsrun", "ls"]);
    assert!(met >= 9, "{met}");
    sleeper.end();
}

#[test]
fn whenever_it_is_killed_undo_leaves_nothing() {
    let host = host();
    let id = new_id();
    let line = words(&["--id", &id, "--", "/bin/true"]);
    let calls = [
        "mkdir",
        "clone3",
        "rename",
        "sendmsg",
        "pivot_root",
        "setresuid",
        "execve",
        "waitid",
        "unlink",
        "rmdir",
    ];
    let met = inject::every_kill(&host, &line, None, &calls, &[&["nsrun", "undo", &id]]);
    assert!(met >= calls.len() as u32, "{met}");
}
