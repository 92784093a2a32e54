//! cgctl: makes a container's control group, sets its limits, moves processes into it, reads its figures, removes it.
//!
//! Changes cgroups alone. Does not know what a container is beside its id, nor who runs in it.
#![deny(unsafe_code)]

mod amount;
mod apply;
mod attach;
mod cli;
mod create;
mod delegate;
mod device;
mod devices;
mod dirs;
mod events;
mod exec;
mod freeze;
mod gc;
mod group;
mod hierarchy;
mod kill;
mod limit;
mod limits;
mod list;
mod missing;
mod processes;
mod reading;
mod record;
mod resources;
mod settings;
mod signal;
mod source;
mod stat;
mod subtree;
#[expect(unsafe_code, reason = "bpf(2), clone3(2) and realtime signals have no safe wrappers")]
mod sys;
mod systemd;
mod takedown;
mod target;
mod top;
mod wait;

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use cli::{Cli, Verb};
use freeze::State;
use record::Records;
use stage::{Codes, Explain};
use target::Target;

fn main() -> ExitCode {
    stage::main::<Cli>(Codes::STAGE, run)
}

fn run(cli: Cli) -> Result<u8> {
    stage::show_effects(cli.verbose);
    if cli.verb.is_some() && !cli.create.is_empty() {
        return Err(anyhow!("cannot use --id, a path or a limit before a verb")).code(Codes::USAGE);
    }
    let parent = cli.cgroup_parent.or_else(systemd::parent).unwrap_or_default();
    let records = Records::new(&cli.run_root, parent);
    match cli.verb {
        None => create::command(&records, &cli.create)?,
        Some(Verb::Exec { target, command }) => return exec::command(&records.target(&target)?, &command),
        Some(verb) => run_verb(&records, verb)?,
    }
    Ok(0)
}

fn run_verb(records: &Records, verb: Verb) -> Result<()> {
    match verb {
        Verb::Create(wanted) => create::command(records, &wanted),
        Verb::Set { target, limits } => limit::command(&records.target(&target)?, &limits),
        Verb::Attach { words, cgroups_path } => {
            let (target, pids) = target::split(words, cgroups_path)?;
            attach::command(&records.target(&target)?, &pids)
        }
        Verb::Stat { target } => stat::command(records, &target),
        Verb::Freeze { target } => freeze::command(&records.target(&target)?, State::Frozen),
        Verb::Thaw { target } => freeze::command(&records.target(&target)?, State::Thawed),
        Verb::Kill { signal, target } => kill::command(&records.target(&target)?, signal.0),
        Verb::Wait { target } => wait::command(records, &target),
        Verb::Undo { how, target } => takedown::command(records, &target, how),
        Verb::Exec { .. } => Ok(()),
        Verb::Delegate { user, target } => delegate::command(&records.target(&target)?, &user),
        Verb::Gc => gc::command(records),
        Verb::Top { rhythm, id, cgroups_path } => {
            let target = Target { id, cgroups_path };
            top::command(records, target.is_given().then_some(&target), &rhythm)
        }
        Verb::Ls { id, cgroups_path } => {
            let target = Target { id, cgroups_path };
            list::command(records, target.is_given().then_some(&target))
        }
    }
}
