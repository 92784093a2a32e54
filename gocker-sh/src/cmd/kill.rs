//! `kill`: a signal to containers.

use anyhow::{Result, bail};

use super::each;
use crate::cli::Global;
use crate::signal::{self, Number};
use crate::{events, lookup};

/// Send a signal to containers
#[derive(clap::Args, Clone, Debug)]
pub struct Kill {
    /// The signal, by name or number
    #[arg(short, long, default_value = "KILL")]
    signal: String,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Signals each container and prints it as it was named. It does not wait for what they make of it.
pub fn kill(global: &Global, options: &Kill) -> Result<u8> {
    let signal = Number::parse(&options.signal)?;
    each(global, &options.containers, |store, id, word| {
        let record = lookup::started(store, id)?;
        let Some((record, process)) =
            record.as_ref().and_then(|record| Some((record, record.process.as_ref()?)))
        else {
            bail!("cannot kill container: {word}: container {id} is not running")
        };
        signal::send(process, signal)?;
        events::note(store, "kill", record, &[("signal", options.signal.clone())]);
        stage::print(&format!("{word}\n"))
    })
}
