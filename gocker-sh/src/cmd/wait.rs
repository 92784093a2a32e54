//! `wait`: until containers have ended.

use anyhow::Result;
use nix::poll::PollTimeout;

use super::each;
use crate::cli::Global;
use crate::ending::Ending;
use crate::record::Record;

/// Wait until containers have ended, print their exit codes
#[derive(clap::Args, Clone, Debug)]
pub struct Wait {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Prints the exit code of each, when it has one. Of one that was never started that is 0, as with docker.
pub fn wait(global: &Global, options: &Wait) -> Result<u8> {
    each(global, &options.containers, |store, id, _| {
        let code = match Record::read(store, id)? {
            Some(record) if record.process.is_some() || record.end.is_some() => {
                let ending = Ending::of(store, &record)?;
                ending.wait(PollTimeout::NONE)?;
                ending.code(store, id)?
            }
            _ => 0,
        };
        stage::print(&format!("{code}\n"))
    })
}
