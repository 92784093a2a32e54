//! `restart`: `stop`, then `start`.

use anyhow::{Result, bail};

use super::{each, start, stop};
use crate::cli::Global;
use crate::spawn::Tools;

/// Stop containers and start them again
#[derive(clap::Args, Clone, Debug)]
pub struct Restart {
    #[command(flatten)]
    how: stop::How,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Restarts each container and prints it as it was named.
pub fn restart(global: &Global, options: &Restart) -> Result<u8> {
    let tools = Tools::new(global)?;
    each(global, &options.containers, |store, id, word| {
        stop::stop_one(&tools, store, id, &options.how)?;
        match start::start_one(global, store, id)? {
            0 => stage::print(&format!("{word}\n")),
            _ => bail!("cannot restart container {word}"),
        }
    })
}
