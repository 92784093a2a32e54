//! mount-overlay: stacks the layers of an image (or plain directories) into one root, and takes it down again.
//!
//! Changes mounts, and the directories that a writable root needs. Does not know where layers come from, nor who
//! will run in the root.
#![forbid(unsafe_code)]

mod classic;
mod cli;
mod create;
mod explain;
mod list;
mod mount;
mod overlay;
mod place;
mod size;
mod takedown;

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use cli::{Cli, Create, Verb};
use stage::{Codes, Explain};

fn main() -> ExitCode {
    stage::main::<Cli>(Codes::STAGE, run)
}

fn run(cli: Cli) -> Result<u8> {
    stage::show_effects(cli.verbose);
    if cli.verb.is_some() && cli.create != Create::default() {
        return Err(anyhow!("cannot use the options of a mount with a verb")).code(Codes::USAGE);
    }
    let dirs = place::Dirs::new(&cli.roots)?;
    match cli.verb {
        None => create::command(&dirs, &cli.create)?,
        Some(Verb::Undo { keep_upper, id }) => takedown::command(&dirs.of(&id), keep_upper)?,
        Some(Verb::Ls) => list::command(&dirs)?,
    }
    Ok(0)
}
