//! One stage by itself: asks it something and reads the answer, or lets it speak for itself.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use stage::Document;

use crate::spawn::Tools;

/// What a stage prints as JSON. Its own messages go to stderr.
pub fn json<T: DeserializeOwned>(tools: &Tools, tool: &str, arguments: &[&str]) -> Result<T> {
    match answer(tools, tool, arguments)? {
        Ok(answer) => Ok(answer),
        Err(_) => bail!("{tool} {} failed", arguments.join(" ")),
    }
}

/// What a stage prints as JSON, or its exit code when it failed and has said why.
pub fn answer<T: DeserializeOwned>(
    tools: &Tools,
    tool: &str,
    arguments: &[&str],
) -> Result<std::result::Result<T, u8>> {
    fed(tools, tool, arguments, Stdio::null())
}

/// The same of a stage that has something to read.
pub fn fed<T: DeserializeOwned>(
    tools: &Tools,
    tool: &str,
    arguments: &[&str],
    stdin: Stdio,
) -> Result<std::result::Result<T, u8>> {
    let mut command = command(tools, tool, arguments)?;
    let output = command
        .stdin(stdin)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {tool}"))?;
    if !output.status.success() {
        return Ok(Err(code_of(output.status)));
    }
    serde_json::from_slice(&output.stdout)
        .map(Ok)
        .with_context(|| format!("cannot read what {tool} {} prints", arguments.join(" ")))
}

/// What a stage prints as JSON; `None` when it failed, of which nothing is heard.
pub fn quietly<T: DeserializeOwned>(tools: &Tools, tool: &str, arguments: &[&str]) -> Result<Option<T>> {
    let mut command = command(tools, tool, arguments)?;
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {tool}"))?;
    Ok(serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success()))
}

/// The document that a stage prints, or its exit code when it failed and has said why.
pub fn document(tools: &Tools, tool: &str, arguments: &[&str]) -> Result<std::result::Result<Document, u8>> {
    document_fed(tools, tool, arguments, Stdio::null())
}

/// The same of a stage that has something to read.
pub fn document_fed(
    tools: &Tools,
    tool: &str,
    arguments: &[&str],
    stdin: Stdio,
) -> Result<std::result::Result<Document, u8>> {
    let text: std::result::Result<Box<RawValue>, u8> = fed(tools, tool, arguments, stdin)?;
    match text {
        Ok(text) => {
            Document::read(text.get().as_bytes())?.with_context(|| format!("{tool} printed nothing")).map(Ok)
        }
        Err(code) => Ok(Err(code)),
    }
}

/// Lets a stage do something, its output being ours. Its exit code.
pub fn code(tools: &Tools, tool: &str, arguments: &[&str]) -> Result<u8> {
    code_fed(tools, tool, arguments, Stdio::null())
}

/// The same of a stage that has something to read.
pub fn code_fed(tools: &Tools, tool: &str, arguments: &[&str], stdin: Stdio) -> Result<u8> {
    let status = command(tools, tool, arguments)?
        .stdin(stdin)
        .status()
        .with_context(|| format!("cannot run {tool}"))?;
    Ok(code_of(status))
}

/// A short text to read: a pipe has room for it.
pub fn text(text: &str) -> Result<Stdio> {
    let (read, mut write) = std::io::pipe().context("cannot make a pipe")?;
    write.write_all(text.as_bytes()).context("cannot write to a pipe")?;
    Ok(read.into())
}

fn code_of(status: std::process::ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn command(tools: &Tools, tool: &str, arguments: &[&str]) -> Result<Command> {
    let words = tools.words(arguments.iter().map(|word| (*word).to_owned()).collect());
    let mut command = Command::new(tools.path(tool)?);
    command.args(words).envs(tools.roots());
    Ok(command)
}
