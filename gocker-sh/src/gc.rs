//! Undoes what killed commands have left. Every command looks; `gc` waits, and can look further.
//!
//! A container is abandoned when nobody holds it: its processes die with whoever did, if not at the same moment. Then
//! every stage's undo is called with its id, whatever the record says was made: undo of nothing is a success.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Deserialize;
use stage::{Codes, Id};

use crate::chain::Bench;
use crate::cli::Global;
use crate::facts::{Fact, Facts};
use crate::plan::Afterlife;
use crate::record::{End, Record, now};
use crate::signals::Signals;
use crate::spawn::Tools;
use crate::store::{Claim, Hold, Owner, Patience, Store, remove_dir};
use crate::teardown::{Undo, undo};
use crate::volumes::Volumes;
use crate::{ask, events, lookup, names, watch};

/// Undo what killed commands have left
#[derive(clap::Args, Clone, Debug)]
pub struct Gc {
    /// Also remove what belongs to no container of gocker-sh and is not alive, such as half a pipeline typed by hand
    #[arg(long)]
    all: bool,
    /// Only print what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// What every command does first: cheap when there is nothing to do, silent when there is, and never in the way.
pub fn sweep(global: &Global, store: &Store) {
    // A listing must not fail because something else is broken; what could not be removed `gc` will name.
    for id in store.running().unwrap_or_default() {
        match store.claim(&id, Patience::Pass) {
            Ok(Claim::Ours(hold)) => clean(global, store, hold).map_or((), drop),
            Ok(Claim::Unwatched(owner)) => adopt(global, store, &id, &owner).map_or((), drop),
            _ => {}
        }
    }
}

/// Gives a detached container whose watcher was killed a new one. One that is not that far is left alone: its stages
/// end, or nsrun does.
fn adopt(global: &Global, store: &Store, id: &Id, owner: &Owner) -> Result<()> {
    let Some(mut record) = Record::read(store, id)? else { return Ok(()) };
    if record.detached.as_ref().is_none_or(|detached| !detached.nsrun.is_alive()) {
        return Ok(());
    }
    if record.process.is_none() {
        let running = Facts::all(&store.run_dir(id))?.into_iter().find_map(|fact| match fact {
            Fact::Running(process) => Some(process),
            Fact::Stopped(_) => None,
        });
        let Some(process) = running else { return Ok(()) };
        record.process = Some(process);
        record.started = Some(now());
        record.write_run(store)?;
    }
    watch::start(&Tools::new(global)?, owner, id, None)
}

/// `gc`: prints the id of each container that it has cleaned up.
pub fn command(global: &Global, options: &Gc) -> Result<u8> {
    stage::need_root()?;
    let store = Store::new(&global.roots);
    let mut code = 0;
    for id in store.running()? {
        let claim =
            store.claim(&id, if is_detached(&store, &id) { Patience::Pass } else { Patience::Wait })?;
        if let Claim::Unwatched(owner) = claim {
            adopt(global, &store, &id, &owner)?;
        } else if let Claim::Ours(hold) = claim {
            code |= report(&id, || if options.dry_run { Ok(()) } else { clean(global, &store, hold) })?;
        }
    }
    if options.all {
        for id in strangers(global, &store)? {
            code |=
                report(
                    &id,
                    || {
                        if options.dry_run { Ok(()) } else { clean(global, &store, store.hold(&id)?) }
                    },
                )?;
        }
    }
    Ok(code)
}

fn is_detached(store: &Store, id: &Id) -> bool {
    Record::read(store, id).is_ok_and(|record| record.is_some_and(|record| record.detached.is_some()))
}

fn report(id: &Id, work: impl FnOnce() -> Result<()>) -> Result<u8> {
    match work() {
        Ok(()) => stage::print(&format!("{id}\n")).map(|()| 0),
        Err(error) => {
            stage::say(&format!("gocker-sh: {error:#}"));
            Ok(Codes::FAILED)
        }
    }
}

/// Takes down what is left of a container that nobody works on any more.
fn clean(global: &Global, store: &Store, hold: Hold) -> Result<()> {
    let id = hold.id.clone();
    // A broken record does not say what to keep: then all that would survive a reboot is kept.
    let record = Record::read(store, &id).or_else(|_| Record::read_kept(store, &id));
    let (tools, signals) = (Tools::new(global)?, Signals::hold()?);
    let keeps = match &record {
        Ok(Some(record)) if record.afterlife == Afterlife::Remove => false,
        // Killed before it could write down that the command runs: nsrun knows, too.
        Ok(Some(record)) => record.again || record.started.is_some() || began(&tools, &id)?,
        Ok(None) => false,
        Err(_) => store.kept_dir(&id).exists(),
    };
    let bench = Bench { tools: &tools, hold: &hold, signals: &signals };
    let swap = record.as_ref().ok().and_then(Option::as_ref).map(|record| &record.plan.swap);
    let net_cmd = swap.and_then(|swap| swap.net_cmd.as_deref());
    undo(&bench, &Undo { keep_upper: keeps, net_cmd, ..Undo::everything() }, None)?;
    match record {
        Ok(Some(record)) if keeps => note_end(store, record)?,
        Err(_) if keeps => {}
        Ok(Some(record)) => {
            Volumes::forget(store, &record)?;
            forget(store, &id)?;
            events::note(store, "destroy", &record, &[]);
        }
        _ => forget(store, &id)?,
    }
    hold.remove()
}

fn note_end(store: &Store, mut record: Record) -> Result<()> {
    if record.end.is_none() {
        // nsrun may have told how it ended when nobody listened any more.
        let told = Facts::all(&store.run_dir(&record.id)).unwrap_or_default();
        let code = told.into_iter().find_map(|fact| match fact {
            Fact::Stopped(code) => Some(code),
            Fact::Running(_) => None,
        });
        record.end = Some(End {
            exit_code: code.unwrap_or(137),
            oom_killed: false,
            finished: now(),
            error: match code {
                Some(_) => String::new(),
                None => "gocker-sh was killed, and the container with it".to_owned(),
            },
        });
    }
    record.again = true;
    record.paused = false;
    record.detached = None;
    if let Some(end) = &record.end {
        events::died(store, &record, end);
    }
    record.write_kept(store)
}

/// Removes the names of a container and the record that would survive a reboot.
pub fn forget(store: &Store, id: &Id) -> Result<()> {
    for (name, _) in store.names()?.into_iter().filter(|(_, owner)| owner == id) {
        names::give_back(store, id, &name)?;
    }
    remove_dir(&store.kept_dir(id))
}

/// What the stages list that is no container of ours and whose processes are dead.
fn strangers(global: &Global, store: &Store) -> Result<BTreeSet<Id>> {
    let tools = Tools::new(global)?;
    let processes = list(&tools, "nsrun")?;
    let alive =
        |id: &Id| processes.iter().any(|one| one.id == *id && one.status.as_deref() == Some("running"));
    let ours = lookup::all(store)?;
    let mut found: BTreeSet<Id> = processes.iter().map(|one| one.id.clone()).collect();
    for tool in ["cgctl", "mount-overlay", "netns"] {
        found.extend(list(&tools, tool)?.into_iter().map(|one| one.id));
    }
    found.retain(|id| !alive(id) && !ours.contains(id));
    Ok(found)
}

/// Whether nsrun says that the container runs.
pub fn runs(tools: &Tools, id: &Id) -> Result<bool> {
    Ok(list(tools, "nsrun")?.iter().any(|one| one.id == *id && one.status.as_deref() == Some("running")))
}

/// Whether nsrun says that the container's command was started, whatever became of it.
fn began(tools: &Tools, id: &Id) -> Result<bool> {
    Ok(list(tools, "nsrun")?.iter().any(|one| one.id == *id && one.start_time.is_some()))
}

/// One entry of a stage's `ls`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: Id,
    status: Option<String>,
    start_time: Option<u64>,
}

fn list(tools: &Tools, tool: &str) -> Result<Vec<Listed>> {
    let entries: Vec<serde_json::Value> = ask::json(tools, tool, &["ls"])?;
    // An entry that is broken is the stage's own matter.
    Ok(entries.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect())
}
