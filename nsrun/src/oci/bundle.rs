//! The bundle: a directory with `config.json` (runtime-spec, bundle.md).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use oci_spec::runtime::Spec;
use serde::Deserialize;
use serde_json::Value;

use crate::container::hooks::Kind;

/// A configuration, ready to be executed.
#[derive(Debug)]
pub struct Loaded {
    /// Its root is an absolute path.
    pub spec: Spec,
    /// Absolute.
    pub dir: PathBuf,
    /// `linux.resources` as it is written: what is in it, cgctl knows.
    pub resources: Option<Value>,
}

#[derive(Deserialize)]
struct Limits {
    linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Linux {
    resources: Option<Value>,
}

/// Reads and checks it. From then on this process works in the bundle: relative paths of the configuration begin there.
pub fn load(dir: &Path) -> Result<Loaded> {
    let context = || format!("cannot read bundle {}", dir.display());
    let dir = dir.canonicalize().with_context(context)?;
    let path = dir.join("config.json");
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let context = || format!("cannot use {}", path.display());
    let mut spec: Spec = serde_json::from_slice(&text).with_context(context)?;
    let limits: Limits = serde_json::from_slice(&text).with_context(context)?;
    check(&spec).with_context(context)?;
    if let Some(root) = spec.root_mut() {
        let path = dir.join(root.path());
        root.set_path(path);
    }
    rustix::process::chdir(&dir).with_context(|| format!("cannot work in {}", dir.display()))?;
    Ok(Loaded { spec, dir, resources: limits.linux.and_then(|linux| linux.resources) })
}

/// What the life of a container needs; what the core needs, it checks itself.
fn check(spec: &Spec) -> Result<()> {
    let version = spec.version();
    if version.split('.').next() != Some("1") {
        bail!("ociVersion: {version:?} is not of the 1.x that nsrun knows");
    }
    ensure!(spec.root().is_some(), "root: it is missing");
    let process = spec.process().as_ref().context("process: it is missing")?;
    ensure!(process.args().as_ref().is_some_and(|args| !args.is_empty()), "process.args: it is empty");
    ensure!(process.cwd().is_absolute(), "process.cwd: {:?} is not absolute", process.cwd());
    let Some(hooks) = spec.hooks() else { return Ok(()) };
    for kind in Kind::ALL {
        for hook in kind.of(hooks) {
            let name = kind.name();
            ensure!(hook.path().is_absolute(), "hooks.{name}: {:?} is not absolute", hook.path());
            ensure!(
                hook.timeout().is_none_or(|seconds| seconds > 0),
                "hooks.{name}: timeout is not positive"
            );
        }
    }
    Ok(())
}
