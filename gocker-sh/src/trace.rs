//! `--trace`: what each stage was asked, what it answered, and when.

mod span;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::value::RawValue;
use stage::{Document, Section};

use crate::children::Child;
use crate::cli::Global;
use span::Origin;

/// Width of the picture, in characters.
const WIDTH: u32 = 40;

/// What has been done so far.
pub struct Trace {
    began: Instant,
    lines: Vec<Line>,
    to: To,
}

/// Who is told.
enum To {
    Stderr,
    File(PathBuf, Origin),
}

struct Line {
    tool: &'static str,
    command: String,
    from: Duration,
    to: Duration,
    code: u8,
    section: Option<String>,
}

impl Trace {
    /// `None` unless it was asked for.
    pub fn start(global: &Global) -> Result<Option<Trace>> {
        let to = match &global.trace {
            None => return Ok(None),
            Some(None) => To::Stderr,
            Some(Some(file)) => To::File(file.clone(), Origin::new()?),
        };
        Ok(Some(Trace { began: Instant::now(), lines: Vec::new(), to }))
    }

    /// Notes processes that have ended, each with its section of the document.
    pub fn add(&mut self, children: &[Child], document: Option<&Document>) {
        for child in children {
            let Some((_, ended)) = child.ended else { continue };
            self.lines.push(Line {
                tool: child.tool,
                command: format!("{} {}", child.tool, child.words.join(" ")),
                from: child.started.duration_since(self.began),
                to: ended.duration_since(self.began),
                code: child.code().unwrap_or_default(),
                section: document.and_then(|document| section(child.tool, document)),
            });
        }
    }

    /// Shows it all. What cannot be written is said, and changes nothing else.
    pub fn show(&self) {
        let whole = self.began.elapsed();
        match &self.to {
            To::Stderr => self.draw(whole),
            To::File(file, origin) => {
                if let Err(error) = origin.write(file, &self.lines, whole) {
                    stage::say(&format!("gocker-sh: {error:#}"));
                }
            }
        }
    }

    fn draw(&self, whole: Duration) {
        stage::say(&format!("{:>9} {:>9}  {}", "FROM ms", "TOOK ms", "STAGE"));
        for line in &self.lines {
            let took = line.to.saturating_sub(line.from);
            let bar = bar(line.from, line.to, whole);
            let failed = if line.code == 0 { String::new() } else { format!("  (exit code {})", line.code) };
            stage::say(&format!("{:>9} {:>9}  |{bar}| {}{failed}", ms(line.from), ms(took), line.command));
            if let Some(section) = &line.section {
                stage::say(&format!("{:>19}   {section}", ""));
            }
        }
        stage::say(&format!("{:>9} {:>9}  in all", ms(Duration::ZERO), ms(whole)));
    }
}

fn section(tool: &str, document: &Document) -> Option<String> {
    let of = [Section::Image, Section::Rootfs, Section::Network, Section::Cgroup];
    let section = of.into_iter().find(|section| section.writer() == tool)?;
    let value: Box<RawValue> = document.get(section.key()).ok()??;
    Some(format!("\"{}\":{}", section.key(), value.get()))
}

fn ms(duration: Duration) -> String {
    format!("{}.{:02}", duration.as_millis(), duration.subsec_micros() % 1000 / 10)
}

/// The span from `from` to `to` within `whole`, drawn.
fn bar(from: Duration, to: Duration, whole: Duration) -> String {
    let place = |at: Duration| {
        let micros = at.as_micros() * u128::from(WIDTH) / whole.as_micros().max(1);
        usize::try_from(micros).unwrap_or(0).min(WIDTH as usize)
    };
    let start = place(from).min(WIDTH as usize - 1);
    let length = (place(to).saturating_sub(start)).max(1);
    let rest = (WIDTH as usize).saturating_sub(start + length);
    format!("{}{}{}", " ".repeat(start), "=".repeat(length), " ".repeat(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_never_empty_and_never_too_long() {
        let ms = Duration::from_millis;
        assert_eq!(bar(ms(0), ms(10), ms(10)), "=".repeat(40));
        assert_eq!(bar(ms(10), ms(10), ms(10)), format!("{}=", " ".repeat(39)));
        assert_eq!(bar(ms(5), ms(5), ms(10)).len(), 40);
    }

    #[test]
    fn milliseconds_have_two_digits_behind_the_point() {
        assert_eq!(ms(Duration::from_micros(12_345)), "12.34");
    }
}
