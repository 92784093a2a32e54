//! A signal by its name, with or without SIG, or by its number.

use std::str::FromStr;

use anyhow::{Result, anyhow};
use rustix::process::Signal;

use crate::sys;

#[derive(Clone, Copy, Debug)]
pub struct SignalName(pub Signal);

impl FromStr for SignalName {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<SignalName> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let named = ALL.into_iter().find(|(known, _)| *known == name).map(|(_, signal)| signal);
        let numbered = || {
            let number = text.parse().ok()?;
            Signal::from_named_raw(number).or_else(|| sys::realtime(number))
        };
        named
            .or_else(|| realtime(name))
            .or_else(numbered)
            .map(SignalName)
            .ok_or_else(|| anyhow!("there is no such signal"))
    }
}

/// `RTMIN`, `RTMIN+3`, `RTMAX-1`, as kill(1) has them.
fn realtime(name: &str) -> Option<Signal> {
    let (base, rest) = match name.strip_prefix("RTMIN") {
        Some(rest) => (libc::SIGRTMIN(), rest),
        None => (libc::SIGRTMAX(), name.strip_prefix("RTMAX")?),
    };
    let sign = if base == libc::SIGRTMIN() { '+' } else { '-' };
    let offset = if rest.is_empty() { 0 } else { rest.strip_prefix(sign)?.parse::<u8>().ok()?.into() };
    sys::realtime(if sign == '+' { base + offset } else { base - offset })
}

const ALL: [(&str, Signal); 31] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("ILL", Signal::ILL),
    ("TRAP", Signal::TRAP),
    ("ABRT", Signal::ABORT),
    ("BUS", Signal::BUS),
    ("FPE", Signal::FPE),
    ("KILL", Signal::KILL),
    ("USR1", Signal::USR1),
    ("SEGV", Signal::SEGV),
    ("USR2", Signal::USR2),
    ("PIPE", Signal::PIPE),
    ("ALRM", Signal::ALARM),
    ("TERM", Signal::TERM),
    ("STKFLT", Signal::STKFLT),
    ("CHLD", Signal::CHILD),
    ("CONT", Signal::CONT),
    ("STOP", Signal::STOP),
    ("TSTP", Signal::TSTP),
    ("TTIN", Signal::TTIN),
    ("TTOU", Signal::TTOU),
    ("URG", Signal::URG),
    ("XCPU", Signal::XCPU),
    ("XFSZ", Signal::XFSZ),
    ("VTALRM", Signal::VTALARM),
    ("PROF", Signal::PROF),
    ("WINCH", Signal::WINCH),
    ("IO", Signal::IO),
    ("PWR", Signal::POWER),
    ("SYS", Signal::SYS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_signals() {
        for text in ["TERM", "SIGTERM", "sigterm", "15"] {
            assert_eq!(text.parse::<SignalName>().unwrap().0, Signal::TERM, "{text}");
        }
        let number = |text: &str| text.parse::<SignalName>().unwrap().0.as_raw();
        assert_eq!(number("SIGRTMIN+2"), libc::SIGRTMIN() + 2);
        assert_eq!((number("rtmax"), number("RTMAX-1")), (libc::SIGRTMAX(), libc::SIGRTMAX() - 1));
        assert_eq!(number("40"), 40);
        for wrong in ["RTMIN-1", "RTMIN+99", "RTMAX+1", "RTMIN3", "", "SIG", "0", "99", "TERMINATE"] {
            assert!(wrong.parse::<SignalName>().is_err(), "{wrong}");
        }
    }
}
