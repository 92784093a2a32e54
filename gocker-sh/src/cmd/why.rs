//! `why`: everything on the host that belongs to a container, in one document.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::{each, top};
use crate::cli::Global;
use crate::log;
use crate::record::{Process, Record};
use crate::store::Store;

/// Show everything on the host that belongs to a container
#[derive(clap::Args, Clone, Debug)]
pub struct Why {
    /// Name or id
    container: String,
}

/// Prints one JSON object: processes, namespaces, network, cgroup, mounts, files.
pub fn why(global: &Global, options: &Why) -> Result<u8> {
    each(global, std::slice::from_ref(&options.container), |store, id, _| {
        let record = Record::read(store, id)?.with_context(|| format!("No such container: {id}"))?;
        let text = serde_json::to_string_pretty(&everything(global, store, &record)?)?;
        stage::print(&(text + "\n"))
    })
}

fn everything(global: &Global, store: &Store, record: &Record) -> Result<Value> {
    let document: Value =
        record.document.as_ref().map(|raw| serde_json::from_str(raw.get())).transpose()?.unwrap_or_default();
    let alive = record.is_alive();
    let process = record.process.as_ref().filter(|_| alive);
    let pids = if alive { top::pids(record)?.into_iter().collect() } else { Vec::new() };
    Ok(json!({
        "id": record.id,
        "name": record.name,
        "state": crate::ps::state(record),
        "processes": {
            "pids": pids,
            "first": process.map(|process| process.pid),
            "nsrun": record.detached.as_ref().filter(|_| alive).map(|detached| detached.nsrun.pid),
        },
        "namespaces": process.map(namespaces),
        "network": if alive { document["network"].clone() } else { Value::Null },
        "cgroup": if alive { document["cgroup"]["paths"].clone() } else { Value::Null },
        "mounts": process.map(mounts),
        "rootfs": {"mounted": document["rootfs"]["path"], "writable": document["rootfs"]["upper"]},
        "layers": document["image"]["layers"].as_array().into_iter().flatten().map(|layer| layer["path"].clone()).collect::<Vec<_>>(),
        "files": files(global, store, record),
    }))
}

/// What the kernel calls each namespace, `net:[4026531840]`.
fn namespaces(process: &Process) -> Value {
    let directory = format!("/proc/{}/ns", process.pid);
    let mut found = Map::new();
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
        if let Ok(link) = std::fs::read_link(Path::new(&directory).join(name)) {
            found.insert(name.to_owned(), link.to_string_lossy().into());
        }
    }
    found.into()
}

/// Where, of what type, from what: proc_pid_mountinfo(5).
fn mounts(process: &Process) -> Value {
    let text = std::fs::read_to_string(format!("/proc/{}/mountinfo", process.pid)).unwrap_or_default();
    let one = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        Some(json!({"at": left.split(' ').nth(4)?, "type": right.next()?, "source": right.next()?}))
    };
    text.lines().filter_map(one).collect::<Vec<_>>().into()
}

/// Those that are there.
fn files(global: &Global, store: &Store, record: &Record) -> Value {
    let run = &global.roots.run.run_root;
    let id = record.id.as_str();
    let mut paths =
        vec![store.run_dir(&record.id), store.kept_dir(&record.id), store.name_link(&record.name)];
    paths.push(log::path(store, &record.id));
    for tool in ["nsrun", "netns", "cgctl", "mount-overlay"] {
        paths.push(run.join(tool).join(id));
        paths.push(run.join(tool).join(format!("{id}.json")));
        paths.push(global.roots.kept(tool).join(id));
    }
    paths.retain(|path| path.symlink_metadata().is_ok());
    json!(paths)
}
