//! The two state roots: what survives a reboot, and what does not.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// `--run-root`, for a tool that keeps nothing across a reboot.
#[derive(Clone, Debug, clap::Args)]
pub struct RunRoot {
    /// Directory of what is gone after a reboot
    #[arg(long, value_name = "DIR", env = "GOCKER_RUN_ROOT", default_value = "/run/gocker", global = true)]
    pub run_root: PathBuf,
}

/// `--root` and `--run-root`.
#[derive(Clone, Debug, clap::Args)]
pub struct Roots {
    /// Directory of what survives a reboot
    #[arg(long, value_name = "DIR", env = "GOCKER_ROOT", default_value = "/var/lib/gocker", global = true)]
    pub root: PathBuf,
    #[command(flatten)]
    pub run: RunRoot,
}

impl RunRoot {
    /// The directory of `tool` below the run root; not made.
    pub fn of(&self, tool: &str) -> PathBuf {
        self.run_root.join(tool)
    }
}

impl Roots {
    /// What the environment says, for a process that has no command line of its own to read.
    pub fn from_environment() -> Roots {
        let of = |name: &str, usual: &str| {
            std::env::var_os(name).map_or_else(|| PathBuf::from(usual), PathBuf::from)
        };
        let run = RunRoot { run_root: of("GOCKER_RUN_ROOT", "/run/gocker") };
        Roots { root: of("GOCKER_ROOT", "/var/lib/gocker"), run }
    }

    /// The directory of `tool` below the root that survives; not made.
    pub fn kept(&self, tool: &str) -> PathBuf {
        self.root.join(tool)
    }

    /// The directory of `tool` below the run root; not made.
    pub fn run(&self, tool: &str) -> PathBuf {
        self.run.of(tool)
    }
}

/// Makes `path` and what is missing above it, for root alone: below it lie files that a container's setuid
/// programs must not be reachable through by other users of the host (CVE-2021-41091).
pub fn make_private_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make directory {}: mkdir", path.display()))
}
