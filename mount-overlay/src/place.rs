//! Where everything of a container is, given its id.
//!
//!     RUN_ROOT/mount-overlay/ID/rootfs   the root: a mount point
//!     RUN_ROOT/mount-overlay/ID/tmpfs    with --tmpfs: a mount point; upper and work are in it
//!     ROOT/mount-overlay/ID/upper        what was written to the root
//!     ROOT/mount-overlay/ID/work         the kernel's scratch space for it

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use stage::{Id, Roots};

const TOOL: &str = "mount-overlay";

/// The two directories of this tool.
pub struct Dirs {
    /// Gone with a reboot, as mounts are.
    pub run: PathBuf,
    /// Survives a reboot.
    pub kept: PathBuf,
}

impl Dirs {
    /// Absolute, whatever was typed: the paths go into the document, and the working directory may change.
    pub fn new(roots: &Roots) -> Result<Dirs> {
        Ok(Dirs { run: absolute(&roots.run(TOOL))?, kept: absolute(&roots.kept(TOOL))? })
    }

    pub fn of(&self, id: &Id) -> Place {
        Place { run: self.run.join(id.as_str()), kept: self.kept.join(id.as_str()) }
    }
}

/// The directories of one container.
#[derive(Clone, Debug)]
pub struct Place {
    pub run: PathBuf,
    pub kept: PathBuf,
}

impl Place {
    pub fn rootfs(&self) -> PathBuf {
        self.run.join("rootfs")
    }

    pub fn tmpfs(&self) -> PathBuf {
        self.run.join("tmpfs")
    }
}

pub fn upper(dir: &Path) -> PathBuf {
    dir.join("upper")
}

pub fn work(dir: &Path) -> PathBuf {
    dir.join("work")
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot use directory {}", path.display()))
}
