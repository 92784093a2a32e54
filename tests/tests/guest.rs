//! The tests whose outcome can depend on the version of cgroups or on the kernel, in a virtual machine with Debian's
//! kernel: once with cgroup v2 as the only hierarchy, once with cgroup v1 alone, once with systemd as PID 1.
//!
//! What is chosen fits into some minutes under emulation; `make test-guest` runs the rest.

use std::process::{Command, Stdio};

use tests::bins;

/// With cgroup v2: cgctl, and the article's experiments, apart from the one that takes a machine with time to spare.
const ON_V2: &[&str] = &[
    "cgctl::engines::",
    "cgctl::limits::",
    "cgctl::verbs::",
    "cgctl::enforced::memory",
    "pipeline::experiments::fork",
    "pipeline::experiments::memory",
];
/// With cgroup v1 on Debian's kernel: what cgctl does.
const ON_V1: &[&str] = &["cgctl::engines::", "cgctl::limits::"];

/// Runs the tests that `filters` name, fails with those that fail there, and passes their skips on.
fn guest(version: &[&str], filters: &[&str]) {
    if tests::in_guest() {
        return;
    }
    // Makes what the tests in there only copy.
    tests::images::layouts();
    let output = Command::new(bins::workspace().join("tests/guest/run"))
        .args(version)
        .args(filters)
        .env("GOCKER_BIN_DIR", bins::dir())
        .env("GOCKER_TESTS", std::env::current_exe().unwrap())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let console = String::from_utf8_lossy(&output.stdout);
    let results = || console.lines().filter(|line| line.starts_with("test ") && line.contains(" ... "));
    for line in console.lines() {
        if let Some(why) = line.strip_prefix("guest: skipped: ") {
            tests::output::skipped(&format!("in the guest: {why}"));
        }
    }
    // For those who read the report with --nocapture.
    print!("{}", results().map(|line| format!("in the guest: {line}\n")).collect::<String>());
    let failed: Vec<&str> = results().filter(|line| !line.ends_with(" ... ok")).collect();
    assert!(failed.is_empty() && output.status.success(), "failed in the guest: {failed:#?}\n{console}");
    let passed = results().count();
    assert!(passed >= filters.len(), "only {passed} tests ran in the guest\n{console}");
}

#[test]
fn with_cgroup_v2_alone() {
    guest(&[], ON_V2);
}

#[test]
fn with_systemd() {
    guest(&["-s"], &["cgctl::systemd::"]);
}

#[test]
fn with_cgroup_v1_alone() {
    guest(&["-1"], ON_V1);
}

/// A virtual machine whose power goes in the middle of pulls: what it finds on its disk then is whole, and it goes on.
#[test]
fn the_store_of_pull_survives_power_cuts() {
    const CUTS: usize = 5;
    if tests::in_guest() {
        return;
    }
    tests::images::layouts();
    let output = Command::new(bins::workspace().join("tests/guest/power-cut"))
        .arg(CUTS.to_string())
        .env("GOCKER_BIN_DIR", bins::dir())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let lines = |start: &str| said.lines().filter(|line| line.starts_with(start)).collect::<Vec<_>>();
    assert_eq!(lines("fsck "), ["fsck 0"; CUTS + 1], "{said}");
    let pulled = lines("pull ");
    assert!(pulled.len() == CUTS + 1 && pulled[0].starts_with("pull 0, tree "), "{said}");
    assert!(pulled.iter().all(|line| *line == pulled[0]), "{said}");
}
