//! cgctl: makes a container's control group, sets its limits, moves processes into it, reads its figures, removes it.
//!
//! Changes cgroups alone. Does not know what a container is beside its id, nor who runs in it.
#![forbid(unsafe_code)]

mod amount;
mod apply;
mod attach;
mod cli;
mod create;
mod dirs;
mod group;
mod hierarchy;
mod kill;
mod limits;
mod list;
mod missing;
mod processes;
mod record;
mod resources;
mod settings;
mod stat;
mod subtree;
mod takedown;

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use cli::{Cli, Verb};
use stage::{Codes, Explain};

fn main() -> ExitCode {
    stage::main::<Cli>(Codes::STAGE, run)
}

fn run(cli: Cli) -> Result<u8> {
    stage::show_effects(cli.verbose);
    if cli.verb.is_some() && !cli.create.is_empty() {
        return Err(anyhow!("cannot use --id or a limit with a verb")).code(Codes::USAGE);
    }
    let records = record::Records::new(&cli.run_root, cli.cgroup_parent);
    match cli.verb {
        None => create::command(&records, &cli.create)?,
        Some(Verb::Attach { id, pids }) => attach::command(&records, &id, &pids)?,
        Some(Verb::Stat { id }) => stat::command(&records, &id)?,
        Some(Verb::Undo { kill, stat, id }) => takedown::command(&records, &id, kill, stat)?,
        Some(Verb::Ls) => list::command(&records)?,
    }
    Ok(0)
}
