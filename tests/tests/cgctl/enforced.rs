//! What the limits do: workloads under each of them, and the kernel's own accounting of it beside what was asked for.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{Disk, Host};

use super::{TOOL, create, text, undo};

fn stat(host: &Host, id: &str) -> Value {
    host.run(&[TOOL, "stat", id]).json()
}

/// Within 2 % over 10 s.
#[test]
fn cpu_time_is_the_quota() {
    let host = Host::new();
    // What else this machine does must not take the time that the quota allows: all weight on this side.
    let document = create(&host, &["--cpu-quota=4000", "--cpu-period=20000", "-c262144"]);
    let id = text(&document, "/id");
    host.run(&[TOOL, "set", &format!("--cgroups-path={}", host.cgroup_parent()), "-c262144"]).ok();
    let mut busy = host.start(&[TOOL, "exec", id, "--", "sh", "-c", "echo up; while :; do :; done"]);
    busy.wait_for_line("up");
    let usage = || (Instant::now(), stat(&host, id)["cpu"]["usageUsec"].as_u64().unwrap());
    let (begin, before) = usage();
    host.run(&["sleep", "10"]).ok();
    let (end, after) = usage();
    let asked = (end - begin).as_secs_f64() * 0.2;
    let had = Duration::from_micros(after - before).as_secs_f64();
    // The processor of an emulated machine does not always get the time that it counts.
    let least = if tests::in_guest() { 0.3 } else { 0.98 };
    assert!((least..=1.02).contains(&(had / asked)), "{had} s of {asked} s");
    host.run(&[TOOL, "undo", "--kill", id]).ok();
    busy.end();
}

/// To the page, apart from what each cpu takes from the limit in advance (MEMCG_CHARGE_BATCH, mm/memcontrol.c).
#[test]
fn memory_ends_at_the_limit() {
    const LIMIT: u64 = 32 << 20;
    let host = Host::new();
    let document = create(&host, &["-m", &LIMIT.to_string(), "--memory-swap", &LIMIT.to_string()]);
    let id = text(&document, "/id");
    host.run(&[TOOL, "exec", id, "--", "python3", "-c", "bytearray(100 << 20)"]).code(137);
    let memory = &stat(&host, id)["memory"];
    let peak = memory["peak"].as_u64().unwrap();
    let in_advance = 64 * 4096 * std::thread::available_parallelism().unwrap().get() as u64;
    assert!(peak <= LIMIT && LIMIT - peak <= in_advance, "{memory}");
    undo(&host, &document);
}

/// Within 10 %, from a disk that the kernel can slow down: a loop device.
#[test]
fn io_has_the_rate_that_was_asked_for() {
    const RATE: u64 = 1 << 20;
    let host = Host::new();
    let Some(disk) = Disk::new(&host) else { tests::skip!("there is no loop device") };
    let device = &disk.path;
    let document = create(&host, &[&format!("--device-read-bps={device}:{RATE}")]);
    let id = text(&document, "/id");
    let read = |count: u64| {
        let begin = Instant::now();
        let count = format!("count={count}");
        let words =
            ["dd", &format!("if={device}"), "of=/dev/null", "iflag=direct", "bs=64k", &count, "status=none"];
        host.run(&[&[TOOL, "exec", id, "--"], &words[..]].concat()).ok();
        begin.elapsed().as_secs_f64()
    };
    // The first slice is free (blk-throttle counts in slices of 0.1 s), and so is the start of dd: a difference of two.
    let took = read(16 + 48) - read(16);
    let asked = 3.0;
    let tolerance = if tests::in_guest() { 0.4 } else { 0.1 };
    assert!((took / asked - 1.0).abs() <= tolerance, "{took} s instead of {asked} s");
    undo(&host, &document);
}

#[test]
fn a_thousand_lives_leave_nothing() {
    let host = Host::new();
    // Eight at a time; the processes are the shell's own children, so that it reaps them. Fewer under emulation.
    let each = if tests::in_guest() { 10 } else { 125 };
    let life = "for i in $(seq $2); do
            sleep 1000 & id=$(printf '%032x%032x' $1 $i)
            cgctl --pids-limit=5 --id $id > /dev/null && cgctl attach $id $! && cgctl undo --kill $id || echo failed
            wait $!
        done";
    host.sh(&format!("for n in $(seq 8); do (set -- $n {each}; {life}) & done; wait")).prints("");
    host.assert_clean();
}
