//! What `create` takes of memory at its peak, against crun on the same bundle; and that nothing of nsrun's stays beside a
//! container that runs.

use std::process::{Command, Stdio};

use tests::Host;

const AIM: f64 = 1.0;
/// Of each; the figure hardly varies.
const RUNS: usize = 5;

pub fn compare(host: &Host) {
    let this = std::env::current_exe().unwrap();
    print!("{}", host.run(&[this.to_str().unwrap(), "--peak"]).ok());
    // One container of each runs by now, detached.
    let left = host.sh("ps -eo args= | grep -c -e '^nsrun run' -e '^cgctl'; true").ok();
    println!("processes of nsrun's beside its running container: {}", left.trim());
}

/// On the host.
pub fn peaks_on_host() {
    let [ours, theirs] = ["nsrun", "crun"].map(|runtime| {
        let mut peaks: Vec<u64> = (0..RUNS).map(|_| peak(runtime)).collect();
        peaks.sort_unstable();
        peaks[RUNS / 2]
    });
    #[expect(clippy::cast_precision_loss, reason = "kibibytes")]
    let ratio = ours as f64 / theirs as f64;
    let verdict = if ratio <= AIM { "reached" } else { "MISSED" };
    println!("create of a bundle, peak memory");
    println!(
        "    nsrun {ours:6} KiB   crun {theirs:6} KiB   ratio {ratio:.2} (aim: {AIM} or less, {verdict})"
    );
}

/// VmHWM of `RUNTIME create`, in KiB. strace holds it up where it ends, so that the last look sees the highest mark; what a
/// parent learns by wait4(2) would count the parent's own memory from before execve(2).
fn peak(runtime: &str) -> u64 {
    let mut strace = Command::new("strace")
        .args([
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=exit_group",
            "-e",
            "inject=exit_group:delay_enter=200000",
        ])
        .args([runtime, "create", "--bundle", "/run/bundle", "peak"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", strace.id());
    let mut highest = 0;
    let status = loop {
        let pid = std::fs::read_to_string(&children).unwrap_or_default();
        let text = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap_or_default();
        let field =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
        if field("Name:") == Some(runtime) {
            highest = highest.max(field("VmHWM:").map_or(0, |kib| kib.parse().unwrap()));
        }
        if let Some(status) = strace.try_wait().unwrap() {
            break status;
        }
    };
    assert!(status.success(), "{runtime}: {status}");
    let deleted = Command::new(runtime).args(["delete", "--force", "peak"]).status().unwrap();
    assert!(deleted.success(), "{runtime}: {deleted}");
    highest
}
