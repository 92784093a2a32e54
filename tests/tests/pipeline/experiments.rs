//! The three experiments of the article that gocker goes back to: cpu, processes, memory.

use tests::Host;

use super::cgroup_files;

/// CPU time that the process has had, in clock ticks (a hundredth of a second): proc_pid_stat(5), utime and stime.
fn ticks(pid: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_fifth_of_a_core_is_shared_by_run_and_exec() {
    let host = Host::with_images();
    let busy = "print('up', flush=True)\nwhile True: pass";
    let mut first = host.start(&[
        "gocker-sh",
        "run",
        "--rm",
        "--name",
        "busy",
        "--cpus=0.2",
        "python",
        "python3",
        "-c",
        busy,
    ]);
    first.wait_for_line("up");
    let mut second = host.start(&["gocker-sh", "exec", "busy", "python3", "-c", busy]);
    second.wait_for_line("up");

    let tasks = std::fs::read_to_string(&cgroup_files(&host)["cgroup.procs"]).unwrap();
    let pids: Vec<&str> = tasks.lines().collect();
    assert_eq!(pids.len(), 2, "both are in the container's cgroup");
    let before: Vec<u64> = pids.iter().map(|pid| ticks(pid)).collect();
    host.run(&["sleep", "10"]).ok();
    // Ten seconds have 1000 ticks: ten of them are one per cent of a core.
    let shares: Vec<f64> =
        pids.iter().zip(before).map(|(pid, before)| (ticks(pid) - before) as f64 / 10.0).collect();
    assert!(shares.iter().all(|share| (8.0..=12.0).contains(share)), "{shares:?}");
    assert!((18.0..=22.0).contains(&shares.iter().sum::<f64>()), "{shares:?}");

    host.run(&["gocker-sh", "rm", "-f", "busy"]).ok();
    assert_eq!((first.end().code, second.end().code), (137, 137));
}

#[test]
fn fork_fails_at_the_limit_and_only_the_containers_processes_count() {
    let host = Host::with_images();
    let run =
        |pids: &str, command: &[&str]| host.run(&[&["gocker-sh", "run", "--rm", pids], command].concat());
    run("--pids=1", &["busybox", "true"]).ok();
    run("--pids=1", &["busybox", "sh", "-c", "echo a shell that forks nothing"]).ok();
    run("--pids=2", &["busybox", "sh", "-c", "/bin/true; /bin/true; echo one at a time"]).ok();
    let fork = "
import os, sys
count = 1
try:
    while True:
        if os.fork() == 0:
            os.pause() if hasattr(os, 'pause') else sys.stdin.read()
            os._exit(0)
        count += 1
except BlockingIOError:
    print(count, flush=True)
    os._exit(0)
";
    for limit in [1, 2, 10, 33] {
        let output = host.feed(
            &["gocker-sh", "run", "--rm", "-i", &format!("--pids={limit}"), "python", "python3", "-c", fork],
            "",
        );
        output.prints(&limit.to_string());
    }
}

#[test]
fn memory_is_there_up_to_the_limit() {
    let host = Host::with_images();
    let eat = |mebibytes: u32| {
        let script = format!("x = bytearray({mebibytes} << 20); print('survived')");
        let words = ["run", "--name", "eater", "--mem=128", "--swap=0", "python", "python3", "-c", &script];
        let output = host.run(&[&["gocker-sh"], &words[..]].concat());
        let killed = host.run(&["gocker-sh", "ps", "-a", "--json"]).json()[0]["oomKilled"].clone();
        host.run(&["gocker-sh", "rm", "eater"]).ok();
        (output, killed)
    };
    // python's own footprint, some 10 MiB, comes on top.
    let (output, killed) = eat(100);
    assert_eq!(
        (output.code, output.stdout.as_str(), killed),
        (0, "survived\n", false.into()),
        "{}",
        output.stderr
    );
    let (output, killed) = eat(126);
    assert_eq!((output.code, output.stdout.as_str(), killed), (137, "", true.into()));
    assert_eq!(
        output.stderr,
        "gocker-sh: out of memory: the kernel killed a process at the container's memory limit of 128 MiB\n"
    );
}
