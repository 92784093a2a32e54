//! `attach`: what a detached container prints from now on, and with `-i` what is typed to it.
//!
//! Its output is read from the log, its input written into its pipe or terminal: the watcher takes no part.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use super::logs;
use crate::cli::Global;
use crate::ending::Ending;
use crate::log::{self, Follower};
use crate::options::Run;
use crate::record::{Detached, Record, State};
use crate::signal::{self, Number};
use crate::signals::{Event, Signals};
use crate::spawn::pipe;
use crate::store::Store;
use crate::streams::{self, STDIN};
use crate::{gc, lookup};

/// See what a running container prints, and type to it
#[derive(clap::Args, Clone, Debug)]
pub struct Attach {
    /// Pass nothing of stdin on
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on
    #[arg(long, value_name = "true|false", default_value = "true", action = clap::ArgAction::Set)]
    sig_proxy: bool,
    /// Keys that leave the container alone, such as ctrl-p,ctrl-q (else none do)
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Name or id
    container: String,
}

/// How one is attached.
pub struct Attached {
    /// stdin is passed on.
    pub input: bool,
    pub keys: Option<Vec<u8>>,
    /// Signals are passed on.
    pub proxy: bool,
}

/// Stays until the container ends; ends with its code.
pub fn command(global: &Global, options: &Attach) -> Result<u8> {
    stage::need_root()?;
    let store = Store::new(&global.roots);
    gc::sweep(global, &store);
    let id = lookup::container(&store, &options.container)?;
    let Some(record) = lookup::started(&store, &id)? else {
        bail!("You cannot attach to a stopped container, start it first")
    };
    if record.state() == State::Paused {
        bail!("You cannot attach to a paused container, unpause it first");
    }
    if record.detached.is_none() {
        bail!("cannot attach to container {}: it runs in the foreground of another command", record.name);
    }
    let typed = Run::read(record.options.as_deref())?.process;
    let input = typed.interactive && !options.no_stdin;
    if input && typed.tty && !std::io::stdin().is_terminal() {
        bail!("cannot attach stdin to a TTY-enabled container because stdin is not a terminal");
    }
    let keys = options.detach_keys.as_deref().map(keys).transpose()?;
    let mut log = Follower::open(&log::path(&store, &id))?;
    log.read::<log::Entry>()?;
    attach(&store, &record, log, Attached { input, keys, proxy: options.sig_proxy })
}

