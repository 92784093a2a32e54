//! One stage by itself: asks it something and reads the answer, or lets it speak for itself.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use crate::spawn::Tools;

/// What a stage prints as JSON. Its own messages go to stderr.
pub fn json<T: DeserializeOwned>(tools: &Tools, tool: &str, arguments: &[&str]) -> Result<T> {
    let mut command = command(tools, tool, arguments)?;
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {tool}"))?;
    if !output.status.success() {
        bail!("{tool} {} failed", arguments.join(" "));
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("cannot read what {tool} {} prints", arguments.join(" ")))
}

/// Lets a stage do something, its output being ours. Its exit code.
pub fn code(tools: &Tools, tool: &str, arguments: &[&str]) -> Result<u8> {
    let status = command(tools, tool, arguments)?
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {tool}"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn command(tools: &Tools, tool: &str, arguments: &[&str]) -> Result<Command> {
    let words = tools.words(arguments.iter().map(|word| (*word).to_owned()).collect());
    let mut command = Command::new(tools.path(tool)?);
    command.args(words).envs(tools.roots());
    Ok(command)
}
