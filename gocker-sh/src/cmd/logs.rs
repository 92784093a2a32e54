//! `logs`: what a detached container has printed, and prints.

use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail};
use jiff::{SignedDuration, Timestamp};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use stage::Id;

use crate::cli::Global;
use crate::ending::Ending;
use crate::log::{self, Entry, Follower};
use crate::record::Record;
use crate::store::Store;
use crate::{gc, lookup};

/// Show what a container has printed
#[derive(clap::Args, Clone, Debug)]
pub struct Logs {
    /// Go on until it ends
    #[arg(short, long)]
    follow: bool,
    /// Only so many lines from the end, or all
    #[arg(short = 'n', long, value_name = "N", default_value = "all")]
    tail: String,
    /// Only what came since then: a date, seconds since 1970, or a span such as 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what came before then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Show when each line came
    #[arg(short, long)]
    timestamps: bool,
    /// Name or id
    container: String,
}

/// Which entries are meant.
struct Meant {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    timestamps: bool,
}

/// Prints what the container has printed, stdout to stdout and stderr to stderr.
pub fn logs(global: &Global, options: &Logs) -> Result<u8> {
    let store = Store::new(&global.roots);
    gc::sweep(global, &store);
    let now = Timestamp::now();
    let meant = Meant {
        since: options.since.as_deref().map(|text| time(text, now)).transpose()?,
        until: options.until.as_deref().map(|text| time(text, now)).transpose()?,
        timestamps: options.timestamps,
    };
    let tail = match options.tail.as_str() {
        "all" => usize::MAX,
        // docker takes what is no number for all, and a negative one, too.
        number => number.parse().unwrap_or(usize::MAX),
    };
    let id = lookup::container(&store, &options.container)?;
    let record = Record::read(&store, &id)?.with_context(|| format!("No such container: {id}"))?;
    let ending = Ending::of(&store, &record)?;
    let path = log::path(&store, &id);
    if record.detached.is_none() && record.process.is_some() && !path.exists() {
        bail!(
            "cannot show the log of {}: it ran in the foreground, and printed where it was called",
            record.name
        );
    }
    let news = options.follow.then(|| news(&store, &id)).transpose()?;
    let mut follower = Follower::open(&path)?;
    let old = last(follower.read()?.into_iter().filter(|entry| meant.admits(entry)), tail);
    show(&old, meant.timestamps)?;
    if let Some(news) = &news {
        follow(&store, &id, (&ending, news), &mut follower, |entries| {
            let entries: Vec<Entry> = entries.into_iter().filter(|entry| meant.admits(entry)).collect();
            show(&entries, meant.timestamps)
        })?;
    }
    Ok(0)
}

/// Tells of every change in the directory of a container's log.
pub fn news(store: &Store, id: &Id) -> Result<Inotify> {
    let directory = store.kept_dir(id);
    let context = || format!("cannot watch {}", directory.display());
    let news = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
        .context("inotify_init1")
        .with_context(context)?;
    let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    match news.add_watch(&directory, flags) {
        // A foreground container that is not kept has no such directory.
        Ok(_) | Err(nix::errno::Errno::ENOENT) => Ok(news),
        Err(errno) => Err(errno).context("inotify_add_watch").with_context(context),
    }
}

/// Gives `take` what is added, until the container has ended and all that it printed is there.
fn follow(
    store: &Store,
    id: &Id,
    (ending, news): (&Ending, &Inotify),
    follower: &mut Follower,
    mut take: impl FnMut(Vec<Entry>) -> Result<()>,
) -> Result<()> {
    while let Some(pidfd) = &ending.pidfd {
        let mut fds =
            [PollFd::new(news.as_fd(), PollFlags::POLLIN), PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE).context("cannot wait: poll")?;
        let ended = fds[1].any().unwrap_or(false);
        while news.read_events().is_ok_and(|events| !events.is_empty()) {}
        take(follower.read()?)?;
        if ended {
            break;
        }
    }
    store.wait_unowned(id)?;
    take(follower.read()?)
}

