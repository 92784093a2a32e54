//! `events`: what a container uses, in the shape of runc's `events`, and that it ran out of memory.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use super::cgroup::{self, Ask};
use super::options::EventsOptions;
use super::pause::cgroups_path;
use super::{figures, find, kill};
use crate::record::{State, StateRoot};
use crate::status::Status;

pub fn events(roots: &StateRoot, options: &EventsOptions) -> Result<()> {
    let id = &options.id.0;
    let (record, state) = find(roots, id, "watch")?;
    let status = Status::of(&record, &state)?;
    if matches!(status, Status::Stopped | Status::Creating) {
        bail!("cannot watch container {id}: container not running");
    }
    if options.stats {
        return stage::print_json(&event("stats", id, &measure(&state)?));
    }
    watch(&state, Duration::from_secs(options.interval))
}

/// Until its end, or until nobody reads any more.
fn watch(state: &State, interval: Duration) -> Result<()> {
    let Some(pidfd) = kill::hold(state)? else { return Ok(()) };
    let interval = PollTimeout::try_from(interval.as_millis()).unwrap_or(PollTimeout::MAX);
    let mut killed = 0;
    loop {
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], interval) {
            Ok(0) => {}
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno).context("cannot wait: poll"),
        }
        let figures = measure(state)?;
        let now = figures["oom_kills"].as_u64().unwrap_or(0);
        let ran_out = now > killed;
        killed = now;
        let oom = ran_out.then(|| event("oom", &state.id, &Value::Null));
        for event in oom.into_iter().chain([event("stats", &state.id, &figures)]) {
            if !say(&event)? {
                return Ok(());
            }
        }
    }
}

/// `false`: nobody reads.
fn say(event: &Value) -> Result<bool> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(format!("{event}\n").as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        said => said.map(|()| true).context("cannot write to stdout"),
    }
}

fn event(typ: &str, id: &str, data: &Value) -> Value {
    match data {
        Value::Null => json!({"type": typ, "id": id}),
        data => json!({"type": typ, "id": id, "data": data}),
    }
}

/// What cgctl measures, and the kernel of the interfaces in the container's network namespace.
fn measure(state: &State) -> Result<Value> {
    let text = cgroup::ask(cgroups_path(state)?, Ask::Stat)?;
    let figures: Value = serde_json::from_slice(&text).context("cannot read what cgctl has measured")?;
    // One that ends meanwhile has none.
    let devices = std::fs::read_to_string(format!("/proc/{}/net/dev", state.pid)).unwrap_or_default();
    Ok(figures::shaped(&figures, &devices))
}
