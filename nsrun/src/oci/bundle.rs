//! The bundle: a directory with `config.json` (runtime-spec, bundle.md).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use oci_spec::runtime::Spec;
use serde_json::Value;

use crate::container::hooks::Kind;
use crate::json;

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

/// Reads and checks it. From then on this process works in the bundle: relative paths of the configuration begin there.
pub fn load(dir: &Path) -> Result<Loaded> {
    let context = || format!("cannot read bundle {}", dir.display());
    let dir = dir.canonicalize().with_context(context)?;
    let path = dir.join("config.json");
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let context = || format!("cannot use {}", path.display());
    let (mut spec, resources) = read(&text).with_context(context)?;
    check(&spec).with_context(context)?;
    if let Some(root) = spec.root_mut() {
        let path = dir.join(root.path());
        root.set_path(path);
    }
    rustix::process::chdir(&dir).with_context(|| format!("cannot work in {}", dir.display()))?;
    Ok(Loaded { spec, dir, resources })
}

/// The configuration, and apart from it `linux.resources`.
fn read(text: &[u8]) -> Result<(Spec, Option<Value>)> {
    let mut all: Value = serde_json::from_slice(text)?;
    let linux = all.get_mut("linux").and_then(Value::as_object_mut);
    let resources = linux.and_then(|linux| linux.remove("resources"));
    // The types do not know it: it would be lost without a word.
    ensure!(all.get("freebsd").is_none_or(Value::is_null), "freebsd: this is Linux");
    Ok((json::shape(all)?, resources.filter(|resources| !resources.is_null())))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths of all values in it.
    fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                object.iter().for_each(|(key, value)| paths(value, &format!("{at}.{key}"), found));
            }
            Value::Array(array) => array.iter().for_each(|value| paths(value, at, found)),
            _ => found.push(at.to_owned()),
        }
    }

    /// Every field that the specification (1.3.0) has for Linux but those of `linux.resources`, which are cgctl's.
    #[test]
    fn no_field_of_the_specification_is_lost_in_the_types() {
        let text = include_str!("every_field.json");
        let (mut given, mut kept) = (Vec::new(), Vec::new());
        paths(&serde_json::from_str(text).unwrap(), "", &mut given);
        paths(&serde_json::to_value(read(text.as_bytes()).unwrap().0).unwrap(), "", &mut kept);
        given.retain(|path| !kept.contains(path));
        assert!(given.is_empty(), "{given:?}");
    }

    #[test]
    fn an_error_names_its_place() {
        let of = |text: &str| format!("{:#}", read(text.as_bytes()).unwrap_err());
        let place = of(r#"{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_NIL"}}}"#);
        assert!(place.starts_with("linux.seccomp.defaultAction: unknown variant `SCMP_ACT_NIL`"), "{place}");
        let place = of(r#"{"process": {"cwd": "/", "user": {"uid": -1}}}"#);
        assert!(place.starts_with("process.user.uid: invalid value: integer `-1`"), "{place}");
        assert_eq!(of("{"), "EOF while parsing an object at line 1 column 1");
        assert_eq!(of(r#"{"freebsd": {}}"#), "freebsd: this is Linux");
    }
}
