//! Bars on a terminal, one line for each layer, redrawn in place.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use super::State;
use crate::digest::Digest;

/// Between two drawings.
const INTERVAL: Duration = Duration::from_millis(100);
/// Characters of a bar.
const WIDTH: u64 = 30;

/// The layers in the order in which they were first heard of.
#[derive(Default)]
pub struct Bars {
    lines: Vec<(Digest, String)>,
    drawn: usize,
    last: Option<Instant>,
    told: HashMap<Digest, Instant>,
}

impl Bars {
    /// Whether it is time to tell of this layer again.
    pub fn due(&mut self, digest: &Digest, bytes: u64) -> bool {
        let now = Instant::now();
        let due = bytes == 0 || self.told.get(digest).is_none_or(|last| now - *last >= INTERVAL);
        if due {
            self.told.insert(digest.clone(), now);
        }
        due
    }

    /// A line that stays, above the bars.
    pub fn above(&mut self, line: &str) {
        stage::say(&format!("{}{line}", self.up()));
        self.drawn = 0;
        self.draw();
    }

    /// How a layer stands.
    pub fn show(&mut self, digest: &Digest, state: State, (bytes, size): (u64, u64)) {
        let text = match state {
            State::Downloading => format!("{}: {} {}", digest.short(), state.words(), bar(bytes, size)),
            _ => format!("{}: {}", digest.short(), state.words()),
        };
        match self.lines.iter_mut().find(|(known, _)| known == digest) {
            Some((_, line)) => *line = text,
            None => self.lines.push((digest.clone(), text)),
        }
        if state != State::Downloading || self.last.is_none_or(|last| last.elapsed() >= INTERVAL) {
            self.draw();
        }
    }

    fn draw(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let mut text = self.up();
        let mut lines = self.lines.iter().peekable();
        while let Some((_, line)) = lines.next() {
            text += line;
            text += if lines.peek().is_some() { "\x1b[K\n" } else { "\x1b[K" };
        }
        stage::say(&text);
        self.drawn = self.lines.len();
        self.last = Some(Instant::now());
    }

    /// To the first of the lines that are drawn, with everything from there on gone.
    fn up(&self) -> String {
        let mut text = String::new();
        if self.drawn > 0 {
            // Writing to a String does not fail.
            write!(text, "\x1b[{}A\r\x1b[J", self.drawn).ok();
        }
        text
    }
}

/// `[====>     ] 1.2MB/3.4MB`
fn bar(bytes: u64, size: u64) -> String {
    let full = usize::try_from(WIDTH * bytes.min(size) / size.max(1)).unwrap_or(0);
    let width = usize::try_from(WIDTH).unwrap_or(0);
    format!("[{:<width$}] {}/{}", "=".repeat(full) + ">", human(bytes), human(size))
}

/// As docker writes sizes: powers of a thousand, four digits at most.
fn human(bytes: u64) -> String {
    let mut scaled = bytes;
    let mut rest = 0;
    let mut units = ["B", "kB", "MB", "GB", "TB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if scaled < 1000 {
            break;
        }
        (rest, scaled, unit) = (scaled % 1000 / 100, scaled / 1000, next);
    }
    if unit == "B" { format!("{scaled}B") } else { format!("{scaled}.{rest}{unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let texts: Vec<String> = [0, 999, 1000, 1234, 999_999, 1_500_000, u64::MAX].map(human).to_vec();
        assert_eq!(texts, ["0B", "999B", "1.0kB", "1.2kB", "999.9kB", "1.5MB", "18446744.0TB"]);
    }

    #[test]
    fn a_bar_fills_up() {
        assert_eq!(bar(0, 0).matches('=').count(), 0);
        assert_eq!(bar(50, 100).matches('=').count(), 15);
        assert_eq!(bar(200, 100).matches('=').count(), 30);
    }
}
