//! What the tools are made of: which crates may be in which tool, and under which licences.

use std::collections::BTreeSet;
use std::process::Command;

use tests::bins;

/// The licences that may be linked into the tools.
const LICENCES: [&str; 10] = [
    "MIT",
    "Apache-2.0",
    "ISC",
    "BSD-3-Clause",
    "BSD-2-Clause",
    "Zlib",
    "Unicode-3.0",
    "0BSD",
    "CDLA-Permissive-2.0",
    "Unlicense",
];

/// HTTP, TLS and an asynchronous runtime are pull's alone.
const PULL_ONLY: [&str; 6] = ["tokio", "reqwest", "hyper", "rustls", "ring", "zstd"];

/// The crates that are linked into a tool, one `name version (licence)` a line.
fn tree(tool: &str, format: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--package",
            tool,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            format,
        ])
        .current_dir(bins::workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn no_tool_but_pull_has_a_runtime_or_a_network_client() {
    for tool in ["mount-overlay", "netns", "cgctl", "nsrun", "gocker-sh"] {
        let crates: BTreeSet<String> =
            tree(tool, "{p}").iter().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
        assert!(crates.contains("stage"), "{tool}: {crates:?}");
        for forbidden in PULL_ONLY {
            assert!(!crates.contains(forbidden), "{tool} is linked with {forbidden}");
        }
        for other in ["pull", "mount-overlay", "netns", "cgctl", "nsrun", "gocker-sh"] {
            assert!(other == tool || !crates.contains(other), "{tool} is linked with {other}");
        }
    }
}

#[test]
fn every_licence_is_on_the_list() {
    for tool in ["pull", "mount-overlay", "netns", "cgctl", "nsrun", "gocker-sh"] {
        for line in tree(tool, "{p}|{l}") {
            let (package, licence) = line.split_once('|').unwrap();
            // One of several alternatives is enough; of those that all apply, each must be on the list.
            let alternatives = licence.split(" OR ").flat_map(|part| part.split('/'));
            let allowed = alternatives.into_iter().any(|part| {
                part.trim_matches(['(', ')', ' '])
                    .split(" AND ")
                    .all(|one| LICENCES.contains(&one.trim_matches(['(', ')', ' '])))
            });
            assert!(allowed, "{package}: {licence:?}");
        }
    }
}

#[test]
fn no_crate_is_linked_in_two_versions() {
    let mut packages = BTreeSet::new();
    for tool in ["pull", "mount-overlay", "netns", "cgctl", "nsrun", "gocker-sh"] {
        for line in tree(tool, "{p}") {
            let mut words = line.split(' ').map(str::to_owned);
            packages.insert((words.next().unwrap(), words.next().unwrap()));
        }
    }
    let names: Vec<&String> = packages.iter().map(|(name, _)| name).collect();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    // syn is there twice for procedural macros, which are not linked; cargo tree shows them all the same.
    let twice: Vec<_> = twice.into_iter().filter(|name| *name != "syn").collect();
    assert!(twice.is_empty(), "{twice:?}");
}
