//! `main` of every tool: parse, run, and turn an error into one message and one exit code.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Parser;
use clap::error::ErrorKind;

use crate::{Explain, Explained, output, say};

/// The exit codes of a tool (stage/README.md, section 3).
#[derive(Clone, Copy, Debug)]
pub struct Codes {
    /// It failed and the cause does not decide the code.
    pub failed: u8,
    /// It was called with words it does not know.
    pub usage: u8,
}

impl Codes {
    /// pull, mount-overlay, netns, cgctl.
    pub const STAGE: Codes = Codes { failed: Codes::FAILED, usage: Codes::USAGE };
    /// nsrun and gocker-sh, whose lower codes belong to the command they run.
    pub const RUNNER: Codes = Codes { failed: Codes::NOT_RUN, usage: Codes::NOT_RUN };

    pub const FAILED: u8 = 1;
    /// Wrong usage, or a malformed document.
    pub const USAGE: u8 = 2;
    /// stdin ended without a document.
    pub const NO_DOCUMENT: u8 = 3;
    /// Setting up failed: the command never ran.
    pub const NOT_RUN: u8 = 125;
    /// The command was found and cannot be executed.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// The command was not found.
    pub const NOT_FOUND: u8 = 127;
}

/// Parses the command line as `A`, runs `run`, reports its error. `run` answers with the exit code.
pub fn main<A: Parser>(codes: Codes, run: impl FnOnce(A) -> Result<u8>) -> ExitCode {
    // The description of the command line is costly to make: once is enough.
    let command = A::command();
    let tool = command.get_name().to_owned();
    let parsed = command.try_get_matches().and_then(|matches| A::from_arg_matches(&matches));
    let ran = match parsed {
        Ok(arguments) => run(arguments),
        Err(error) => parse_failed(&tool, &error.format(&mut A::command()), codes),
    };
    match ran {
        Ok(code) => ExitCode::from(code),
        Err(error) => ExitCode::from(report(&tool, &error, codes)),
    }
}

/// `--help` and `--version` are answers; anything else is a wrong command line, reported as any other error is.
fn parse_failed(tool: &str, error: &clap::Error, codes: Codes) -> Result<u8> {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output::print(&text)?;
            Ok(0)
        }
        _ => {
            let (what, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
            say(&format!("{tool}: {}", what.strip_prefix("error: ").unwrap_or(what).trim_end()));
            // That an unknown option could be passed on behind `--` is seldom what was meant.
            let mut tips = rest.lines().filter_map(|line| line.strip_prefix("  tip: "));
            let tip = tips.find(|tip| !tip.starts_with("to pass "));
            say(&format!("  hint: {}", tip.unwrap_or(&format!("see {tool} --help"))));
            Ok(codes.usage)
        }
    }
}

fn report(tool: &str, error: &anyhow::Error, codes: Codes) -> u8 {
    say(&format!("{tool}: {error:#}"));
    let Some(known) = Explained::of(error) else {
        return codes.failed;
    };
    if let Some(kernel) = &known.kernel {
        say(&format!("  kernel: {kernel}"));
    }
    if let Some(hint) = &known.hint {
        say(&format!("  hint: {hint}"));
    }
    for what in &known.left {
        say(&format!("{tool}: also {what}"));
    }
    match known.code {
        Some(code) if code > Codes::NO_DOCUMENT => code,
        // A runner's own failures stay out of the range of its command's exit codes.
        Some(_) if codes.failed == Codes::NOT_RUN => Codes::NOT_RUN,
        Some(code) => code,
        None => codes.failed,
    }
}

/// # Errors
/// The caller is not root.
pub fn need_root() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(anyhow!("cannot change the host: not root")).hint("run it as root, or with sudo")
}
