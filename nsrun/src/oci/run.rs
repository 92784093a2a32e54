//! `run`: a container from a bundle, from `create` to `delete` in one.

use std::os::fd::AsFd;

use anyhow::{Context, Result, bail};
use stage::Explain;

use super::make::{self, Made, Paths, Way};
use super::options::RunBundleOptions;
use super::{bundle, delete, log};
use crate::container::hooks::{self, Kind};
use crate::document::Source;
use crate::gate::Gate;
use crate::record::{State, StateRoot};
use crate::report::Heard;
use crate::status::Status;
use crate::sys;
use crate::terminal::Callers;
use crate::wait::{Signals, Watch};

pub fn run(roots: &StateRoot, options: &RunBundleOptions) -> Result<u8> {
    make::check_descriptors(options.make.preserve_fds)?;
    stage::need_root()?;
    let signals = Signals::hold()?;
    let paths = Paths::of(&options.make)?;
    let loaded = bundle::load(&options.make.bundle)?;
    let process = loaded.spec.process().as_ref().context("process: it is missing")?;
    let attached =
        process.terminal() == Some(true) && !options.detach && options.make.console_socket.is_none();
    let callers = match attached {
        true => Some(Callers::find(rustix::termios::isatty(rustix::stdio::stdin()), Source::Elsewhere)?),
        false => None,
    };
    let way = Way {
        signals: &signals,
        callers: callers.as_ref(),
        outlives: options.detach,
        gate: |_| Ok(Gate::Ready),
    };
    let made = make::make(roots, &options.make, &loaded, &paths, &way)?;
    let (record, state) = (made.record.clone(), made.state.clone());
    let ended = match options.detach {
        true => detach(&made),
        false => see_out(made, &signals, callers),
    };
    if (options.detach || options.keep) && ended.is_ok() {
        return ended;
    }
    match (delete::take_back(&record, &state), ended) {
        (Ok(()), ended) => ended,
        // The command's own exit code stands.
        (Err(left), Ok(code)) => {
            log::warn(&left);
            Ok(code)
        }
        (Err(left), ended) => ended.left(vec![format!("{left:#}")]),
    }
}

/// Until the program runs.
fn detach(made: &Made) -> Result<u8> {
    made.line.go(made.state.pid)?;
    match made.line.hear()? {
        Heard::Closed => started(&made.state).map(|()| 0),
        Heard::Failed(error) => Err(error),
        heard => bail!("cannot start container {}: it says {heard:?}", made.state.id),
    }
}

fn see_out(made: Made, signals: &Signals, callers: Option<Callers>) -> Result<u8> {
    if let Err(error) = made.line.go(made.state.pid) {
        sys::send_signal(made.child.pidfd.as_fd(), libc::SIGKILL).ok();
        return Err(error);
    }
    let mut watch = Watch::new(made.child, made.line, signals, callers);
    if let Some(master) = made.master {
        watch.carry(master)?;
    }
    watch.see_out(|| started(&made.state))
}

/// What is to be done once the program runs.
fn started(state: &State) -> Result<()> {
    hooks::run(Kind::Poststart, state, Status::Running, state.pid)
}
