//! `state` and `list`: what a container is doing.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::find;
use super::options::{Format, ListOptions};
use crate::ls;
use crate::record::{State, StateRoot};
use crate::status::{OciState, Status};

/// The OCI state, with the keys that runc adds.
#[derive(Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    state: OciState<'a>,
    rootfs: &'a Path,
    created: &'a str,
    owner: &'static str,
}

pub fn state(roots: &StateRoot, id: &str) -> Result<()> {
    let (record, state) = find(roots, id, "show")?;
    let text = serde_json::to_string_pretty(&entry(&record, &state)?)? + "\n";
    stage::print(&text)
}

fn entry<'a>(record: &'a Path, state: &'a State) -> Result<Entry<'a>> {
    let status = Status::of(record, state)?;
    let pid = if matches!(status, Status::Stopped | Status::Creating) { 0 } else { state.pid };
    let mut oci = OciState::of(state, status, pid);
    let bundle = state.bundle.as_ref();
    if bundle.is_none() {
        oci.bundle = record;
    }
    Ok(Entry {
        state: oci,
        rootfs: bundle.map_or(Path::new(""), |bundle| &bundle.rootfs),
        created: bundle.map_or("", |bundle| &bundle.created),
        owner: "root",
    })
}

pub fn list(roots: &StateRoot, options: &ListOptions) -> Result<()> {
    let records = ls::ids(roots).into_iter().map(|id| roots.of(&id));
    // What has just begun, or gone, or is broken, is not listed: one bad record must not hide the others.
    let known: Vec<_> = records
        .filter_map(|record| State::read(&record).ok().flatten().map(|state| (record, state)))
        .collect();
    let entries: Vec<Entry> = known.iter().filter_map(|(record, state)| entry(record, state).ok()).collect();
    match (options.quiet, options.format) {
        (true, _) => {
            stage::print(&known.iter().fold(String::new(), |text, (_, state)| text + &state.id + "\n"))
        }
        (false, Format::Json) => stage::print_json(&entries),
        (false, Format::Table) => stage::print(&table(&entries)),
    }
}

fn table(entries: &[Entry]) -> String {
    let width = entries.iter().map(|entry| entry.state.id().len()).max().unwrap_or(0).max(12);
    let mut text = format!("{:width$}  {:<9} {:<9} {:<30}  BUNDLE\n", "ID", "PID", "STATUS", "CREATED");
    for entry in entries {
        let state = &entry.state;
        // Writing to a String does not fail.
        writeln!(
            text,
            "{:width$}  {:<9} {:<9} {:<30}  {}",
            state.id(),
            state.pid,
            state.status,
            entry.created,
            state.bundle.display()
        )
        .ok();
    }
    text
}
