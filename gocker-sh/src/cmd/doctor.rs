//! `doctor`: what this host can and cannot do, with a remedy for each finding.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use stage::Codes;

use crate::cli::Global;
use crate::spawn::Tools;

/// Say what this host can and cannot do for containers
#[derive(clap::Args, Clone, Debug)]
pub struct Doctor {
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// Something can be done less well.
    Warn,
    /// Containers cannot run.
    Fail,
}

/// One thing that was looked at. The id is stable.
#[derive(Debug, Serialize)]
struct Finding {
    id: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

/// Exits with 1 if something fails.
pub fn doctor(global: &Global, options: &Doctor) -> Result<u8> {
    let findings = [
        root(),
        kernel(),
        tools(&Tools::new(global)?),
        overlay(),
        namespaces(),
        cgroup(),
        firewall(),
        seccomp(),
        stores(global),
    ];
    if options.json {
        stage::print_json(&findings)?;
    } else {
        for finding in &findings {
            let word = match finding.verdict {
                Verdict::Ok => "ok",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
            };
            let mut text = format!("{word:<5} {:<11} {}\n", finding.id, finding.found);
            if let Some(remedy) = finding.remedy {
                text += &format!("      {:<11} -> {remedy}\n", "");
            }
            stage::print(&text)?;
        }
    }
    let failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    Ok(if failed { Codes::FAILED } else { 0 })
}

fn finding(
    id: &'static str,
    bad: Verdict,
    good: bool,
    found: impl Into<String>,
    remedy: &'static str,
) -> Finding {
    let verdict = if good { Verdict::Ok } else { bad };
    Finding { id, verdict, found: found.into(), remedy: (!good).then_some(remedy) }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn root() -> Finding {
    let is_root = nix::unistd::geteuid().is_root();
    let found = if is_root { "run as root" } else { "not run as root" };
    finding("root", Verdict::Fail, is_root, found, "use sudo")
}

fn kernel() -> Finding {
    let release = read("/proc/sys/kernel/osrelease").trim_end().to_owned();
    let mut numbers = release.split(['.', '-']).map(|word| word.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    finding("kernel", Verdict::Fail, version >= (5, 8), format!("Linux {release}"), "5.8 or later is needed")
}

fn tools(tools: &Tools) -> Finding {
    let missing: Vec<&str> = ["pull", "mount-overlay", "netns", "cgctl", "nsrun"]
        .into_iter()
        .filter(|tool| tools.path(tool).is_err())
        .collect();
    let found = if missing.is_empty() {
        "all five are there".to_owned()
    } else {
        format!("missing: {}", missing.join(", "))
    };
    finding("tools", Verdict::Fail, missing.is_empty(), found, "put them beside gocker-sh or into PATH")
}

fn overlay() -> Finding {
    let there =
        read("/proc/filesystems").lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay");
    let found = if there { "overlay is there" } else { "the kernel does not know overlay" };
    finding("overlay", Verdict::Fail, there, found, "modprobe overlay")
}

fn namespaces() -> Finding {
    let missing: Vec<&str> = ["mnt", "pid", "net", "uts", "ipc", "cgroup"]
        .into_iter()
        .filter(|name| !Path::new("/proc/self/ns").join(name).exists())
        .collect();
    let found = if missing.is_empty() {
        "all are there".to_owned()
    } else {
        format!("missing: {}", missing.join(", "))
    };
    finding("namespaces", Verdict::Fail, missing.is_empty(), found, "use a kernel that was built with them")
}

fn cgroup() -> Finding {
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let there = |name: &str| {
        if unified {
            read("/sys/fs/cgroup/cgroup.controllers").split_whitespace().any(|word| word == name)
        } else {
            read("/proc/self/mountinfo").lines().any(|line| {
                line.split_once(" - cgroup ")
                    .is_some_and(|(_, right)| right.split([' ', ',']).any(|word| word == name))
            })
        }
    };
    let missing: Vec<&str> = ["memory", "cpu", "pids"].into_iter().filter(|name| !there(name)).collect();
    let version = if unified { "version 2" } else { "version 1" };
    let found = if missing.is_empty() {
        version.to_owned()
    } else {
        format!("{version}, without {}", missing.join(", "))
    };
    finding(
        "cgroup",
        Verdict::Warn,
        missing.is_empty(),
        found,
        "limits of these fail; mount the controllers (cgroup_enable=memory at boot)",
    )
}

fn firewall() -> Finding {
    let policy = std::process::Command::new("iptables").args(["-S", "FORWARD"]).output();
    let drops =
        policy.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("-P FORWARD DROP"));
    let found = if drops {
        "the FORWARD chain drops (docker does that)"
    } else {
        "nothing is known to drop what is forwarded"
    };
    finding(
        "forwarding",
        Verdict::Warn,
        !drops,
        found,
        "iptables -I FORWARD -i gocker0 -j ACCEPT; iptables -I FORWARD -o gocker0 -j ACCEPT",
    )
}

fn seccomp() -> Finding {
    let there = !read("/proc/sys/kernel/seccomp/actions_avail").is_empty();
    let found = if there { "filters are there" } else { "the kernel has no seccomp filters" };
    finding("seccomp", Verdict::Warn, there, found, "use a kernel that was built with CONFIG_SECCOMP_FILTER")
}

/// The writable layers must not lie on an overlay themselves.
fn stores(global: &Global) -> Finding {
    let mut path = global.roots.root.as_path();
    while !path.exists() {
        path = path.parent().unwrap_or(Path::new("/"));
    }
    let kind = rustix::fs::statfs(path).map(|stat| stat.f_type).unwrap_or_default();
    // OVERLAYFS_SUPER_MAGIC of statfs(2).
    let good = kind != 0x794c_7630;
    let found = format!(
        "{} is {}",
        global.roots.root.display(),
        if good { "fit for writable layers" } else { "on an overlay" }
    );
    finding(
        "storage",
        Verdict::Fail,
        good,
        found,
        "put it on another file system: --root DIR, or run with --rootfs / alone",
    )
}
