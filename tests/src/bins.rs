//! The binaries under test: built here and now, so that no stale one is ever tested.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The workspace's directory.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The directory that holds the six binaries: `GOCKER_BIN_DIR`, else what a release build now gives.
pub fn dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| match std::env::var_os("GOCKER_BIN_DIR") {
        Some(dir) => std::path::absolute(dir).unwrap(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--bins", "--workspace"])
        .current_dir(workspace())
        .status()
        .unwrap();
    assert!(status.success(), "cargo build: {status}");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    target.join("x86_64-unknown-linux-gnu/release")
}

/// Where the harness keeps what is costly to make, across runs.
pub fn cache() -> PathBuf {
    let dir = workspace().join("target/test-cache");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
