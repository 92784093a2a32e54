//! The OCI runtime's command line, as engines call it (runtime-spec, runtime.md "Operations"; runc's and crun's flags).
//!
//! Each verb is a module. What a container is, the core executes; here is only its life: made from a bundle, started,
//! looked at, changed, ended.

pub mod bundle;
pub mod cgroup;
pub mod console;
pub mod create;
pub mod delete;
pub mod events;
pub mod features;
pub mod figures;
pub mod kill;
pub mod log;
pub mod make;
pub mod options;
pub mod pause;
pub mod ps;
pub mod resources;
pub mod run;
pub mod start;
pub mod state;
pub mod time;
pub mod update;

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use stage::Explain;

use crate::record::{State, StateRoot};

/// A container that there must be, to do something to it.
///
/// # Errors
/// It does not exist. Engines look for these words.
pub fn find(roots: &StateRoot, id: &str, verb: &str) -> Result<(PathBuf, State)> {
    let record = roots.of(id);
    match State::read(&record)? {
        Some(state) => Ok((record, state)),
        None => Err(anyhow!("cannot {verb} container {id}: it does not exist"))
            .hint("nsrun list shows those there are"),
    }
}
