//! The harness itself: a check that cannot fail checks nothing.

use std::path::Path;

use tests::{Host, bins};

/// A file that no module names is compiled by nobody, and its tests never run.
#[test]
fn every_file_of_tests_is_a_module() {
    fn look(dir: &Path, parent: &Path, forgotten: &mut Vec<String>) {
        let text = std::fs::read_to_string(parent).unwrap();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            if path.is_dir() {
                look(&path, &dir.join(format!("{name}.rs")), forgotten);
            } else if path != parent && !text.lines().any(|line| line == format!("mod {name};")) {
                forgotten.push(path.display().to_string());
            }
        }
    }
    let mut forgotten = Vec::new();
    let dir = bins::workspace().join("tests/tests");
    look(&dir, &dir.join("main.rs"), &mut forgotten);
    assert_eq!(forgotten, Vec::<String>::new());
}

#[test]
fn a_host_is_empty_and_its_own() {
    let host = Host::new();
    host.sh("ip -o link | wc -l; ls /run/netns /var/lib/gocker | wc -l").prints("1\n3");
}

#[test]
fn what_is_left_is_found() {
    for leak in [
        "ip link add leak type bridge",
        "ip netns add leak",
        "mount -t tmpfs leak /mnt",
        "nft add table ip leak",
        "mkdir -p /run/gocker/tool/leak",
        "sleep 1000 & ",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
    ] {
        let host = Host::new();
        let before = host.snapshot();
        host.run(&["sh", "-c", &format!("{{ {leak}\n}} > /dev/null 2>&1")]).ok();
        assert_ne!(host.snapshot(), before, "{leak}");
        host.settled();
    }
}

#[test]
fn a_command_that_runs_can_be_signalled() {
    let host = Host::new();
    let mut running = host.start(&[
        "sh",
        "-c",
        "trap 'echo got it; exit 7' TERM; echo ready; while :; do sleep 0.01; done",
    ]);
    running.wait_for_line("ready");
    running.signal(nix::sys::signal::Signal::SIGTERM);
    let end = running.end();
    assert_eq!((end.code, end.stdout.as_str()), (7, "got it\n"));
}

#[test]
fn what_is_left_frozen_does_not_hold_up_the_end_of_a_host() {
    let host = Host::new();
    let group = format!("--cgroups-path={}/frozen", host.cgroup_parent());
    host.feed(&["cgctl", "create", &group, "--resources=-"], "{}").ok();
    let sleeper = host.start(&["sleep", "1000"]);
    host.run(&["cgctl", "attach", &group, &sleeper.inner_pid("sleep").to_string()]).ok();
    host.run(&["cgctl", "freeze", &group]).ok();
    let parent = host.cgroup_parent();
    drop(host.settled());
    assert_eq!(sleeper.end().code, 137);
    assert!(tests::snapshot::cgroup_dirs(&parent).is_empty());
}
