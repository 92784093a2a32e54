//! `start`: the program of a created container begins.

use anyhow::{Result, bail};

use super::{find, kill};
use crate::container::hooks::{self, Kind};
use crate::gate;
use crate::record::StateRoot;
use crate::report::{Heard, Point};
use crate::status::Status;

pub fn start(roots: &StateRoot, id: &str) -> Result<()> {
    let (record, state) = find(roots, id, "start")?;
    let status = Status::of(&record, &state)?;
    let Some(waiting) = (match status {
        Status::Created => gate::knock(&record)?,
        _ => None,
    }) else {
        bail!("cannot start container {id}: it is {status}");
    };
    waiting.go(state.pid)?;
    match waiting.hear()? {
        Heard::Reached(Point::Ready) => {}
        _ => bail!("cannot start container {id}: its first process has died"),
    }
    match waiting.hear()? {
        Heard::Closed => {}
        Heard::Failed(error) => return Err(error),
        heard => bail!("cannot start container {id}: it says {heard:?}"),
    }
    // A container whose hook fails is ended (runtime-spec 1.2.1, runtime.md "Lifecycle", step 10).
    hooks::run(Kind::Poststart, &state, Status::Running, state.pid)
        .inspect_err(|_| drop(kill::first_process(&state, libc::SIGKILL)))
}
