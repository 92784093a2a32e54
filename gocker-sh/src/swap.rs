//! Commands of the user's in the place of stages: `--net-cmd` and `--pull-cmd`, or the configuration file.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

/// What is called instead of a stage, with the stage's arguments; `undo ID` takes it back.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Swap {
    /// Make the network with this command in place of netns
    #[arg(long, value_name = "CMD")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net_cmd: Option<String>,
    /// Get the image with this command in place of pull
    #[arg(long, value_name = "CMD")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_cmd: Option<String>,
}

impl Swap {
    /// What was not typed is as the configuration file has it.
    pub fn fill(&mut self) -> Result<()> {
        let file = configured()?;
        self.net_cmd = self.net_cmd.take().or(file.net_cmd);
        self.pull_cmd = self.pull_cmd.take().or(file.pull_cmd);
        for (option, command) in [("--net-cmd", &self.net_cmd), ("--pull-cmd", &self.pull_cmd)] {
            command.as_deref().map_or(Ok(()), |command| check(option, command))?;
        }
        Ok(())
    }
}

/// Before there is a record: a command that is not there could not take back what it did not make, either.
fn check(option: &str, command: &str) -> Result<()> {
    let program = command.split_whitespace().next().with_context(|| format!("{option} needs a command"))?;
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let is_there = match program.contains('/') {
        true => Path::new(program).exists(),
        false => std::env::split_paths(&directories).any(|directory| directory.join(program).exists()),
    };
    if !is_there {
        bail!("cannot use {option}={command}: {program} is not there");
    }
    Ok(())
}

/// The configuration file; empty if there is none.
fn configured() -> Result<Swap> {
    let path = std::env::var_os("GOCKER_CONFIG").map_or("/etc/gocker/config.json".into(), PathBuf::from);
    let context = || format!("cannot read {}", path.display());
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).with_context(context),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Swap::default()),
        Err(error) => Err(error).context("open").with_context(context),
    }
}

/// The program to start for `tool` and its arguments: the tool itself, or a shell that becomes the command instead.
pub fn words(tool: &'static str, instead: Option<&str>, arguments: &[String]) -> (&'static str, Vec<String>) {
    match instead {
        None => (tool, arguments.to_vec()),
        Some(command) => {
            // Only our own tools are known to take it.
            let arguments = arguments.iter().filter(|word| *word != "--verbose");
            let shell = ["-c".to_owned(), format!("exec {command} \"$@\""), tool.to_owned()];
            ("sh", shell.into_iter().chain(arguments.cloned()).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gets_the_arguments_of_the_stage() {
        let arguments = ["undo".to_owned(), "x y".to_owned()];
        assert_eq!(words("netns", None, &arguments), ("netns", arguments.to_vec()));
        let (shell, words) = words("netns", Some("my net"), &arguments);
        assert_eq!((shell, words.join("|").as_str()), ("sh", "-c|exec my net \"$@\"|netns|undo|x y"));
    }
}
