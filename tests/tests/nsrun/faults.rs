//! Every call that changes the host fails, one after the other; and nsrun is killed at each.

use tests::{inject, new_id};

use super::{host, words};

const CALLS: [&str; 17] = [
    "mkdir",
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
