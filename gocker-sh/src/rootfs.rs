//! A container's root directory as a descriptor, for those who read and write in it. One that runs shows its own, with all
//! that is mounted in it; the root of one that does not is mounted for the moment, by the stages that do so for a start.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags};
use serde_json::Value;
use stage::Id;

use crate::cli::Global;
use crate::plan::Plan;
use crate::record::Record;
use crate::spawn::Tools;
use crate::store::Store;
use crate::{lookup, swap};

/// Calls `act` with the root. What it does there must not follow a symbolic link out of it: the container may have made
/// any, and changes them while it runs.
pub fn with<T>(
    global: &Global,
    store: &Store,
    id: &Id,
    act: impl FnOnce(&OwnedFd) -> Result<T>,
) -> Result<T> {
    if let Some(process) = lookup::started(store, id)?.and_then(|record| record.process) {
        return act(&open(&PathBuf::from(format!("/proc/{}/root", process.pid)))?);
    }
    mounted(global, store, id, |rootfs| act(&open(&path_in(rootfs)?)?))
}

/// Calls `act` with the path of the root as the host has it: without what is mounted inside.
pub fn with_path<T>(
    global: &Global,
    store: &Store,
    id: &Id,
    act: impl FnOnce(PathBuf) -> Result<T>,
) -> Result<T> {
    match lookup::started(store, id)? {
        Some(record) => act(path_of(&record)?),
        None => mounted(global, store, id, |rootfs| act(path_in(rootfs)?)),
    }
}

/// Calls `act` with the directory of what the container has written. That of one that has never run, where only `cp` may
/// have written, is found by mounting its root for the moment.
pub fn with_upper<T>(
    global: &Global,
    store: &Store,
    record: &Record,
    act: impl FnOnce(&str) -> Result<T>,
) -> Result<T> {
    match record.upper()? {
        Some(upper) => act(&upper),
        None => mounted(global, store, &record.id, |rootfs| {
            act(rootfs["upper"].as_str().context("mount-overlay names no upper directory")?)
        }),
    }
}

fn open(path: &std::path::Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .context("open")
        .with_context(|| format!("cannot use root file system {}", path.display()))
}

fn path_of(record: &Record) -> Result<PathBuf> {
    let document: Option<Value> =
        record.document.as_ref().map(|raw| serde_json::from_str(raw.get())).transpose()?;
    let path = document.and_then(|document| Some(PathBuf::from(document["rootfs"]["path"].as_str()?)));
    path.with_context(|| format!("cannot find the root file system of container {}", record.id.short()))
}

/// Of the document's section.
fn path_in(rootfs: &Value) -> Result<PathBuf> {
    rootfs["path"].as_str().map(PathBuf::from).context("mount-overlay names no path")
}

/// Holds the container, so that nobody starts or removes it meanwhile. `act` is given the document's section `rootfs`.
fn mounted<T>(global: &Global, store: &Store, id: &Id, act: impl FnOnce(&Value) -> Result<T>) -> Result<T> {
    let hold = store.hold(id)?;
    let done = mount_and(global, store, id, act);
    let removed = hold.remove();
    done.and_then(|done| removed.map(|()| done))
}

fn mount_and<T>(global: &Global, store: &Store, id: &Id, act: impl FnOnce(&Value) -> Result<T>) -> Result<T> {
    let tools = Tools::new(global)?;
    let record = Record::read(store, id)?.with_context(|| format!("No such container: {id}"))?;
    let document = mount(&tools, &record.plan)?;
    let done = act(&document["rootfs"]);
    match crate::ask::code(&tools, "mount-overlay", &["undo", "--keep-upper", id.as_str()])? {
        0 => done,
        _ => done.and_then(|_| bail!("cannot unmount the root file system of container {}", id.short())),
    }
}

/// `pull | mount-overlay`, as a start has it.
fn mount(tools: &Tools, plan: &Plan) -> Result<Value> {
    let command = |tool: &str, words: &[String]| -> Result<Command> {
        let mut command = Command::new(tools.path(tool)?);
        command.args(words).envs(tools.roots()).stdout(Stdio::piped());
        Ok(command)
    };
    let pull = |words: &[String]| {
        let (program, words) = swap::words("pull", plan.swap.pull_cmd.as_deref(), words);
        command(program, &words)
    };
    let upstream = match &plan.pull {
        Some(words) => Some(pull(words)?.stdin(Stdio::null()).spawn().context("cannot run pull")?),
        None => None,
    };
    let mut mount = command("mount-overlay", &plan.mount_overlay)?;
    let (mut pull, stdin) = match upstream {
        Some(mut pull) => {
            let stdout = pull.stdout.take().context("cannot read from pull")?;
            (Some(pull), Stdio::from(stdout))
        }
        None => (None, Stdio::null()),
    };
    let output = mount.stdin(stdin).stderr(Stdio::inherit()).output().context("cannot run mount-overlay")?;
    if let Some(pull) = &mut pull {
        pull.wait().context("cannot wait for pull")?;
    }
    if !output.status.success() {
        bail!("cannot mount the root file system: mount-overlay failed");
    }
    serde_json::from_slice(&output.stdout).context("cannot read what mount-overlay prints")
}
