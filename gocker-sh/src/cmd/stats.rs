//! `stats`: what containers use, from `cgctl stat`.

use std::time::{Duration, Instant};

use anyhow::Result;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Deserialize;
use serde_json::{Value, json};
use std::os::fd::AsFd;

use crate::cli::Global;
use crate::listing::{Column, Format, Listing};
use crate::record::Record;
use crate::signals::{Event, Signals, ends};
use crate::spawn::Tools;
use crate::store::Store;
use crate::{ask, gc, human, lookup};

/// Show what containers use
#[derive(clap::Args, Clone, Debug)]
pub struct Stats {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Show it once
    #[arg(long)]
    no_stream: bool,
    /// Do not shorten ids
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    format: Format,
    /// Names or ids (else all that run)
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

const COLUMNS: [Column; 9] = [
    ("ID", "CONTAINER ID"),
    ("Container", "CONTAINER"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];
const USUAL: &str =
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";
/// CPU time is a difference: so long between the two looks.
const SPAN: Duration = Duration::from_millis(1000);

/// The figures of `cgctl stat` that are shown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Figures {
    memory: Memory,
    cpu: Cpu,
    pids: Count,
    io: Io,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Memory {
    current: u64,
    limit: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Cpu {
    usage_usec: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Count {
    current: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Io {
    read_bytes: u64,
    write_bytes: u64,
}

/// One container, looked at.
struct Sample {
    record: Record,
    figures: Figures,
    at: Instant,
}

/// Shows the table, every second until it is told to end; once with `--no-stream`.
pub fn stats(global: &Global, options: &Stats) -> Result<u8> {
    stage::need_root()?;
    let store = Store::new(&global.roots);
    gc::sweep(global, &store);
    let tools = Tools::new(global)?;
    let signals = Signals::hold()?;
    let mut before = sample(&store, &tools, options)?;
    loop {
        if sleep(&signals)? {
            return Ok(0);
        }
        let now = sample(&store, &tools, options)?;
        if !options.no_stream && stage::may_draw(&std::io::stdout()) {
            // To the upper left corner, and clear what is below.
            stage::print("\x1b[H\x1b[J")?;
        }
        show(&before, &now, options)?;
        if options.no_stream {
            return Ok(0);
        }
        before = now;
    }
}

/// Whether a signal asked to end.
fn sleep(signals: &Signals) -> Result<bool> {
    let timeout = PollTimeout::try_from(SPAN).unwrap_or(PollTimeout::MAX);
    poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], timeout)?;
    while let Some(event) = signals.next()? {
        if matches!(event, Event::Signal(signal, _) if ends(signal)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn sample(store: &Store, tools: &Tools, options: &Stats) -> Result<Vec<Sample>> {
    let named = !options.containers.is_empty();
    let ids = match named {
        true => {
            options.containers.iter().map(|word| lookup::container(store, word)).collect::<Result<_>>()?
        }
        false => lookup::all(store)?,
    };
    let mut samples = Vec::new();
    for id in ids {
        let Some(record) = Record::read(store, &id)? else { continue };
        let figures = match record.is_alive() {
            // It may end at any moment: then it has no figures, and the stage has nothing to complain of.
            true => ask::quietly(tools, "cgctl", &["stat", id.as_str()])?.unwrap_or_default(),
            false if named || options.all => Figures::default(),
            false => continue,
        };
        samples.push(Sample { record, figures, at: Instant::now() });
    }
    samples.sort_by(|one, other| other.record.created.cmp(&one.record.created));
    Ok(samples)
}

fn show(before: &[Sample], now: &[Sample], options: &Stats) -> Result<()> {
    let memory = host_memory();
    let rows: Vec<Value> = now
        .iter()
        .map(|sample| {
            let earlier = before.iter().find(|earlier| earlier.record.id == sample.record.id);
            row(earlier, sample, memory, options.no_trunc)
        })
        .collect();
    Listing { columns: &COLUMNS, usual: USUAL, array: rows.clone(), rows }.print(&options.format)
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn row(before: Option<&Sample>, now: &Sample, host: u64, whole_id: bool) -> Value {
    let used =
        before.map_or(0, |before| now.figures.cpu.usage_usec.saturating_sub(before.figures.cpu.usage_usec));
    let span = before.map_or(SPAN, |before| now.at.duration_since(before.at)).as_micros().max(1);
    let limit = now.figures.memory.limit.map_or(host, |limit| limit.min(host));
    let current = now.figures.memory.current;
    let (received, sent) = traffic(&now.record);
    json!({
        "ID": if whole_id { now.record.id.as_str() } else { now.record.id.short() },
        "Container": now.record.id.short(),
        "Name": now.record.name,
        "CPUPerc": format!("{:.2}%", used as f64 * 100.0 / span as f64),
        "MemUsage": format!("{} / {}", human::binary_size(current), human::binary_size(limit)),
        "MemPerc": format!("{:.2}%", current as f64 * 100.0 / limit.max(1) as f64),
        "NetIO": format!("{} / {}", human::size(received), human::size(sent)),
        "BlockIO": format!("{} / {}", human::size(now.figures.io.read_bytes), human::size(now.figures.io.write_bytes)),
        "PIDs": now.figures.pids.current.to_string(),
    })
}

/// Bytes that came in and went out, all interfaces but the loopback, as the container's own /proc/net/dev says.
fn traffic(record: &Record) -> (u64, u64) {
    let Some(process) = record.process.as_ref().filter(|process| process.is_alive()) else { return (0, 0) };
    let text = std::fs::read_to_string(format!("/proc/{}/net/dev", process.pid)).unwrap_or_default();
    let mut sum = (0, 0);
    for line in text.lines().skip(2) {
        let Some((name, fields)) = line.split_once(':') else { continue };
        let field = |at: usize| {
            fields.split_whitespace().nth(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
        };
        if name.trim() != "lo" {
            sum = (sum.0 + field(0), sum.1 + field(8));
        }
    }
    sum
}

/// Bytes, proc_meminfo(5).
fn host_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
