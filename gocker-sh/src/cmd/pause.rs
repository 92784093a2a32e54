//! `pause` and `unpause`: cgctl freezes and thaws, the record remembers.

use anyhow::{Result, bail};

use super::each;
use crate::cli::Global;
use crate::record::{Record, State};
use crate::spawn::Tools;
use crate::{ask, events, lookup};

/// Freeze the processes of containers
#[derive(clap::Args, Clone, Debug)]
pub struct Pause {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Let the processes of containers go on
#[derive(clap::Args, Clone, Debug)]
pub struct Unpause {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub fn pause(global: &Global, options: &Pause) -> Result<u8> {
    let tools = Tools::new(global)?;
    each(global, &options.containers, |store, id, word| {
        match lookup::started(store, id)?.map(|record| record.state()) {
            Some(State::Paused) => bail!("Container {id} is already paused"),
            Some(_) => {}
            None => bail!("Container {id} is not running"),
        }
        change(&tools, "freeze", id.as_str())?;
        let record = Record::edit(store, id, |record| record.paused = true)?;
        events::note(store, "pause", &record, &[]);
        stage::print(&format!("{word}\n"))
    })
}

pub fn unpause(global: &Global, options: &Unpause) -> Result<u8> {
    let tools = Tools::new(global)?;
    each(global, &options.containers, |store, id, word| {
        match lookup::started(store, id)?.map(|record| record.state()) {
            Some(State::Paused) => {}
            _ => bail!("Container {id} is not paused"),
        }
        change(&tools, "thaw", id.as_str())?;
        let record = Record::edit(store, id, |record| record.paused = false)?;
        events::note(store, "unpause", &record, &[]);
        stage::print(&format!("{word}\n"))
    })
}

fn change(tools: &Tools, verb: &str, id: &str) -> Result<()> {
    match ask::code(tools, "cgctl", &[verb, id])? {
        0 => Ok(()),
        _ => bail!("cannot {verb} container {id}: cgctl failed"),
    }
}
