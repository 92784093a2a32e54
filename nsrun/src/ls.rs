//! `nsrun ls`: what is recorded, and whether the kernel knows it.

use anyhow::Result;
use serde::Serialize;
use stage::{Id, RunRoot};

use crate::record::{self, State};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: Id,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub fn ls(roots: &RunRoot) -> Result<()> {
    let entries = std::fs::read_dir(record::all(roots)).into_iter().flatten().flatten();
    let mut ids: Vec<Id> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    ids.sort();
    let list: Vec<Entry> = ids.into_iter().map(|id| entry(roots, id)).collect();
    stage::print_json(&list)
}

/// One that is broken is listed as such.
fn entry(roots: &RunRoot, id: Id) -> Entry {
    let stopped = |id, start_time, error| Entry { id, status: "stopped", pid: None, start_time, error };
    match State::read(&record::dir(roots, &id)) {
        Ok(Some(state)) if state.is_running() => Entry {
            id,
            status: "running",
            pid: Some(state.pid),
            start_time: Some(state.start_time),
            error: None,
        },
        Ok(state) => stopped(id, state.map(|state| state.start_time), None),
        Err(error) => stopped(id, None, Some(format!("{error:#}"))),
    }
}
