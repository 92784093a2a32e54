//! `ps`: the containers, read from their records and the kernel. It never fails because one of them is broken, and
//! waits for nobody.

use std::collections::BTreeSet;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use stage::Id;

use crate::cli::Global;
use crate::listing::{Column, Format, Listing};
use crate::record::{Record, State};
use crate::store::Store;
use crate::{gc, human, lookup, shape, usage};

mod meant;

/// List containers
#[derive(clap::Args, Clone, Debug)]
pub struct Ps {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Only their ids
    #[arg(short, long)]
    quiet: bool,
    /// Only the N that were made last, running or not
    #[arg(short = 'n', long, value_name = "N")]
    last: Option<usize>,
    /// Only the one that was made last, running or not
    #[arg(short, long)]
    latest: bool,
    /// Do not shorten ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Show how much each has written
    #[arg(short, long)]
    size: bool,
    /// Only those with id, name, label, status, exited, ancestor, before, since or network as given
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    format: Format,
}

const COLUMNS: [Column; 14] = [
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("RunningFor", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Status", "STATUS"),
    ("State", "STATE"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
    ("Networks", "NETWORKS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Size", "SIZE"),
];

const USUAL: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const WITH_SIZE: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}";

/// One container, for `--json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: Id,
    name: String,
    image: String,
    command: Vec<String>,
    created: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
    oom_killed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
    network: String,
}

/// `ps`.
pub fn ps(global: &Global, options: &Ps) -> Result<u8> {
    let store = Store::new(&global.roots);
    gc::sweep(global, &store);
    let filters = meant::parse(&options.filter)?;
    let last = options.last.or(options.latest.then_some(1));
    let all = options.all || last.is_some() || meant::ask_for_state(&filters);
    let ids = if all || meant::cuts(&filters) { lookup::all(&store)? } else { store.running()? };
    let running: BTreeSet<Id> = store.running()?.into_iter().collect();
    let mut records: Vec<Record> =
        ids.iter().filter_map(|id| read(&store, id, running.contains(id))).collect();
    records.sort_by(|one, other| other.created.cmp(&one.created));
    let order: Vec<Id> = records.iter().map(|record| record.id.clone()).collect();
    let cut = meant::cut(&filters, &store, &order)?;
    let mut records: Vec<Record> = records
        .into_iter()
        .enumerate()
        .filter(|(place, record)| {
            (all || record.is_alive())
                && cut.admits(*place)
                && filters.admit(|key, value| meant::holds(key, value, record))
        })
        .map(|(_, record)| record)
        .collect();
    records.truncate(last.unwrap_or(usize::MAX));
    show(&records, options)
}

/// The record, or one that says that it is broken. `None` when the container is gone by now.
fn read(store: &Store, id: &Id, in_run_root: bool) -> Option<Record> {
    // Most are kept and do not run: they are not looked for where they cannot be.
    let read = if in_run_root { Record::read(store, id) } else { Record::read_kept(store, id) };
    match read {
        Ok(record) => record.map(Record::seen_now),
        Err(error) => Some(Record::broken(id, &format!("{error:#}"))),
    }
}

fn show(records: &[Record], options: &Ps) -> Result<u8> {
    let now = Timestamp::now();
    let listing = Listing {
        columns: &COLUMNS,
        usual: if options.size { WITH_SIZE } else { USUAL },
        rows: records.iter().map(|record| row(record, options, now)).collect(),
        array: records.iter().map(entry).collect::<Vec<_>>(),
    };
    if options.quiet && options.format.is_usual() {
        listing.lines("{{.ID}}")?;
    } else {
        listing.print(&options.format)?;
    }
    Ok(0)
}

fn row(record: &Record, options: &Ps, now: Timestamp) -> Value {
    let command = human::command(&record.command);
    let cut = |text: &str, width: usize| {
        if options.no_trunc { text.to_owned() } else { human::ellipsis(text, width) }
    };
    json!({
        "ID": if options.no_trunc { record.id.as_str() } else { record.id.short() },
        "Image": record.image,
        "Command": human::quote(&cut(&command, 20)),
        "RunningFor": format!("{} ago", human::since(&record.created, now)),
        "CreatedAt": human::date(&record.created),
        "Status": status(record, now),
        "State": state(record),
        "Ports": ports(record),
        "Names": record.name,
        "Labels": record.labels.join(","),
        "Networks": record.network.to_string(),
        "Mounts": "",
        "LocalVolumes": "0",
        "Size": size(record, options),
    })
}

/// Looked for only where it is shown: that may take long.
fn size(record: &Record, options: &Ps) -> String {
    let format = options.format.format.as_deref().unwrap_or_default();
    if options.size || format.contains(".Size") {
        human::size(usage::written(record))
    } else {
        "0B".to_owned()
    }
}

/// The word for a container's state, docker's where docker has one.
pub fn state(record: &Record) -> &'static str {
    match record.state() {
        State::Created => "created",
        State::Running => "running",
        State::Paused => "paused",
        State::Exited if record.end.is_none() => "removing",
        State::Exited => "exited",
        State::Broken => "dead",
    }
}

fn status(record: &Record, now: Timestamp) -> String {
    let since = |time: &Option<String>| human::since(time.as_deref().unwrap_or_default(), now);
    match (record.state(), &record.end) {
        (State::Broken, _) => format!("Broken: {}", record.broken.as_deref().unwrap_or_default()),
        (State::Created, _) => "Created".to_owned(),
        (State::Running, _) => format!("Up {}", since(&record.started)),
        (State::Paused, _) => format!("Up {} (Paused)", since(&record.started)),
        (State::Exited, Some(end)) => {
            format!("Exited ({}) {} ago", end.exit_code, human::since(&end.finished, now))
        }
        (State::Exited, None) => "Removal In Progress".to_owned(),
    }
}

/// `0.0.0.0:8080->80/tcp`, of what runs.
fn ports(record: &Record) -> String {
    let published = if record.is_alive() { shape::ports(record) } else { Vec::new() };
    let one = |(inside, outside): &(String, Vec<(String, u64)>)| {
        let shown = |(address, port): &(String, u64)| match address.contains(':') {
            true => format!("[{address}]:{port}->{inside}"),
            false => format!("{address}:{port}->{inside}"),
        };
        outside.iter().map(shown).collect::<Vec<_>>().join(", ")
    };
    published.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn entry(record: &Record) -> Entry {
    let running = record.is_alive();
    Entry {
        id: record.id.clone(),
        name: record.name.clone(),
        image: record.image.clone(),
        command: record.command.clone(),
        created: record.created.clone(),
        state: state(record),
        pid: record.process.as_ref().filter(|_| running).map(|process| process.pid),
        started: record.started.clone(),
        finished: record.end.as_ref().map(|end| end.finished.clone()),
        exit_code: record.end.as_ref().map(|end| end.exit_code),
        oom_killed: record.end.as_ref().is_some_and(|end| end.oom_killed),
        labels: record.labels.clone(),
        network: record.network.to_string(),
    }
}
