//! What is told of the work while it goes on, and what is remembered of it for the document.

mod bars;
mod journal;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;

use crate::digest::Digest;
use bars::Bars;
use journal::Journal;
pub use journal::{Fetched, Phase, Request, microseconds};

/// How it is told to whoever waits, on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// Bars on a terminal, lines elsewhere
    Auto,
    /// Bars
    Bars,
    /// A line for each layer that is done, in docker's words
    Plain,
    /// A JSON object a line
    Json,
    /// Nothing
    None,
}

/// Shared by everybody who works on one image.
#[derive(Clone)]
pub struct Report {
    style: Style,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    journal: Mutex<Journal>,
    bars: Mutex<Bars>,
}

/// What becomes of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Downloading,
    Complete,
    Exists,
}

impl State {
    /// docker's words for it.
    fn words(self) -> &'static str {
        match self {
            State::Downloading => "Downloading",
            State::Complete => "Pull complete",
            State::Exists => "Already exists",
        }
    }

    fn key(self) -> &'static str {
        match self {
            State::Downloading => "downloading",
            State::Complete => "complete",
            State::Exists => "exists",
        }
    }
}

impl Report {
    pub fn new(style: Style) -> Report {
        let style = match style {
            Style::Auto if stage::may_draw(&std::io::stderr()) => Style::Bars,
            Style::Auto => Style::Plain,
            style => style,
        };
        Report { style, inner: Arc::default() }
    }

    /// The same, but nothing is told meanwhile.
    pub fn silent(&self) -> Report {
        Report { style: Style::None, ..self.clone() }
    }

    /// One line for the person who waits.
    pub fn say(&self, line: &str) {
        match self.style {
            Style::None => {}
            Style::Json => object(&json!({"event": "message", "text": line})),
            Style::Bars => lock(&self.inner.bars).above(line),
            Style::Auto | Style::Plain => stage::say(line),
        }
    }

    /// Something failed and is about to be tried again.
    pub fn retry(&self, reason: &str, wait: Duration) {
        match self.style {
            Style::Json => {
                let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                object(&json!({"event": "retry", "reason": reason, "milliseconds": milliseconds}));
            }
            _ => self.say(&format!("{reason}; trying again in {:.1} s", wait.as_secs_f32())),
        }
    }

    /// So many bytes of a layer are here.
    pub fn layer(&self, digest: &Digest, state: State, (bytes, size): (u64, u64)) {
        match self.style {
            Style::Json if state == State::Downloading && !lock(&self.inner.bars).due(digest, bytes) => {}
            Style::Json => {
                let state = state.key();
                object(
                    &json!({"event": "layer", "digest": digest, "state": state, "bytes": bytes, "size": size}),
                );
            }
            Style::Bars => lock(&self.inner.bars).show(digest, state, (bytes, size)),
            Style::Auto | Style::Plain if state != State::Downloading => {
                stage::say(&format!("{}: {}", digest.short(), state.words()));
            }
            _ => {}
        }
    }

    /// A part of the work took so long, for so many bytes.
    pub fn spent(&self, phase: Phase, time: Duration, bytes: u64) {
        lock(&self.inner.journal).spent(phase, time, bytes);
    }

    /// An URL was asked, and this came of it.
    pub fn asked(&self, request: Request) {
        lock(&self.inner.journal).asked(request);
    }

    /// All that was remembered.
    pub fn fetched(&self) -> Fetched {
        lock(&self.inner.journal).fetched()
    }
}

fn object(value: &serde_json::Value) {
    stage::say(&value.to_string());
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
