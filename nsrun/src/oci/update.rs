//! `update`: other limits for a container that is there.

use std::io::Read;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::cgroup::{self, Ask};
use super::find;
use super::options::UpdateOptions;
use super::pause::cgroups_path;
use crate::record::StateRoot;

pub fn update(roots: &StateRoot, options: &UpdateOptions) -> Result<()> {
    let (_, state) = find(roots, &options.id.0, "update")?;
    let resources = match &options.resources {
        Some(file) => read(file).with_context(|| format!("cannot read resources from {}", file.display()))?,
        None => typed(options),
    };
    cgroup::ask(cgroups_path(&state)?, Ask::Set(&resources)).map(drop)
}

fn read(file: &std::path::Path) -> Result<Value> {
    let mut text = Vec::new();
    match file.to_str() {
        Some("-") => std::io::stdin().read_to_end(&mut text)?,
        _ => std::fs::File::open(file)?.read_to_end(&mut text)?,
    };
    let resources: Value = serde_json::from_slice(&text)?;
    ensure!(resources.is_object(), "it is not a JSON object");
    Ok(resources)
}

/// `linux.resources` of what was typed.
fn typed(options: &UpdateOptions) -> Value {
    let memory = [
        ("limit", options.memory.map(Value::from)),
        ("reservation", options.memory_reservation.map(Value::from)),
        ("swap", options.memory_swap.map(Value::from)),
    ];
    let cpu = [
        ("shares", options.cpu_share.map(Value::from)),
        ("quota", options.cpu_quota.map(Value::from)),
        ("period", options.cpu_period.map(Value::from)),
        ("cpus", options.cpuset_cpus.clone().map(Value::from)),
        ("mems", options.cpuset_mems.clone().map(Value::from)),
    ];
    let pids = [("limit", options.pids_limit.map(Value::from))];
    let block = [("weight", options.blkio_weight.map(Value::from))];
    json!({"memory": object(memory), "cpu": object(cpu), "pids": object(pids), "blockIO": object(block)})
        .as_object()
        .map(|all| {
            all.iter().filter(|(_, part)| !part.is_null()).map(|(key, part)| (key.clone(), part.clone()))
        })
        .map_or(Value::Null, |parts| parts.collect::<Map<_, _>>().into())
}

/// Only what was set; null if nothing was.
fn object<const N: usize>(pairs: [(&str, Option<Value>); N]) -> Value {
    let set: Map<String, Value> =
        pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
    if set.is_empty() { Value::Null } else { set.into() }
}
