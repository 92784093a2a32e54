//! `stop`: asks containers to end, and kills those that do not.

use anyhow::Result;
use nix::poll::PollTimeout;
use stage::Id;

use super::each;
use crate::cli::Global;
use crate::ending::Ending;
use crate::options::Run;
use crate::record::State;
use crate::signal::{self, Number};
use crate::spawn::Tools;
use crate::store::Store;
use crate::{ask, events, lookup};

/// docker's time to end, in seconds.
const USUAL: i64 = 10;

/// Ask containers to end, kill those that do not
#[derive(clap::Args, Clone, Debug)]
pub struct Stop {
    #[command(flatten)]
    pub how: How,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

/// How to ask, and how long to wait.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct How {
    /// Seconds until it is killed; -1 for never
    #[arg(short = 't', long, visible_alias = "time", value_name = "SECONDS", allow_negative_numbers = true)]
    pub timeout: Option<i64>,
    /// Signal to ask with
    #[arg(short, long)]
    pub signal: Option<String>,
}

/// Stops each container and prints it as it was named.
pub fn stop(global: &Global, options: &Stop) -> Result<u8> {
    let tools = Tools::new(global)?;
    each(global, &options.containers, |store, id, word| {
        stop_one(&tools, store, id, &options.how)?;
        stage::print(&format!("{word}\n"))
    })
}

/// Ends the container; returns when it is taken down.
pub fn stop_one(tools: &Tools, store: &Store, id: &Id, how: &How) -> Result<()> {
    let Some(record) = lookup::started(store, id)? else { return Ok(()) };
    let Some(process) = &record.process else { return Ok(()) };
    let typed = Run::read(record.options.as_deref())?.detachment;
    let word = how.signal.as_ref().or(typed.stop_signal.as_ref()).or(record.stop_signal.as_ref());
    let signal = word.map_or(Ok(Number::TERM), |word| Number::parse(word))?;
    let seconds = how.timeout.or(typed.stop_timeout).unwrap_or(USUAL);
    let ending = Ending::of(store, &record)?;
    signal::send(process, signal)?;
    if record.state() == State::Paused {
        // A frozen process gets no signal.
        ask::code(tools, "cgctl", &["thaw", id.as_str()])?;
    }
    if !ending.wait(timeout(seconds))? {
        signal::send(process, Number::KILL)?;
        ending.wait(PollTimeout::NONE)?;
        if signal != Number::KILL && seconds > 0 {
            stage::say(&format!(
                "gocker-sh: container {} did not end within {seconds} seconds and was killed\n  hint: its command \
                 may not handle the signal: --init puts a process in front of it that does, --stop-signal names another",
                record.name
            ));
        }
    }
    store.wait_unowned(id)?;
    events::note(store, "stop", &record, &[]);
    Ok(())
}

fn timeout(seconds: i64) -> PollTimeout {
    match i32::try_from(seconds.saturating_mul(1000)) {
        Ok(milliseconds) if milliseconds >= 0 => {
            PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
        }
        Ok(_) => PollTimeout::NONE,
        // Longer than poll(2) can wait: 24 days.
        Err(_) => PollTimeout::NONE,
    }
}
