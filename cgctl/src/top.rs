//! `top`: what the groups use, again and again: a table on a terminal, else JSON, one object a line.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::group::CgroupPath;
use crate::hierarchy;
use crate::record::Records;
use crate::stat::{self, Figures};
use crate::target::Target;
use crate::{events, list};

#[derive(Args, Clone, Debug)]
pub struct Rhythm {
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// End after this many looks
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
}

/// A group since the last look.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(flatten)]
    figures: &'a Figures,
    interval_usec: u64,
    /// Cpu time in that interval, microseconds.
    cpu_usec: u64,
}

pub fn command(records: &Records, target: Option<&Target>, rhythm: &Rhythm) -> Result<()> {
    let interval = Duration::from_secs(rhythm.interval);
    let terminal = std::io::stdout().is_terminal();
    let mut before = look(records, target)?;
    let mut begin = Instant::now();
    for _ in 0..rhythm.count.unwrap_or(u64::MAX) {
        events::pause(interval)?;
        let now = look(records, target)?;
        let took = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        begin = Instant::now();
        let mut lines: Vec<Line> =
            now.iter().map(|(group, figures)| line(figures, before.get(group), took)).collect();
        lines.sort_by_key(|line| std::cmp::Reverse(line.cpu_usec));
        if terminal {
            stage::print(&table(&lines))?;
        } else {
            lines.iter().try_for_each(stage::print_json)?;
        }
        before = now;
    }
    Ok(())
}

fn look(records: &Records, target: Option<&Target>) -> Result<BTreeMap<String, Figures>> {
    let (_, hierarchies) = hierarchy::ours()?;
    let groups: Vec<(CgroupPath, _)> = match target {
        Some(target) => vec![(records.target(target)?, target.id.clone())],
        None => {
            list::ids(records, &hierarchies).into_iter().map(|id| (records.group(&id), Some(id))).collect()
        }
    };
    // One that has gone meanwhile is left out.
    let all = groups.into_iter().filter_map(|(group, id)| {
        let figures = stat::figures(&hierarchies, &group, id.as_ref())?;
        Some((group.to_string(), figures))
    });
    Ok(all.collect())
}

fn line<'a>(figures: &'a Figures, before: Option<&Figures>, took: u64) -> Line<'a> {
    let since = before.map_or(figures.cpu_usec(), Figures::cpu_usec);
    Line { figures, interval_usec: took, cpu_usec: figures.cpu_usec().saturating_sub(since) }
}

fn table(lines: &[Line]) -> String {
    // From the top left corner of the screen, what was below it erased.
    let start = if stage::may_draw(&std::io::stdout()) { "\x1b[H\x1b[J" } else { "" };
    let mut text = start.to_owned();
    text += &format!(
        "{:<14} {:>7} {:>10} {:>10} {:>6} {:>6} {:>4}\n",
        "GROUP", "CPU", "MEMORY", "LIMIT", "PIDS", "LIMIT", "OOM"
    );
    for line in lines {
        // In tenths of a per cent of one cpu.
        let share = line.cpu_usec.saturating_mul(1000) / line.interval_usec.max(1);
        let [memory, memory_limit] =
            line.figures.memory_figures().map(|bytes| bytes.map_or_else(|| "-".into(), size));
        let [pids, pids_limit] =
            line.figures.pids_figures().map(|n| n.map_or_else(|| "-".into(), |n| n.to_string()));
        text += &format!(
            "{:<14} {:>5}.{}% {memory:>10} {memory_limit:>10} {pids:>6} {pids_limit:>6} {:>4}\n",
            line.figures.short_name(),
            share / 10,
            share % 10,
            line.figures.oom_kills().unwrap_or(0),
        );
    }
    text
}

/// With a binary unit and one decimal.
fn size(bytes: u64) -> String {
    let mut tenths = bytes.saturating_mul(10);
    for unit in ["B", "KiB", "MiB"] {
        if tenths < 10 * 1024 {
            return format!("{}.{}{unit}", tenths / 10, tenths % 10);
        }
        tenths /= 1024;
    }
    format!("{}.{}GiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_and_a_decimal() {
        for (bytes, expected) in [(0, "0.0B"), (1536, "1.5KiB"), (64 << 20, "64.0MiB"), (5 << 30, "5.0GiB")] {
            assert_eq!(size(bytes), expected);
        }
    }
}
