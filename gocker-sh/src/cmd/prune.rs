//! `container prune`, `image prune` and `system prune`: what nobody uses any more.

use std::io::BufRead;

use anyhow::Result;

use crate::cli::Global;
use crate::lookup;
use crate::record::{Record, State};
use crate::spawn::Tools;
use crate::store::Store;
use crate::stored::Stored;
use crate::{gc, rm, rmi};

/// Remove what is not used any more
#[derive(clap::Args, Clone, Debug)]
pub struct Prune {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Also images with a name that no container uses
    #[arg(short, long)]
    all: bool,
}

/// Asks on the terminal; no is the usual answer.
pub fn asked(what: &str) -> Result<bool> {
    stage::print(&format!("WARNING! This will remove {what}.\nAre you sure you want to continue? [y/N] "))?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// Removes every container that does not run.
pub fn containers(global: &Global, options: &Prune) -> Result<u8> {
    stage::need_root()?;
    if !options.force && !asked("all stopped containers")? {
        return Ok(0);
    }
    let store = Store::new(&global.roots);
    gc::sweep(global, &store);
    let mut removed = Vec::new();
    for id in lookup::all(&store)? {
        let state = Record::read(&store, &id)?.map(|record| record.state());
        // One that is being set up is not there to be pruned: it has no record of its end, nor of a creation.
        if matches!(state, Some(State::Exited | State::Created))
            && rm::remove(global, &store, &id, false).is_ok()
        {
            removed.push(id.to_string());
        }
    }
    if !removed.is_empty() {
        stage::print(&format!("Deleted Containers:\n{}\n\n", removed.join("\n")))?;
    }
    Ok(0)
}

/// Removes images that have no name; with `--all` also those that no container uses.
pub fn images(global: &Global, options: &Prune) -> Result<u8> {
    stage::need_root()?;
    let what = if options.all {
        "all images without at least one container associated to them"
    } else {
        "all dangling images"
    };
    if !options.force && !asked(what)? {
        return Ok(0);
    }
    let store = Store::new(&global.roots);
    let tools = Tools::new(global)?;
    let mut words: Vec<String> = Vec::new();
    for image in Stored::all(&tools)? {
        match image.reference {
            Some(reference) if options.all => words.push(reference),
            None => words.push(image.id),
            Some(_) => {}
        }
    }
    for word in words {
        // One that is in use stays, and that is what was asked for.
        rmi::remove(&tools, &store, &word, false).ok();
    }
    Ok(0)
}

/// All of it but volumes, as docker's.
pub fn system(global: &Global, options: &Prune) -> Result<u8> {
    if !options.force
        && !asked("all stopped containers, all networks and images not used by at least one container")?
    {
        return Ok(0);
    }
    let forced = Prune { force: true, all: options.all };
    containers(global, &forced)?;
    super::network::prune(&Tools::new(global)?)?;
    images(global, &forced)
}