/// Shows what is added to the log, and passes on what is typed, until the container ends or the keys are typed.
pub fn attach(store: &Store, record: &Record, mut log: Follower, attached: Attached) -> Result<u8> {
    let ending = Ending::of(store, record)?;
    let signals = Signals::hold()?;
    let news = logs::news(store, &record.id)?;
    let terminal = record.detached.as_ref().filter(|_| ending.pidfd.is_some());
    let terminal = terminal.map(streams::master_of).transpose()?.flatten();
    let raw = (attached.input && terminal.is_some()).then(Raw::enter).transpose()?;
    resize(terminal.as_ref(), record.detached.as_ref());
    let left = match attached.input {
        true => Some(pass_on_input(store, record, terminal.as_ref(), attached.keys)?),
        false => None,
    };
    logs::show(&log.read()?, false)?;
    while let Some(pidfd) = &ending.pidfd {
        let mut fds = vec![
            PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(news.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(left.as_ref().map(|left| PollFd::new(left.as_fd(), PollFlags::POLLIN)));
        poll(&mut fds, PollTimeout::NONE).context("cannot wait: poll")?;
        let (ended, gone) = (fds[0].any() == Some(true), fds.get(3).and_then(PollFd::any) == Some(true));
        while news.read_events().is_ok_and(|events| !events.is_empty()) {}
        logs::show(&log.read()?, false)?;
        if gone {
            drop(raw);
            stage::say("read escape sequence");
            return Ok(0);
        }
        if ended {
            break;
        }
        if let Some(code) = pass_on_signals(&signals, record, terminal.as_ref(), attached.proxy)? {
            return Ok(code);
        }
    }
    store.wait_unowned(&record.id)?;
    logs::show(&log.read()?, false)?;
    drop(raw);
    ending.code(store, &record.id)
}

/// The code to end with, if a signal ends us and not the container.
fn pass_on_signals(
    signals: &Signals,
    record: &Record,
    terminal: Option<&OwnedFd>,
    proxy: bool,
) -> Result<Option<u8>> {
    while let Some(event) = signals.next()? {
        match (event, &record.process) {
            (Event::Signal(nix::sys::signal::Signal::SIGWINCH, _), _) => {
                resize(terminal, record.detached.as_ref())
            }
            (Event::Signal(which, _), Some(process)) if proxy => {
                signal::send(process, Number::parse(which.as_str())?)?;
            }
            (Event::Signal(which, _), _) if crate::signals::ends(which) => {
                return Ok(Some(128 + u8::try_from(which as i32)?));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Gives the container's terminal the size of ours, and tells nsrun, which is in no session of it.
fn resize(terminal: Option<&OwnedFd>, detached: Option<&Detached>) {
    let (Some(terminal), Some(detached)) = (terminal, detached) else { return };
    let Ok(size) = tcgetwinsize(rustix::stdio::stdin()).or_else(|_| tcgetwinsize(rustix::stdio::stdout()))
    else {
        return;
    };
    // A window that cannot be told is a window that is not told: no reason to end.
    tcsetwinsize(terminal, size).ok();
    if let Ok(winch) = Number::parse("WINCH") {
        signal::send(&detached.nsrun, winch).ok();
    }
}

/// A thread copies stdin, for either side may make it wait. What is returned becomes readable when the keys were typed.
fn pass_on_input(
    store: &Store,
    record: &Record,
    terminal: Option<&OwnedFd>,
    keys: Option<Vec<u8>>,
) -> Result<OwnedFd> {
    let target = match terminal {
        Some(master) => {
            std::fs::File::from(master.try_clone().context("cannot reach the container's terminal: dup")?)
        }
        None => {
            let path = store.run_dir(&record.id).join(STDIN);
            OpenOptions::new()
                .write(true)
                .open(&path)
                .with_context(|| format!("cannot write {}", path.display()))?
        }
    };
    let (left, leave) = pipe()?;
    std::thread::spawn(move || {
        if !copy_until(keys.as_deref(), target) {
            // The end of stdin is not the end of the container's: others may attach.
            std::mem::forget(leave);
        }
    });
    Ok(left)
}

/// Whether the keys were typed.
fn copy_until(keys: Option<&[u8]>, mut target: std::fs::File) -> bool {
    let mut buffer = [0u8; 4096];
    let mut typed = 0;
    while let Ok(count @ 1..) = std::io::stdin().read(&mut buffer) {
        for byte in &buffer[..count] {
            let Some(keys) = keys else { continue };
            typed = if keys.get(typed) == Some(byte) {
                typed + 1
            } else {
                usize::from(keys.first() == Some(byte))
            };
            if typed == keys.len() {
                return true;
            }
        }
        if target.write_all(&buffer[..count]).is_err() {
            return false;
        }
    }
    false
}

/// `ctrl-p,ctrl-q` as the bytes a terminal sends.
pub fn keys(text: &str) -> Result<Vec<u8>> {
    let key = |word: &str| match (word.strip_prefix("ctrl-"), word.as_bytes()) {
        (Some(word), _) => match word.as_bytes() {
            [letter @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')] => Some(letter & 0x1f),
            _ => None,
        },
        (None, [byte]) => Some(*byte),
        _ => None,
    };
    text.split(',')
        .map(|word| {
            key(word).with_context(|| format!("invalid detach keys ({text}): unknown character: '{word}'"))
        })
        .collect()
}

/// stdin in raw mode, put back when this goes.
struct Raw(Termios);

impl Raw {
    fn enter() -> Result<Raw> {
        let context = "cannot set the terminal to raw mode";
        let before = tcgetattr(rustix::stdio::stdin()).context("tcgetattr").context(context)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw)
            .context("tcsetattr")
            .context(context)?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_dockers() {
        assert_eq!(keys("ctrl-p,ctrl-q").unwrap(), [16, 17]);
        assert_eq!(keys("a,ctrl-[").unwrap(), [b'a', 27]);
        assert!(keys("ctrl-").is_err() && keys("ab").is_err());
    }
}
