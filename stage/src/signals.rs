//! Signals while a stage changes the host.
//!
//! A stage that needs milliseconds holds the signals that end it until it is done, so that it is never
//! killed between an effect and the registration of its undo (SIGKILL aside: that is what `undo ID` is for).

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

static HELD: AtomicBool = AtomicBool::new(false);

const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// Holds the signals that end a process until it exits. Not for a process that will start another one, which
/// would inherit it.
pub fn hold() -> Result<()> {
    let set: SigSet = ENDING.into_iter().collect();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
    HELD.store(true, Ordering::Relaxed);
    Ok(())
}

/// # Errors
/// One of the held signals has come.
pub fn check() -> Result<()> {
    if !HELD.load(Ordering::Relaxed) {
        return Ok(());
    }
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let pending = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .unwrap_or(0)
    };
    let mask = pending("SigPnd:") | pending("ShdPnd:");
    match ENDING.into_iter().find(|signal| mask & (1 << (*signal as i32 - 1)) != 0) {
        Some(signal) => bail!("interrupted by {signal}"),
        None => Ok(()),
    }
}
