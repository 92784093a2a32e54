//! `exec`: becomes `nsrun exec`, which does all of it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::cli::Global;
use crate::options::Exec;
use crate::record::{Record, State};
use crate::run::not_run;
use crate::signals::Signals;
use crate::spawn::{Blocked, Session, Stream, Tools};
use crate::store::Store;
use crate::{gc, lookup, plan, spawn};

/// Replaces this process, or says why not.
pub fn exec(global: &Global, options: &Exec) -> Result<u8> {
    become_nsrun(global, options).or_else(|error| not_run(&error))
}

fn become_nsrun(global: &Global, options: &Exec) -> Result<u8> {
    stage::need_root()?;
    let store = Store::new(&global.roots);
    gc::sweep(global, &store);
    let (container, command) = options.words();
    let id = lookup::container(&store, container)?;
    // A broken record is no reason: nsrun has its own. Nor is one that does not tell of the start yet.
    if let Ok(Some(record)) = Record::read(&store, &id)
        && record.state() == State::Exited
    {
        bail!("container {id} is not running");
    }
    let tools = Tools::new(global)?;
    let words = tools.words(plan::exec(&options.process, &id, command));
    if options.detach {
        return detached(&tools, words);
    }
    let error = Command::new(tools.path("nsrun")?).args(words).envs(tools.roots()).exec();
    Err(anyhow!(error)).context("cannot run nsrun: execve")
}

/// Leaves nsrun to it, with a session of its own and no streams.
fn detached(tools: &Tools, arguments: Vec<String>) -> Result<u8> {
    let signals = Signals::hold()?;
    tools.start(&spawn::Command {
        tool: "nsrun",
        arguments,
        stdin: Stream::Null,
        stdout: Stream::Null,
        stderr: Stream::Null,
        inherited: Vec::new(),
        blocked: Blocked::AsFound(signals.found()),
        session: Session::Own,
    })?;
    Ok(0)
}
