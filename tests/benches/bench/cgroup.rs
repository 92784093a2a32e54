//! A group with three limits and a process attached to it: cgctl against bare mkdir(2) and write(2), done by a program
//! that does nothing else (this executable, called again). Both are two processes: one makes, one attaches.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tests::{Host, snapshot};

use super::{REST, ROUNDS, WARM_UP, median, milliseconds};

const AIM: f64 = 1.2;
const ID: &str = "bebe00000000000000000000000000000000000000000000000000000000bebe";

/// As cgctl sets them: -m 64m --cpus 0.5 --pids-limit 20.
const V1: [(&str, &[(&str, &str)]); 5] = [
    ("memory", &[("memory.limit_in_bytes", "67108864"), ("memory.memsw.limit_in_bytes", "134217728")]),
    ("cpu", &[("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000")]),
    ("pids", &[("pids.max", "20")]),
    ("cpuacct", &[]),
    ("freezer", &[]),
];
const V2: [(&str, &[(&str, &str)]); 1] = [(
    "",
    &[
        ("memory.max", "67108864"),
        ("memory.swap.max", "67108864"),
        ("cpu.max", "50000 100000"),
        ("pids.max", "20"),
    ],
)];

/// Each directory with the files that are written in it.
fn places() -> Vec<(String, &'static [(&'static str, &'static str)])> {
    let roots = snapshot::cgroup_roots();
    let v1 = V1.iter().filter_map(|(controller, files)| {
        let root = roots.iter().find(|root| root.rsplit('/').next() == Some(controller))?;
        Some((format!("{root}/bench/bare"), *files))
    });
    let v1: Vec<_> = v1.collect();
    if v1.is_empty() {
        V2.iter().map(|(_, files)| (format!("{}/bench/bare", roots[0]), *files)).collect()
    } else {
        v1
    }
}

/// The other contestant.
pub fn bare(what: &str, pid: &str) {
    for (dir, files) in places() {
        match what {
            "make" => {
                std::fs::create_dir(&dir).unwrap();
                for (file, value) in files {
                    std::fs::write(format!("{dir}/{file}"), value).unwrap();
                }
            }
            "attach" => std::fs::write(format!("{dir}/cgroup.procs"), pid).unwrap(),
            _ => std::fs::remove_dir(&dir).unwrap(),
        }
    }
}

/// Prints one line.
pub fn race(host: &Host) {
    let this = std::env::current_exe().unwrap();
    print!("{}", host.run(&[this.to_str().unwrap(), "--cgroup"]).ok());
}

#[expect(clippy::disallowed_methods, reason = "rest is time that passes, there is no event to wait for")]
pub fn race_on_host() {
    let parents: Vec<String> = places().iter().map(|(dir, _)| dir.replace("/bare", "")).collect();
    parents.iter().for_each(|dir| std::fs::create_dir_all(dir).unwrap());
    let this = std::env::current_exe().unwrap();
    let this = this.to_str().unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        std::thread::sleep(REST);
        let pid = sleeper();
        let number = pid.id().to_string();
        let first = time(&[
            &["cgctl", "--cgroup-parent=/bench", "-m64m", "--cpus=0.5", "--pids-limit=20", "--id", ID],
            &["cgctl", "--cgroup-parent=/bench", "attach", ID, &number],
        ]);
        end(pid);
        run(&["cgctl", "undo", "--kill", ID]);
        std::thread::sleep(REST);
        let pid = sleeper();
        let number = pid.id().to_string();
        let second = time(&[&[this, "--bare", "make", "0"], &[this, "--bare", "attach", &number]]);
        end(pid);
        run(&[this, "--bare", "remove", "0"]);
        if round >= WARM_UP {
            ours.push(first);
            theirs.push(second);
        }
    }
    parents.iter().for_each(|dir| std::fs::remove_dir(dir).unwrap());
    let (ours, theirs) = (median(ours), median(theirs));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    let verdict = if ratio <= AIM { "reached" } else { "MISSED" };
    println!(
        "a group with three limits, and a process attached (bare: mkdir and writes by a minimal program)"
    );
    println!(
        "    cgctl {:6.2} ms   bare {:6.2} ms   ratio {ratio:.2} (aim: {AIM} or less, {verdict})",
        milliseconds(ours),
        milliseconds(theirs)
    );
}

fn sleeper() -> Child {
    Command::new("sleep").arg("1000").spawn().unwrap()
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn run(argv: &[&str]) {
    let status =
        Command::new(argv[0]).args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{argv:?}: {status}");
}

fn time(commands: &[&[&str]]) -> Duration {
    let begin = Instant::now();
    commands.iter().for_each(|argv| run(argv));
    begin.elapsed()
}
