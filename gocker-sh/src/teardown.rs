//! Takes back what the stages made: the undo of each, side by side.

use std::os::fd::OwnedFd;

use anyhow::{Result, bail};
use serde::Deserialize;
use stage::Id;

use crate::chain::{Bench, spawn, spawn_instead};
use crate::children::{Capture, Child, wait_for_all};
use crate::spawn::{Blocked, Command, Session, Stream, pipe};

/// What is to be undone, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Undo<'a> {
    /// The processes: kills what is alive. Needed when nsrun did not end by itself.
    pub nsrun: bool,
    pub mount_overlay: bool,
    pub netns: bool,
    /// The command in the place of netns.
    pub net_cmd: Option<&'a str>,
    pub cgctl: bool,
    /// The writable layer stays.
    pub keep_upper: bool,
    /// The last figures of the cgroup are wanted.
    pub stat: bool,
}

/// The last figures of a container's cgroup, as far as they matter here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stat {
    #[serde(default)]
    pub oom_kills: u64,
    #[serde(default)]
    pub memory: Memory,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Memory {
    /// Bytes.
    pub limit: Option<u64>,
}

/// What the teardown found and how it went.
pub struct Undone {
    pub children: Vec<Child>,
    pub stat: Option<Stat>,
}

impl Undo<'_> {
    /// Everything that any stage may have made, whatever it was.
    pub fn everything() -> Self {
        Undo { nsrun: true, mount_overlay: true, netns: true, cgctl: true, ..Undo::default() }
    }
}

/// `leaving` is a process that is about to end by itself; it is waited for, too.
///
/// # Errors
/// A stage could not take back what it made; it has said why. The others have been undone all the same.
pub fn undo(bench: &Bench, what: &Undo, leaving: Option<Child>) -> Result<Undone> {
    let id = &bench.hold.id;
    let mut children = Vec::new();
    let mut failure = Ok(());
    if what.nsrun {
        // First and alone: as long as its processes live, nothing else can go.
        let mut first = Vec::new();
        failure = start(bench, &mut first, "nsrun", vec!["undo".to_owned(), id.to_string()], None);
        failure = failure.and(wait(bench, &mut first));
        children.append(&mut first);
    }
    let mut rest: Vec<Child> = leaving.into_iter().collect();
    let stages = rest.len();
    let mut stat = None;
    if what.cgctl {
        let (arguments, wants_stat) = cgctl(what, id);
        let pipe = if wants_stat { Some(pipe()?) } else { None };
        failure = failure.and(start(bench, &mut rest, "cgctl", arguments, pipe));
    }
    if what.mount_overlay {
        let keep = what.keep_upper.then(|| "--keep-upper".to_owned());
        let arguments = ["undo".to_owned()].into_iter().chain(keep).chain([id.to_string()]).collect();
        failure = failure.and(start(bench, &mut rest, "mount-overlay", arguments, None));
    }
    if what.netns {
        failure = failure.and(start_netns(bench, &mut rest, what.net_cmd));
    }
    failure = failure.and(wait(bench, &mut rest));
    if let Some(text) = rest.iter().find_map(|child| child.stdout.as_ref()) {
        stat = serde_json::from_slice(&text.text).ok();
    }
    failure?;
    if let Some(child) = children.iter().chain(&rest[stages..]).find(|child| child.code() != Some(0)) {
        bail!("cannot remove all of container {}: {} failed", id.short(), child.tool);
    }
    children.append(&mut rest);
    Ok(Undone { children, stat })
}

fn cgctl(what: &Undo, id: &Id) -> (Vec<String>, bool) {
    let mut words = vec!["undo".to_owned()];
    if what.nsrun {
        words.push("--kill".to_owned());
    }
    if what.stat {
        words.push("--stat".to_owned());
    }
    words.push(id.to_string());
    (words, what.stat)
}

/// The undo of netns, or that of the command in its place.
fn start_netns(bench: &Bench, children: &mut Vec<Child>, instead: Option<&str>) -> Result<()> {
    let command = command(bench, "netns", vec!["undo".to_owned(), bench.hold.id.to_string()]);
    children.push(spawn_instead(bench, command, instead)?);
    Ok(())
}

fn command<'a>(bench: &'a Bench, tool: &'static str, arguments: Vec<String>) -> Command<'a> {
    Command {
        tool,
        arguments: bench.tools.words(arguments),
        stdin: Stream::Null,
        stdout: Stream::Null,
        stderr: Stream::Inherit,
        inherited: vec![bench.hold.inherited()],
        blocked: Blocked::AsNow,
        session: Session::Callers,
    }
}

fn start(
    bench: &Bench,
    children: &mut Vec<Child>,
    tool: &'static str,
    arguments: Vec<String>,
    output: Option<(OwnedFd, OwnedFd)>,
) -> Result<()> {
    let mut command = command(bench, tool, arguments);
    if let Some((_, write)) = &output {
        command.stdout = Stream::from(write);
    }
    let mut child = spawn(bench, command)?;
    child.stdout = output.map(|(read, _)| Capture::of(read));
    children.push(child);
    Ok(())
}

/// Signals do not hurry what must be done.
fn wait(bench: &Bench, children: &mut [Child]) -> Result<()> {
    wait_for_all(children, bench.signals, |_| {}, |_, _, _| {})
}
