//! Signals to a container's first process.

use std::str::FromStr;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use rustix::process::pidfd_send_signal;

use crate::record::Process;
use crate::watch;

/// A signal as docker takes it: `TERM`, `SIGTERM`, `15`, `RTMIN+3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(i32);

/// The first real-time signal that the C library leaves to programs.
const SIGRTMIN: i32 = 34;
const SIGRTMAX: i32 = 64;

impl Number {
    pub const TERM: Number = Number(Signal::SIGTERM as i32);
    pub const KILL: Number = Number(Signal::SIGKILL as i32);

    /// # Errors
    /// docker's words.
    pub fn parse(text: &str) -> Result<Number> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let number = match (name.parse::<i32>(), name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
            (Ok(number), _, _) => Some(number),
            (_, Some(offset), _) => distance(offset, '+').map(|offset| SIGRTMIN + offset),
            (_, _, Some(offset)) => distance(offset, '-').map(|offset| SIGRTMAX - offset),
            _ => Signal::from_str(&format!("SIG{name}")).ok().map(|signal| signal as i32),
        };
        match number.filter(|number| (1..=SIGRTMAX).contains(number)) {
            Some(number) => Ok(Number(number)),
            None => bail!("Invalid signal: {text}"),
        }
    }
}

fn distance(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() { Some(0) } else { text.strip_prefix(sign)?.parse().ok() }
}

/// Sends it, if the process still is the one that was recorded.
pub fn send(process: &Process, signal: Number) -> Result<()> {
    let context = || format!("cannot send signal {} to process {}", signal.0, process.pid);
    let Some(pidfd) = watch::alive(process)? else { return Ok(()) };
    match rustix::process::Signal::from_named_raw(signal.0) {
        Some(named) => match pidfd_send_signal(pidfd, named) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            sent => sent.context("pidfd_send_signal").with_context(context),
        },
        // The real-time signals are those of the C library, and so are not to be sent without its consent: kill(1) has it.
        None => {
            let number = format!("-{}", signal.0);
            let status =
                std::process::Command::new("kill").args([&number, &process.pid.to_string()]).status();
            match status.context("cannot run kill").with_context(context)? {
                status if status.success() => Ok(()),
                _ => bail!("{}: kill failed", context()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in
            [("TERM", 15), ("sigkill", 9), ("2", 2), ("RTMIN+3", 37), ("SIGRTMAX-1", 63), ("RTMIN", 34)]
        {
            assert_eq!(Number::parse(text).unwrap(), Number(number), "{text}");
        }
        for text in ["FROB", "0", "65", "", "RTMIN-1"] {
            assert_eq!(Number::parse(text).unwrap_err().to_string(), format!("Invalid signal: {text}"));
        }
    }
}
