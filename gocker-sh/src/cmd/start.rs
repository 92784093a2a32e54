//! `start`: another life for containers that have ended, or the first of one that was created. Detached, as docker's.

use std::io::IsTerminal;

use anyhow::{Result, bail};
use stage::{Codes, Id};

use super::{attach, say};
use crate::cli::Global;
use crate::life::{self, Session};
use crate::log::{self, Follower};
use crate::options::Run;
use crate::record::{Record, State};
use crate::signals::Signals;
use crate::spawn::Tools;
use crate::store::{Hold, Store};
use crate::{gc, lookup};

/// Start containers that do not run
#[derive(clap::Args, Clone, Debug)]
pub struct Start {
    /// Show what it prints, pass signals on, end with its exit code
    #[arg(short, long)]
    attach: bool,
    /// Pass stdin on to it
    #[arg(short, long)]
    interactive: bool,
    /// Keys that leave it running, such as ctrl-p,ctrl-q (else none do)
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Starts each container and prints it as it was named; with `--attach` stays with the only one.
pub fn start(global: &Global, options: &Start) -> Result<u8> {
    stage::need_root()?;
    let store = Store::new(&global.roots);
    gc::sweep(global, &store);
    if options.attach || options.interactive {
        return start_attached(global, &store, options);
    }
    let mut code = 0;
    for word in &options.containers {
        match lookup::container(&store, word).and_then(|id| start_one(global, &store, &id)) {
            Ok(0) => stage::print(&format!("{word}\n"))?,
            Ok(_) => code = Codes::FAILED,
            Err(error) => {
                say(&error);
                code = Codes::FAILED;
            }
        }
    }
    Ok(code)
}

fn start_attached(global: &Global, store: &Store, options: &Start) -> Result<u8> {
    let [word] = options.containers.as_slice() else {
        bail!("you cannot start and attach multiple containers at once")
    };
    let id = lookup::container(store, word)?;
    let keys = options.detach_keys.as_deref().map(attach::keys).transpose()?;
    let typed = Run::read(Record::read(store, &id)?.and_then(|record| record.options).as_deref())?;
    if typed.process.tty && options.interactive && !std::io::stdin().is_terminal() {
        bail!("cannot attach stdin to a TTY-enabled container because stdin is not a terminal");
    }
    // What earlier lives have printed is not shown.
    let mut log = Follower::open(&log::path(store, &id))?;
    log.read::<log::Entry>()?;
    match start_one(global, store, &id)? {
        0 => {}
        code => return Ok(code),
    }
    let Some(record) = Record::read(store, &id)? else { return Ok(0) };
    let attached =
        attach::Attached { input: options.interactive && typed.process.interactive, keys, proxy: true };
    attach::attach(store, &record, log, attached)
}

/// Starts one. The code is 0, or that of a stage or of the command that could not run, which has said why.
pub fn start_one(global: &Global, store: &Store, id: &Id) -> Result<u8> {
    if lookup::started(store, id)?.is_some() {
        return Ok(0);
    }
    let (tools, signals) = (Tools::new(global)?, Signals::hold()?);
    let hold = store.hold(id)?;
    let record = match begin(store, &hold) {
        Ok(Some(record)) => record,
        Ok(None) => return Ok(0),
        Err(error) => {
            hold.remove()?;
            return Err(error);
        }
    };
    let process = Run::read(record.options.as_deref())?.process;
    let session = Session { store, tools: &tools, signals: &signals, hold };
    Ok(life::launch(session, record, global, &process)?.code)
}

/// The record as it begins a new life; on disk. `None` if it runs by now.
fn begin(store: &Store, hold: &Hold) -> Result<Option<Record>> {
    let Some(mut record) = Record::read(store, &hold.id)? else { bail!("No such container: {}", hold.id) };
    match record.state() {
        State::Running | State::Paused => return Ok(None),
        State::Broken => bail!("cannot start container {}: its record cannot be read", hold.id),
        State::Created | State::Exited => {}
    }
    record.end = None;
    record.process = None;
    record.started = None;
    record.detached = None;
    record.write_run(store)?;
    Ok(Some(record))
}
