//! `rm`: what is left of ended containers, and with `-f` what still runs.

use anyhow::{Result, bail};
use stage::{Codes, Id};

use crate::chain::Bench;
use crate::cli::Global;
use crate::plan::Afterlife;
use crate::record::{Record, State};
use crate::signals::Signals;
use crate::spawn::Tools;
use crate::store::{Claim, Hold, Patience, Store};
use crate::swap::Swap;
use crate::teardown::{Undo, undo};
use crate::volumes::Volumes;
use crate::{ask, events, gc, lookup};

/// Remove containers
#[derive(clap::Args, Clone, Debug)]
pub struct Rm {
    /// Kill it if it runs, and do not mind if it is not there
    #[arg(short, long)]
    force: bool,
    /// Remove its volumes that have no name, too
    #[arg(short, long)]
    volumes: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Removes each container and prints it as it was named.
pub fn rm(global: &Global, options: &Rm) -> Result<u8> {
    stage::need_root()?;
    let store = Store::new(&global.roots);
    gc::sweep(global, &store);
    let mut code = 0;
    for word in &options.containers {
        let id = match lookup::container(&store, word) {
            Ok(id) => id,
            Err(error) => {
                stage::say(&format!("gocker-sh: {error:#}"));
                code |= if options.force { 0 } else { Codes::FAILED };
                continue;
            }
        };
        let record = Record::read(&store, &id).unwrap_or_default().filter(|_| options.volumes);
        let removed = remove(global, &store, &id, options.force);
        match removed.and_then(|()| record.map_or(Ok(()), |record| Volumes::forget(&store, &record))) {
            Ok(()) => stage::print(&format!("{word}\n"))?,
            Err(error) => {
                stage::say(&format!("gocker-sh: {error:#}"));
                code = Codes::FAILED;
            }
        }
    }
    Ok(code)
}

pub fn remove(global: &Global, store: &Store, id: &Id, force: bool) -> Result<()> {
    let tools = Tools::new(global)?;
    // What cannot be read can be removed all the same.
    let record = Record::read(store, id).unwrap_or_default();
    let name = record.as_ref().map_or(id.as_str(), |record| &record.name).to_owned();
    if let Claim::Theirs | Claim::Unwatched(_) = store.claim(id, Patience::Pass)? {
        match record.as_ref().map(Record::state) {
            // One that is being set up runs in the eyes of whoever started it.
            Some(State::Running | State::Paused | State::Created) | None if !force => bail!(
                "cannot remove container \"/{name}\": container is running: stop the container before removing or \
                 force remove"
            ),
            Some(State::Running | State::Paused) => kill(&tools, id)?,
            // Its record does not tell of the start yet: nsrun knows.
            Some(State::Created) | None if gc::runs(&tools, id)? => kill(&tools, id)?,
            Some(State::Created) | None => bail!("cannot remove container \"/{name}\": it is being set up"),
            // It is being taken down: that has an end.
            Some(State::Exited | State::Broken) => {}
        }
    }
    let hold = store.hold(id)?;
    let signals = Signals::hold()?;
    take_down(&Bench { tools: &tools, hold: &hold, signals: &signals }, store)?;
    if let Some(record) = &record {
        events::note(store, "destroy", record, &[]);
    }
    hold.remove()
}

/// Ends its processes. Whoever runs it sees that, and takes it down.
fn kill(tools: &Tools, id: &Id) -> Result<()> {
    if ask::code(tools, "nsrun", &["undo", id.as_str()])? != 0 {
        bail!("cannot kill container {}: nsrun failed", id.short());
    }
    Ok(())
}

fn take_down(bench: &Bench, store: &Store) -> Result<()> {
    let Hold { id, .. } = bench.hold;
    let mut swap = Swap::default();
    let ended = match Record::read(store, id) {
        // Its end was seen: the writable layer is all there is.
        Ok(Some(mut record)) if record.end.is_some() => {
            // From here on a gc removes it, should this be as far as we get.
            record.afterlife = Afterlife::Remove;
            record.write_run(store)?;
            true
        }
        Ok(Some(record)) => {
            swap = record.plan.swap;
            false
        }
        _ => false,
    };
    let what = match ended {
        true => Undo { mount_overlay: true, ..Undo::default() },
        false => Undo { net_cmd: swap.net_cmd.as_deref(), ..Undo::everything() },
    };
    undo(bench, &what, None)?;
    gc::forget(store, id)
}
