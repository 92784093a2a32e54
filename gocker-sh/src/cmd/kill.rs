//! `kill`: a signal to containers.

use anyhow::{Result, bail};

use super::each;
use crate::cli::Global;
use crate::lookup;
use crate::signal::{self, Number};

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
        let Some(process) = record.and_then(|record| record.process) else {
            bail!("cannot kill container: {word}: container {id} is not running")
        };
        signal::send(&process, signal)?;
        stage::print(&format!("{word}\n"))
    })
}
