//! `run`: a new container, from its record on disk to the exit code of its command.

use std::fs::OpenOptions;
use std::io::{ErrorKind, IsTerminal, Write};

use anyhow::{Context, Result, anyhow, bail};
use stage::{Codes, Explain, Explained, Id};

use crate::cli::Global;
use crate::life::{self, Session};
use crate::options::{Mode, Run};
use crate::plan::{Afterlife, Plan, plan};
use crate::record::{Record, now};
use crate::settle::{Settled, settle};
use crate::signals::Signals;
use crate::spawn::Tools;
use crate::store::{Hold, Store};
use crate::volumes::Volumes;
use crate::{events, gc, log, names, script};

/// Runs the command of a new container. Answers with its exit code.
pub fn run(global: &Global, options: &Run) -> Result<u8> {
    if let Some(with) = options.print_script {
        return script::print(global, options, with).or_else(|error| not_run(&error));
    }
    prepared(global, options).or_else(|error| not_run(&error))
}

/// Whatever failed, the command never ran: the codes below are its own.
pub fn not_run(error: &anyhow::Error) -> Result<u8> {
    let known = Explained::of(error);
    let hint = known.and_then(|known| known.hint.clone());
    let left = known.map(|known| known.left.clone()).unwrap_or_default();
    let error = Err(anyhow!("{error:#}")).left(left).code(Codes::NOT_RUN);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn prepared(global: &Global, options: &Run) -> Result<u8> {
    stage::need_root()?;
    let process = &options.process;
    if !options.detach && process.interactive && process.tty && !std::io::stdin().is_terminal() {
        bail!("cannot attach stdin to a TTY-enabled container because stdin is not a terminal");
    }
    let id = Id::mint()?;
    let store = Store::new(&global.roots);
    gc::sweep(global, &store);
    let tools = Tools::new(global)?;
    let settled = match settle(&store, &tools, options)? {
        Ok(settled) => settled,
        Err(_) => return Ok(Codes::NOT_RUN),
    };
    let options = &settled.options;
    let plan = plan(options, &id, &Volumes::new(&global.roots))?;
    let signals = Signals::hold()?;
    if let Some(path) = &options.cidfile {
        write_cidfile(path, &id)?;
    }
    let hold = store.hold(&id)?;
    let made = record(&store, &hold, &settled, plan);
    let session = |hold| Session { store: &store, tools: &tools, signals: &signals, hold };
    let ended = match made {
        Ok(record) if options.detach => life::launch(session(hold), record, global, process),
        Ok(record) => life::live(session(hold), record, global),
        Err(error) => Err(error).left(hold.remove().err().iter().map(|error| format!("{error:#}")).collect()),
    };
    if let (Some(path), true) = (&options.cidfile, !matches!(ended, Ok(life::Ended { ran: true, .. }))) {
        // It names a container that never was.
        std::fs::remove_file(path).ok();
    }
    let ended = ended?;
    if options.detach && ended.ran {
        stage::print(&format!("{id}\n"))?;
    }
    Ok(ended.code)
}

/// Puts the record of the new container on disk; its name is taken with it.
pub fn record(store: &Store, hold: &Hold, settled: &Settled, mut plan: Plan) -> Result<Record> {
    let Settled { options, anonymous } = settled;
    let image = options.image.rootfs.as_deref().or(options.image.image());
    let detachment = &options.detachment;
    let log = log::limits(detachment.log_driver.as_deref(), &detachment.log_opt)?;
    let name = names::take(store, &hold.id, options.name.as_deref())?;
    if let Mode::Named(_) = options.network.mode() {
        plan.add_name(&name);
    }
    let record = Record {
        id: hold.id.clone(),
        name,
        created: now(),
        image: image.unwrap_or_default().to_owned(),
        image_id: None,
        command: typed_command(options),
        network: options.network.mode(),
        afterlife: Afterlife::of(options),
        again: false,
        stop_signal: None,
        labels: options.label.clone(),
        plan,
        document: None,
        started: None,
        process: None,
        detached: None,
        log,
        paused: false,
        end: None,
        options: Some(options.typed()?),
        anonymous: anonymous.clone(),
        broken: None,
        seen: None,
    };
    let written = match record.afterlife {
        Afterlife::Remove => record.write_run(store),
        Afterlife::Keep => record.write_kept(store),
    };
    match written {
        Ok(()) => {
            events::note(store, "create", &record, &[]);
            Ok(record)
        }
        Err(error) => {
            let back = names::give_back(store, &hold.id, &record.name);
            Err(error).left(back.err().iter().map(|error| format!("{error:#}")).collect())
        }
    }
}

/// The command as far as it is known without the image.
fn typed_command(options: &Run) -> Vec<String> {
    options.entrypoint.iter().chain(options.image.command()).cloned().collect()
}

pub fn write_cidfile(path: &str, id: &Id) -> Result<()> {
    let context = || format!("cannot write {path}");
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => file.write_all(id.as_str().as_bytes()).with_context(context),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("container ID file found, make sure the other container isn't running or delete {path}")
        }
        Err(error) => Err(error).context("open").with_context(context),
    }
}
