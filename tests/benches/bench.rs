//! `make bench`: what a container costs, as ratios against Debian's crun, measured in turns in one run.
//!
//! The contestants run on one throwaway host. Absolute figures mean nothing on a shared machine; a ratio of two medians
//! that were taken in turns does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "it removes only what it made")]

#[path = "bench/cgroup.rs"]
mod cgroup;
#[path = "bench/runtime.rs"]
mod runtime;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::{Host, images};

/// How often each contestant of a race runs.
const ROUNDS: usize = 60;
/// Before each run.
const REST: Duration = Duration::from_millis(60);
/// Rounds that are not counted: caches fill, the bridge and the rules are made.
const WARM_UP: usize = 5;

/// Two ways to do the same, and the ratio that the issue asks for.
struct Race {
    what: &'static str,
    ours: &'static [&'static str],
    theirs: &'static [&'static str],
    at_most: f64,
}

const RACES: [Race; 4] = [
    Race {
        what: "run --rm busybox true, bridge network, whole life (crun: prepared bundle, no overlay, no network)",
        ours: &["gocker-sh", "run", "--rm", "busybox", "true"],
        theirs: &["crun", "run", "--bundle", "/run/bundle", "race"],
        at_most: 0.6,
    },
    Race {
        what: "exec true in a running container",
        ours: &["gocker-sh", "exec", "sleeper", "true"],
        theirs: &["crun", "exec", "sleeper", "true"],
        at_most: 0.35,
    },
    Race {
        what: "run of the same bundle, as OCI runtimes",
        ours: &["nsrun", "run", "--bundle", "/run/bundle", "race"],
        theirs: &["crun", "run", "--bundle", "/run/bundle", "race"],
        at_most: 0.5,
    },
    Race {
        what: "exec true in containers of the same bundle, as OCI runtimes",
        ours: &["nsrun", "exec", "box", "true"],
        theirs: &["crun", "exec", "sleeper", "true"],
        at_most: 0.5,
    },
];

/// What the host needs before the races: crun 1.8 refuses a hybrid host, its bundle, and a container of each to exec
/// into.
const PREPARE: &str = r#"
set -e
umount /sys/fs/cgroup/unified 2>/dev/null || true
mkdir -p /run/bundle/rootfs
cp -a "$ROOTFS"/. /run/bundle/rootfs
cd /run/bundle
crun spec
jq '.process.terminal = false | .process.args = ["true"]' config.json > new && mv new config.json
mkdir /run/sleeper
cp -a rootfs /run/sleeper/rootfs
jq '.process.args = ["sleep", "1000"]' config.json > /run/sleeper/config.json
crun run --detach --bundle /run/sleeper sleeper < /dev/null > /dev/null 2>&1
nsrun run --detach --bundle /run/sleeper box < /dev/null > /dev/null 2>&1
"#;

fn main() {
    // On the host the same executable takes the times: nsenter's own start is then no part of them.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("--cgroup") => cgroup::race_on_host(),
        Some("--bare") => cgroup::bare(&arguments[1], &arguments[2]),
        Some("--peak") => runtime::peaks_on_host(),
        Some("--race") => race_on_host(arguments[1].parse().unwrap()),
        _ => on_throwaway_host(),
    }
}

fn on_throwaway_host() {
    let host = Host::with_images();
    let rootfs = std::env::temp_dir().join(format!("gocker-bench-{}", std::process::id()));
    images::busybox_rootfs(&rootfs);
    host.run(&["env", &format!("ROOTFS={}", rootfs.display()), "sh", "-c", PREPARE]).ok();
    std::fs::remove_dir_all(&rootfs).unwrap();
    let mut sleeper = host
        .command(&[
            "gocker-sh",
            "run",
            "--rm",
            "--name",
            "sleeper",
            "busybox",
            "sh",
            "-c",
            "echo up; exec sleep 1000",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0; 3];
    std::io::Read::read_exact(sleeper.stdout.as_mut().unwrap(), &mut up).unwrap();

    if let Ok(script) = std::env::var("AB") {
        print!("{}", host.run(&["sh", "-c", &script]).ok());
        host.run(&["gocker-sh", "rm", "-f", "sleeper"]).ok();
        sleeper.wait().unwrap();
        host.run(&["crun", "delete", "--force", "sleeper"]).ok();
        host.run(&["nsrun", "delete", "--force", "box"]).ok();
        std::mem::forget(host.settled());
        return;
    }
    let this = std::env::current_exe().unwrap();
    for number in 0..RACES.len() {
        print!("{}", host.run(&[this.to_str().unwrap(), "--race", &number.to_string()]).ok());
    }
    runtime::compare(&host);
    cgroup::race(&host);
    println!("\nOne life, stage by stage:");
    let trace = host.run(&["gocker-sh", "--trace", "run", "--rm", "busybox", "true"]);
    println!("{}", trace.stderr);
    host.run(&["gocker-sh", "rm", "-f", "sleeper"]).ok();
    sleeper.wait().unwrap();
    host.run(&["crun", "delete", "--force", "sleeper"]).ok();
    host.run(&["nsrun", "delete", "--force", "box"]).ok();
    // What crun leaves is not ours to check.
    std::mem::forget(host.settled());
}

fn race_on_host(number: usize) {
    let race = &RACES[number];
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        let times = [time(race.ours), time(race.theirs)];
        if round >= WARM_UP {
            ours.push(times[0]);
            theirs.push(times[1]);
        }
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("{}", race.what);
    let verdict = if ratio <= race.at_most { "reached" } else { "MISSED" };
    println!(
        "    {:9} {:6.2} ms   crun {:6.2} ms   ratio {ratio:.2} (aim: {} or less, {verdict})",
        race.ours[0],
        milliseconds(ours),
        milliseconds(theirs),
        race.at_most
    );
}

/// From before the fork until after the wait, on a host that has come to rest, as one has at which a person types: what the
/// last run has left to the kernel (dead namespaces, RCU callbacks) is neither in the way nor of help.
#[expect(clippy::disallowed_methods, reason = "rest is time that passes, there is no event to wait for")]
fn time(argv: &[&str]) -> Duration {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::null());
    std::thread::sleep(REST);
    let begin = Instant::now();
    let status = command.status().unwrap();
    let took = begin.elapsed();
    assert!(status.success(), "{argv:?}: {status}");
    took
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
