//! `events`: what has happened to containers, and what happens.

use std::os::fd::AsFd;

use anyhow::{Context, Result};
use jiff::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde_json::Value;

use super::logs::time;
use crate::cli::Global;
use crate::events;
use crate::filter::{Filters, has_label};
use crate::log::Follower;
use crate::store::{Store, make_dir};
use crate::template::Template;

/// Show what happens to containers
#[derive(clap::Args, Clone, Debug)]
pub struct Events {
    /// Also what has happened since then: a date, seconds since 1970, or a span such as 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what happens before then; the past alone, if that is past
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only those with container, event, image, label or type as given
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// A Go template for each, or json
    #[arg(long)]
    format: Option<String>,
}

struct Meant {
    since: Timestamp,
    until: Option<Timestamp>,
    filters: Filters,
    template: Option<Template>,
}

pub fn events(global: &Global, options: &Events) -> Result<u8> {
    let now = Timestamp::now();
    let read = |text: &Option<String>| text.as_deref().map(|text| time(text, now)).transpose();
    let template = options.format.as_deref().filter(|text| *text != "json");
    let meant = Meant {
        since: read(&options.since)?.unwrap_or(now),
        until: read(&options.until)?,
        filters: Filters::parse(&options.filter, &["container", "event", "image", "label", "type"])?,
        template: template.map(Template::parse).transpose()?,
    };
    let json = options.format.as_deref() == Some("json");
    let path = events::path(&Store::new(&global.roots));
    let directory = path.parent().context("cannot watch events: no directory")?;
    make_dir(directory)?;
    let news = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context("inotify_init1")?;
    let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    news.add_watch(directory, flags)
        .context("inotify_add_watch")
        .with_context(|| format!("cannot watch {}", directory.display()))?;
    let mut follower = Follower::open(&path)?;
    loop {
        for event in follower.read::<Value>()?.iter().filter(|event| meant.admits(event)) {
            stage::print(&format!("{}\n", meant.line(event, json)?))?;
        }
        let Some(wait) = meant.left() else { return Ok(0) };
        poll(&mut [PollFd::new(news.as_fd(), PollFlags::POLLIN)], wait).context("cannot wait: poll")?;
        while news.read_events().is_ok_and(|events| !events.is_empty()) {}
    }
}

impl Meant {
    /// How long to wait for more; `None` when the time is over.
    fn left(&self) -> Option<PollTimeout> {
        let Some(until) = self.until else { return Some(PollTimeout::NONE) };
        let left = until.duration_since(Timestamp::now()).as_millis();
        (left > 0).then(|| {
            PollTimeout::try_from(i32::try_from(left + 1).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX)
        })
    }

    fn admits(&self, event: &Value) -> bool {
        let at =
            event["timeNano"].as_i64().and_then(|nanos| Timestamp::from_nanosecond(i128::from(nanos)).ok());
        let in_time = at.is_some_and(|at| at >= self.since && self.until.is_none_or(|until| at < until));
        in_time && self.filters.admit(|key, value| holds(event, key, value))
    }

    fn line(&self, event: &Value, json: bool) -> Result<String> {
        match &self.template {
            Some(template) => template.render(event),
            None if json => Ok(serde_json::to_string(event)?),
            None => Ok(usual(event)),
        }
    }
}

fn holds(event: &Value, key: &str, value: &str) -> bool {
    let attributes = &event["Actor"]["Attributes"];
    let id = event["id"].as_str().unwrap_or_default();
    match key {
        "container" => attributes["name"] == value || (!value.is_empty() && id.starts_with(value)),
        "event" => event["Action"] == value,
        "image" => attributes["image"] == value,
        "type" => event["Type"] == value,
        _ => attributes
            .as_object()
            .into_iter()
            .flatten()
            .any(|(key, text)| has_label(&format!("{key}={}", text.as_str().unwrap_or_default()), value)),
    }
}

/// docker's line: `TIME container start ID (image=busybox, name=web)`.
fn usual(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let at = event["timeNano"].as_i64().and_then(|nanos| Timestamp::from_nanosecond(i128::from(nanos)).ok());
    let at = at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()).unwrap_or_default();
    let attributes = event["Actor"]["Attributes"].as_object();
    let attributes: Vec<String> =
        attributes.into_iter().flatten().map(|(key, value)| format!("{key}={}", text(value))).collect();
    format!(
        "{at} {} {} {} ({})",
        text(&event["Type"]),
        text(&event["Action"]),
        text(&event["id"]),
        attributes.join(", ")
    )
}
