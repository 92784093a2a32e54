//! `top`: the processes of a container, as the host's ps(1) shows them.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::each;
use crate::cli::Global;
use crate::lookup;
use crate::record::Record;

/// Show the processes of a container
#[derive(clap::Args, Clone, Debug)]
pub struct Top {
    /// Name or id, then options of ps (else -ef); its columns must have PID among them
    #[arg(
        required = true,
        value_name = "CONTAINER [PS-OPTION]...",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
}

/// Lets ps list every process of the host, and shows those of the container's cgroup.
pub fn top(global: &Global, options: &Top) -> Result<u8> {
    let Some((container, ps)) = options.words.split_first() else { bail!("a container is needed") };
    each(global, std::slice::from_ref(container), |store, id, _| {
        let Some(record) = lookup::started(store, id)? else { bail!("Container {id} is not running") };
        let pids = pids(&record)?;
        let usual = ["-ef".to_owned()];
        let output = Command::new("ps")
            .args(if ps.is_empty() { &usual } else { ps })
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run ps")?;
        if !output.status.success() {
            bail!("cannot list processes: ps failed");
        }
        stage::print(&only(&String::from_utf8_lossy(&output.stdout), &pids)?)
    })
}

/// The container's processes: those of its cgroup, in any of its hierarchies.
pub fn pids(record: &Record) -> Result<BTreeSet<i32>> {
    let document: Value =
        record.document.as_ref().map(|raw| serde_json::from_str(raw.get())).transpose()?.unwrap_or_default();
    let paths = document["cgroup"]["paths"].as_object().cloned().unwrap_or_default();
    let mut pids: BTreeSet<i32> = record.process.iter().map(|process| process.pid).collect();
    for path in paths.values().filter_map(Value::as_str) {
        // A hierarchy that has been unmounted since has nothing to say.
        let text = std::fs::read_to_string(format!("{path}/cgroup.procs")).unwrap_or_default();
        pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    }
    Ok(pids)
}

/// The heading, and the lines of these processes.
fn only(listing: &str, pids: &BTreeSet<i32>) -> Result<String> {
    let heading = listing.lines().next().unwrap_or_default();
    let Some(column) = heading.split_whitespace().position(|word| word == "PID") else {
        bail!("Couldn't find PID field in ps output");
    };
    let is_ours = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse::<i32>().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    let lines = std::iter::once(heading).chain(listing.lines().skip(1).filter(is_ours));
    Ok(lines.map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_of_the_pid_is_found() {
        let listing = "UID PID CMD\nroot 1 init\nroot 12 a b\n";
        assert_eq!(only(listing, &[12].into()).unwrap(), "UID PID CMD\nroot 12 a b\n");
        assert!(only("UID CMD\n", &[1].into()).is_err());
    }
}
