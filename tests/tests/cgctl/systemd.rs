//! Where systemd manages the cgroups. `guest::with_systemd` runs these, in a virtual machine in which it does: on the
//! machine itself, as systemd is the host's and no throwaway one's.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tests::bins;

const CGROUPS: &str = "/sys/fs/cgroup";
const UNIT: &str = "/sys/fs/cgroup/system.slice/gocker.service";
/// What somebody sets, not what the kernel counts.
const SETTINGS: [&str; 8] = [
    "cgroup.subtree_control",
    "cgroup.type",
    "cgroup.freeze",
    "cpu.max",
    "cpu.weight",
    "memory.high",
    "memory.max",
    "pids.max",
];

/// The unit is the machine's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static UNIT: Mutex<()> = Mutex::new(());
    UNIT.lock().unwrap_or_else(PoisonError::into_inner)
}

macro_rules! only_where_systemd_is {
    () => {
        if !Path::new("/run/systemd/system").is_dir() {
            tests::skip!("systemd does not manage this machine");
        }
    };
}

fn run(words: &[&str]) -> Output {
    Command::new(words[0]).args(&words[1..]).output().unwrap()
}

/// Runs cgctl with a run root of the test's own; what it prints, and what it says.
fn cgctl(name: &str, words: &[&str]) -> (String, String) {
    let output = Command::new(bins::dir().join("cgctl"))
        .args(words)
        .env("GOCKER_RUN_ROOT", format!("/run/gocker-{name}"))
        .env_remove("GOCKER_CGROUP_PARENT")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "cgctl {words:?}: {said}");
    (String::from_utf8(output.stdout).unwrap(), said)
}

fn create(name: &str, words: &[&str]) -> Value {
    serde_json::from_str(&cgctl(name, &[&["create"], words].concat()).0).unwrap()
}

fn is_active() -> bool {
    run(&["systemctl", "is-active", "--quiet", "gocker.service"]).status.success()
}

/// Each setting of each group that is systemd's.
fn systemds() -> BTreeMap<String, String> {
    let dirs = run(&["find", CGROUPS, "-type", "d", "-not", "-path", &format!("{UNIT}*")]);
    let mut all = BTreeMap::new();
    for dir in String::from_utf8(dirs.stdout).unwrap().lines() {
        for name in SETTINGS {
            let file = format!("{dir}/{name}");
            if let Ok(text) = std::fs::read_to_string(&file) {
                all.insert(file, text);
            }
        }
    }
    assert!(all.keys().any(|file| file.starts_with("/sys/fs/cgroup/init.scope/")), "{all:?}");
    all
}

#[test]
fn a_group_is_in_a_delegated_unit_and_nothing_else_of_systemd_changes() {
    only_where_systemd_is!();
    let _one_unit = alone();
    let before = systemds();
    let (first, said) = cgctl("unit", &["-v", "create"]);
    assert!(said.contains("systemd-run --quiet"), "{said}");
    let first: Value = serde_json::from_str(&first).unwrap();
    let id = first["id"].as_str().unwrap();
    assert_eq!(first["cgroup"]["unit"], "gocker.service");
    assert_eq!(first["cgroup"]["cgroupsPath"], format!("/system.slice/gocker.service/{id}"));
    assert!(is_active());
    let shown = run(&["systemctl", "show", "-p", "Delegate", "--value", "gocker.service"]);
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), "yes");

    // With the unit there, what systemd has set is the same to the byte, whatever cgctl does.
    let running = systemds();
    let second = create("unit", &["-m", "64m", "--cpus", "0.5", "--pids-limit", "20"]);
    let dir = second["cgroup"]["paths"][""].as_str().unwrap().to_owned();
    let second = second["id"].as_str().unwrap();
    for (name, expected) in [("memory.max", "67108864"), ("cpu.max", "50000 100000"), ("pids.max", "20")] {
        assert_eq!(std::fs::read_to_string(format!("{dir}/{name}")).unwrap().trim(), expected);
    }
    let (inside, _) = cgctl("unit", &["exec", second, "--", "cat", "/proc/self/cgroup"]);
    assert_eq!(inside, format!("0::/system.slice/gocker.service/{second}\n"));
    let tree = run(&["systemd-cgls", "--no-pager", "--unit", "gocker.service"]);
    assert!(String::from_utf8_lossy(&tree.stdout).contains("keeper"), "{tree:?}");
    cgctl("unit", &["undo", second]);
    assert!(is_active(), "the first is still there");
    assert_eq!(systemds(), running);

    cgctl("unit", &["undo", id]);
    assert!(!is_active());
    assert!(!Path::new(UNIT).exists());
    // systemd itself may hand down more than before; what it limits is as it was.
    let after = systemds();
    let changed = before.iter().filter(|(file, text)| {
        !file.ends_with("subtree_control") && after.get(*file).is_some_and(|now| now != *text)
    });
    assert_eq!(changed.collect::<Vec<_>>(), Vec::<(&String, &String)>::new());
}

#[test]
fn a_create_that_fails_stops_the_unit_that_it_started() {
    only_where_systemd_is!();
    let _one_unit = alone();
    let output = Command::new(bins::dir().join("cgctl"))
        .args(["-v", "create", "--set", "memory.max=nonsense"])
        .env("GOCKER_RUN_ROOT", "/run/gocker-fails")
        .env_remove("GOCKER_CGROUP_PARENT")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("systemd-run --quiet"), "{said}");
    assert!(!is_active() && !Path::new(UNIT).exists(), "{said}");
}

#[test]
fn gc_stops_the_unit_that_a_killed_cgctl_has_left() {
    only_where_systemd_is!();
    let _one_unit = alone();
    let killed = Command::new("strace")
        .args(["-o", "/dev/null", "-e", "inject=renameat2:signal=KILL"])
        .arg(bins::dir().join("cgctl"))
        .arg("create")
        .env("GOCKER_RUN_ROOT", "/run/gocker-killed")
        .env_remove("GOCKER_CGROUP_PARENT")
        .output()
        .unwrap();
    assert!(killed.stdout.is_empty() && is_active(), "{killed:?}");
    let removed: Vec<String> = serde_json::from_str(&cgctl("killed", &["gc"]).0).unwrap();
    assert_eq!(removed.len(), 1);
    assert!(!is_active() && !Path::new(UNIT).exists());
}
