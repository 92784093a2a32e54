//! The container's cgroup, which cgctl makes, changes, freezes and removes: it is found beside nsrun, else by PATH.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::document::Cgroup;

/// What is asked of cgctl.
#[derive(Clone, Copy, Debug)]
pub enum Ask<'a> {
    /// Makes it, with `linux.resources`.
    Create(&'a Value),
    Set(&'a Value),
    Stat,
    Freeze,
    Thaw,
    Undo,
}

impl Ask<'_> {
    fn words(self) -> &'static [&'static str] {
        match self {
            Ask::Create(_) => &["create", "--resources", "-"],
            Ask::Set(_) => &["set", "--resources", "-"],
            Ask::Stat => &["stat"],
            Ask::Freeze => &["freeze"],
            Ask::Thaw => &["thaw"],
            Ask::Undo => &["undo", "--kill"],
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Ask::Create(_) => "make",
            Ask::Set(_) => "change",
            Ask::Stat => "measure",
            Ask::Freeze => "freeze",
            Ask::Thaw => "thaw",
            Ask::Undo => "remove",
        }
    }

    fn input(self) -> Option<Vec<u8>> {
        match self {
            Ask::Create(resources) | Ask::Set(resources) => Some(resources.to_string().into_bytes()),
            _ => None,
        }
    }
}

/// Asks it of the cgroup at `cgroups_path` (OCI `linux.cgroupsPath`). What cgctl prints.
///
/// # Errors
/// cgctl's own.
pub fn ask(cgroups_path: &Path, what: Ask) -> Result<Vec<u8>> {
    let path = cgroups_path.as_os_str();
    let mut words = vec!["cgctl".as_ref()];
    words.extend(what.words().iter().map(std::ffi::OsStr::new));
    words.extend(["--cgroups-path".as_ref(), path]);
    stage::shell(&words);
    let ran = run(&words[1..], what.input());
    let ran = ran.with_context(|| format!("cannot {} cgroup {}", what.verb(), cgroups_path.display()))?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr);
        let said = said.trim_end().strip_prefix("cgctl: ").unwrap_or(said.trim_end());
        bail!("cannot {} cgroup {}: cgctl: {said}", what.verb(), cgroups_path.display());
    }
    Ok(ran.stdout)
}

/// Makes the cgroup of a container.
pub fn create(cgroups_path: &Path, resources: &Value) -> Result<Cgroup> {
    #[derive(Deserialize)]
    struct Document {
        cgroup: Cgroup,
    }
    let text = ask(cgroups_path, Ask::Create(resources))?;
    let document: Document = serde_json::from_slice(&text).context("cannot read what cgctl has made")?;
    Ok(document.cgroup)
}

fn run(words: &[&std::ffi::OsStr], stdin: Option<Vec<u8>>) -> Result<Output> {
    let tool = tool();
    let mut command = Command::new(&tool);
    command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().with_context(|| format!("execve {}", tool.display()))?;
    if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take()) {
        // One that fails before it has read says why.
        pipe.write_all(&text).ok();
    }
    child.wait_with_output().context("wait for cgctl")
}

fn tool() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|nsrun| nsrun.with_file_name("cgctl"));
    beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("cgctl"))
}

/// Every process of it and of the groups below it. A group that is gone has none.
pub fn processes(cgroup: &Cgroup) -> Vec<i32> {
    // Each controller has them all; systemd's own hierarchy may be anywhere.
    let mut found = Vec::new();
    for directory in
        cgroup.paths.iter().filter(|(name, _)| name.as_str() != "systemd").map(|(_, path)| path).take(1)
    {
        collect(directory, &mut found);
    }
    found.sort_unstable();
    found
}

fn collect(directory: &Path, found: &mut Vec<i32>) {
    let text = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
        }
    }
}