/// Writes entries where the container wrote them.
pub fn show(entries: &[Entry], timestamps: bool) -> Result<()> {
    let mut begun = false;
    for entry in entries {
        let mut text = String::new();
        if timestamps && !begun {
            text.push_str(&entry.time);
            text.push(' ');
        }
        text.push_str(&entry.log);
        begun = !entry.log.ends_with('\n');
        if entry.stream == "stderr" {
            std::io::stderr().write_all(text.as_bytes()).ok();
        } else {
            stage::print(&text)?;
        }
    }
    Ok(())
}

/// The entries of the last `count` lines: a line may be several of them.
fn last(entries: impl Iterator<Item = Entry>, count: usize) -> Vec<Entry> {
    let mut kept: VecDeque<Entry> = VecDeque::new();
    let mut lines = 0;
    for entry in entries {
        if kept.back().is_none_or(|before: &Entry| before.log.ends_with('\n')) {
            lines += 1;
        }
        kept.push_back(entry);
        while lines > count {
            if kept.pop_front().is_none_or(|entry| entry.log.ends_with('\n')) {
                lines -= 1;
            }
        }
    }
    kept.into()
}

impl Meant {
    fn admits(&self, entry: &Entry) -> bool {
        let Ok(time) = entry.time.parse::<Timestamp>() else { return true };
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
    }
}

/// A moment as docker takes it: RFC 3339 or a part of it, seconds since 1970, or a span back from now.
pub fn time(text: &str, now: Timestamp) -> Result<Timestamp> {
    let seconds = |text: &str| {
        let (whole, nanos) = text.split_once('.').unwrap_or((text, "0"));
        let nanos: i32 = format!("{nanos:0<9}").get(..9)?.parse().ok()?;
        Timestamp::new(whole.parse().ok()?, nanos).ok()
    };
    let date = |text: &str| {
        let whole = match text.len() {
            10 => format!("{text}T00:00:00Z"),
            16 => format!("{text}:00Z"),
            19 => format!("{text}Z"),
            _ => text.to_owned(),
        };
        whole.parse::<Timestamp>().ok()
    };
    let span = |text: &str| now.checked_sub(go_duration(text)?).ok();
    match seconds(text).or_else(|| date(text)).or_else(|| span(text)) {
        Some(time) => Ok(time),
        None => bail!(
            "invalid value for \"since\" or \"until\": failed to parse value as time or duration: \"{text}\""
        ),
    }
}

/// A span as Go writes it: `1h30m`, `1.5s`, `100ms`.
fn go_duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = &rest[digits..];
        let end = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let factor = match &unit[..end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            "us" => 0.000_001,
            "ns" => 0.000_000_001,
            _ => return None,
        };
        seconds += rest[..digits].parse::<f64>().ok()? * factor;
        rest = &unit[end..];
    }
    SignedDuration::try_from_secs_f64(seconds).ok().filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(log: &str) -> Entry {
        Entry { log: log.to_owned(), stream: "stdout".to_owned(), time: String::new() }
    }

    #[test]
    fn the_last_lines_are_whole() {
        let entries = ["a\n", "b", "c\n", "d\n", "e"];
        let text = |count| {
            last(entries.iter().map(|text| entry(text)), count)
                .into_iter()
                .map(|one| one.log)
                .collect::<String>()
        };
        assert_eq!(text(1), "e");
        assert_eq!(text(2), "d\ne");
        assert_eq!(text(3), "bc\nd\ne");
        assert_eq!(text(9), "a\nbc\nd\ne");
        assert_eq!(text(0), "");
    }

    #[test]
    fn times_are_dates_seconds_or_spans() {
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
        for (text, time_) in [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04", "2026-01-02T03:04:00Z"),
            ("2026-01-02", "2026-01-02T00:00:00Z"),
            ("1767322845", "2026-01-02T03:00:45Z"),
            ("1767322845.5", "2026-01-02T03:00:45.5Z"),
            ("1h30m", "2026-01-02T10:30:00Z"),
            ("100ms", "2026-01-02T11:59:59.9Z"),
        ] {
            assert_eq!(time(text, now).unwrap().to_string(), time_, "{text}");
        }
        assert!(time("soon", now).is_err() && time("", now).is_err());
    }
}
