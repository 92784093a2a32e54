//! What a leak would change: links, addresses, routes, rules, namespaces, mounts, cgroups, files, processes.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::host::Host;

/// One line for each thing on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeSet<String>);

/// Prints a line for each thing. Empty directories down to a tool's own, and lock files, are state that stays.
const LOOK: &str = r#"
ip -o link | sed 's/^[0-9]*: \([^:@]*\).*/link \1/'
ip -o addr | awk '{print "address " $2, $4}'
ip route show table all | sed 's/^/route /; s/ linkdown//'
nft list ruleset | sed 's/^/nft /'
sed 's/^/ip_forward /' /proc/sys/net/ipv4/ip_forward
ls /run/netns 2>/dev/null | sed 's/^/netns /'
awk '{print "mount " $5}' /proc/1/mountinfo
find /run/gocker /var/lib/gocker -mindepth 2 -not -path '/var/lib/gocker/pull/*' -not -name '*lock' -not -name '*.db' 2>/dev/null |
    sed 's/^/file /'
for p in /proc/[0-9]*; do
    read -r name < $p/comm && case $name in sh|cat|nsenter|awk|sed|find|ip|ls|nft|read) ;; *) echo "process $name" ;; esac
done 2>/dev/null
true
"#;

/// Interfaces and rules that stay once the first container has been there, as docker0 does.
fn is_infrastructure(line: &str) -> bool {
    line.starts_with("nft ")
        || line.starts_with("ip_forward")
        || line == "link gocker0"
        || line.starts_with("address gocker0")
        || (line.starts_with("route ") && line.contains("dev gocker0"))
}

impl Snapshot {
    pub fn of(host: &Host) -> Snapshot {
        let mut lines: BTreeSet<String> = host.sh(LOOK).ok().lines().map(str::to_owned).collect();
        lines.extend(cgroup_dirs(&host.cgroup_parent()).into_iter().map(|dir| format!("cgroup {dir}")));
        Snapshot(lines)
    }

    /// The lines that start with this word.
    pub fn of_kind(&self, kind: &str) -> Vec<&str> {
        self.0.iter().filter_map(|line| line.strip_prefix(kind)).map(str::trim).collect()
    }

    /// Waits until the host is as this says; gocker's bridge, rules and forwarding may have come.
    ///
    /// # Errors
    /// It does not become so; the differences.
    pub fn wait_for(&self, host: &Host) -> Result<(), String> {
        self.wait(host, &|line| !is_infrastructure(line))
    }

    /// As [`wait_for`](Snapshot::wait_for), but the bridge, the rules and forwarding must be as they were.
    ///
    /// # Errors
    /// It does not become so; the differences.
    pub fn wait_for_exactly(&self, host: &Host) -> Result<(), String> {
        self.wait(host, &|_| true)
    }

    fn wait(&self, host: &Host, counts: &dyn Fn(&str) -> bool) -> Result<(), String> {
        // The kernel removes a dead namespace's interfaces some milliseconds later; each look takes as long.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let difference = self.difference(&Snapshot::of(host), counts);
            if difference.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(difference);
            }
        }
    }

    fn difference(&self, now: &Snapshot, counts: &dyn Fn(&str) -> bool) -> String {
        let more = now.0.difference(&self.0).filter(|line| counts(line)).map(|line| format!("+ {line}\n"));
        let less = self.0.difference(&now.0).filter(|line| counts(line)).map(|line| format!("- {line}\n"));
        more.chain(less).collect()
    }
}

/// The mount points of all cgroup hierarchies of this machine.
pub fn cgroup_roots() -> Vec<String> {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let cgroup = |line: &&str| line.split_once(" - ").is_some_and(|(_, fs)| fs.starts_with("cgroup"));
    mountinfo.lines().filter(cgroup).map(|line| line.split(' ').nth(4).unwrap().to_owned()).collect()
}

/// Removes the empty groups of test processes that were killed: nothing of them runs in the end, so the next one clears
/// up.
pub fn remove_cgroups_of_the_dead() {
    for root in cgroup_roots() {
        for entry in std::fs::read_dir(&root).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            let owner = name.strip_prefix("gocker-test-").and_then(|rest| rest.split('-').next());
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let mut dirs = vec![entry.path().to_string_lossy().into_owned()];
                below(&entry.path(), &mut dirs);
                // One that something still runs in stays.
                dirs.iter().rev().for_each(|dir| drop(std::fs::remove_dir(dir)));
            }
        }
    }
}

/// Every cgroup below `parent` (itself not counted), parents first.
pub fn cgroup_dirs(parent: &str) -> Vec<String> {
    let mut found = Vec::new();
    for root in cgroup_roots() {
        below(&Path::new(&root).join(&parent[1..]), &mut found);
    }
    found
}

fn below(dir: &Path, found: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        found.push(entry.path().to_string_lossy().into_owned());
        below(&entry.path(), found);
    }
}
