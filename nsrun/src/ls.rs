//! `nsrun ls`: what is recorded, and whether the kernel knows it.

use anyhow::Result;
use serde::Serialize;

use crate::record::{State, StateRoot};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub fn ls(roots: &StateRoot) -> Result<()> {
    let list: Vec<Entry> = ids(roots).into_iter().map(|id| entry(roots, id)).collect();
    stage::print_json(&list)
}

/// Of every container that there is a record of.
pub fn ids(roots: &StateRoot) -> Vec<String> {
    let entries = std::fs::read_dir(roots.all()).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut ids: Vec<String> = directories.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    ids.sort();
    ids
}

/// One that is broken is listed as such.
fn entry(roots: &StateRoot, id: String) -> Entry {
    let stopped = |id, start_time, error| Entry { id, status: "stopped", pid: None, start_time, error };
    match State::read(&roots.of(&id)) {
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
