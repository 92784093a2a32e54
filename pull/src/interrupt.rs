//! Ending early: by a signal, or because another layer has failed.
//!
//! A download takes long, so unlike in the other stages a signal that ends is not held until the work is done:
//! a thread waits for it, and whoever waits for bytes or for a lock looks here.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use nix::sys::signal::{SigSet, Signal};

static STATE: Mutex<State> = Mutex::new(State { reason: None, hooks: Vec::new() });
static CHANGED: Condvar = Condvar::new();

struct State {
    reason: Option<Reason>,
    hooks: Vec<Box<dyn FnOnce() + Send>>,
}

#[derive(Clone, Copy)]
enum Reason {
    Signal(Signal),
    OtherFailed,
}

/// From here on a signal that ends a process makes [`check`] fail. To be called before the first thread is made.
pub fn watch() -> Result<()> {
    stage::signals::hold()?;
    let ending = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
    let set: SigSet = ending.into_iter().collect();
    std::thread::Builder::new().name("signals".to_owned()).stack_size(64 << 10).spawn(move || {
        while let Ok(signal) = set.wait() {
            end(Reason::Signal(signal));
        }
    })?;
    Ok(())
}

/// Makes [`check`] fail in every thread: what they do is in vain.
pub fn cancel() {
    end(Reason::OtherFailed);
}

/// Calls `hook` when the end comes; at once if it has come.
pub fn on_end(hook: impl FnOnce() + Send + 'static) {
    let mut state = lock();
    if state.reason.is_some() {
        drop(state);
        return hook();
    }
    state.hooks.push(Box::new(hook));
}

/// # Errors
/// The work is to end.
pub fn check() -> Result<()> {
    told(lock().reason)
}

/// Waits, at most for `duration`.
///
/// # Errors
/// The work is to end.
pub fn pause(duration: Duration) -> Result<()> {
    let waited = CHANGED.wait_timeout_while(lock(), duration, |state| state.reason.is_none());
    let reason = waited.map_or_else(|poisoned| poisoned.into_inner().0.reason, |(state, _)| state.reason);
    told(reason)
}

fn told(reason: Option<Reason>) -> Result<()> {
    match reason {
        None => Ok(()),
        Some(Reason::Signal(signal)) => bail!("interrupted by {signal}"),
        Some(Reason::OtherFailed) => bail!("cancelled: another layer failed"),
    }
}

fn end(reason: Reason) {
    let mut state = lock();
    // The first reason is the one that is reported.
    state.reason.get_or_insert(reason);
    let hooks = std::mem::take(&mut state.hooks);
    drop(state);
    CHANGED.notify_all();
    hooks.into_iter().for_each(|hook| hook());
}

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}
