//! `ps`: the processes of a container, as the host numbers them.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::options::{Format, PsOptions};
use super::{cgroup, find};
use crate::record::StateRoot;

pub fn ps(roots: &StateRoot, options: &PsOptions) -> Result<()> {
    let id = &options.id.0;
    let (_, state) = find(roots, id, "list the processes of")?;
    let group = state.cgroup.as_ref();
    let pids = cgroup::processes(group.with_context(|| format!("container {id} has no cgroup of its own"))?);
    match options.format {
        Format::Json => stage::print_json(&pids),
        Format::Table => table(&pids, &options.ps),
    }
}

/// What ps(1) says of them: the lines of all processes that have one of these numbers where the heading has PID.
fn table(pids: &[i32], options: &[String]) -> Result<()> {
    let default = ["-ef".to_owned()];
    let options = if options.is_empty() { &default } else { options };
    let output = Command::new("ps").args(options).output().context("cannot list processes: execve ps")?;
    if !output.status.success() {
        bail!("cannot list processes: ps: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let heading = lines.next().unwrap_or_default();
    let column = heading.split_whitespace().position(|word| word == "PID");
    let column = column.context("cannot list processes: ps prints no column PID")?;
    let ours = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    let shown: Vec<&str> = std::iter::once(heading).chain(lines.filter(ours)).collect();
    stage::print(&(shown.join("\n") + "\n"))
}
