//! Starts the stages that set a container up, side by side where they do not depend on each other, and makes one
//! document of theirs.
//!
//!     netns ─────────────────────┐
//!     pull ───── mount-overlay ──┼── one document
//!     cgctl ─────────────────────┘
//!
//! nsrun, which waits for that document, is started meanwhile (supervise).

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::Instant;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use stage::Document;

use crate::children::{Capture, Child, wait_for_all};
use crate::plan::Plan;
use crate::signals::{Origin, Signals, ends};
use crate::spawn::{Blocked, Command, Session, Stream, Tools, pipe};
use crate::store::Hold;
use crate::{swap, sys};

/// What a command has at hand to work on a container.
pub struct Bench<'a> {
    pub tools: &'a Tools,
    pub hold: &'a Hold,
    pub signals: &'a Signals,
}

/// What became of the stages.
pub struct Built {
    pub children: Vec<Child>,
    pub outcome: Outcome,
}

pub enum Outcome {
    Document(Document),
    /// A stage failed, and has said why.
    Failed,
    /// A signal asked gocker-sh to end meanwhile.
    Interrupted(Signal),
}

/// The stages at work.
pub struct Stages {
    children: Vec<Child>,
    started: Result<()>,
}

impl Stages {
    /// Starts every stage of the plan. Should one not start, those before it are at work all the same.
    pub fn start(bench: &Bench, plan: &Plan) -> Stages {
        sys::ask_for_short_turns();
        let mut children = Vec::new();
        let started = start(bench, plan, &mut children);
        Stages { children, started }
    }

    /// Waits for all of them.
    pub fn finish(self, bench: &Bench) -> Result<Built> {
        let Stages { mut children, started } = self;
        let mut interrupted = None;
        let waited =
            wait_for_all(&mut children, bench.signals, stop_what_is_in_vain, |children, signal, origin| {
                if ends(signal) {
                    interrupted = Some(signal);
                    if origin == Origin::Process {
                        children.iter().for_each(|child| child.signal(signal));
                    }
                }
            });
        relay(&children);
        let outcome = match (started.and(waited), interrupted) {
            (Err(error), _) => return Err(error),
            (Ok(()), Some(signal)) => Outcome::Interrupted(signal),
            (Ok(()), None) if children.iter().any(|child| child.code() != Some(0)) => Outcome::Failed,
            (Ok(()), None) => Outcome::Document(merged(&children)?),
        };
        Ok(Built { children, outcome })
    }
}

/// The longest first: netns; then the chain; cgctl has time.
fn start(bench: &Bench, plan: &Plan, children: &mut Vec<Child>) -> Result<()> {
    if let Some(arguments) = &plan.netns {
        children.push(network(bench, arguments, plan.swap.net_cmd.as_deref())?);
    }
    let upstream = match &plan.pull {
        Some(arguments) => {
            let (read, write) = pipe()?;
            let mut command = command(bench, "pull", arguments);
            command.stdout = Stream::from(&write);
            children.push(spawn_instead(bench, command, plan.swap.pull_cmd.as_deref())?);
            Some(read)
        }
        None => None,
    };
    children.push(branch(bench, "cgctl", &plan.cgctl)?);
    children.push(mount_overlay(bench, &plan.mount_overlay, upstream.as_ref())?);
    Ok(())
}

/// A stage that needs nothing from the others.
fn branch(bench: &Bench, tool: &'static str, arguments: &[String]) -> Result<Child> {
    let (read, write) = pipe()?;
    let mut command = command(bench, tool, arguments);
    command.stdout = Stream::from(&write);
    let mut child = spawn(bench, command)?;
    child.stdout = Some(Capture::of(read));
    Ok(child)
}

/// netns, or the command in its place, which finds the container's id in a document on stdin, too.
fn network(bench: &Bench, arguments: &[String], instead: Option<&str>) -> Result<Child> {
    if instead.is_none() {
        return branch(bench, "netns", arguments);
    }
    let mut document = Document::new()?;
    document.identify(Some(bench.hold.id.clone()))?;
    // It fits into the pipe: nobody needs to read it.
    let (stdin, give) = pipe()?;
    File::from(give).write_all(document.to_line()?.as_bytes()).context("cannot write to a pipe: write")?;
    let (read, write) = pipe()?;
    let mut command = command(bench, "netns", arguments);
    command.stdin = Stream::from(&stdin);
    command.stdout = Stream::from(&write);
    let mut child = spawn_instead(bench, command, instead)?;
    child.stdout = Some(Capture::of(read));
    Ok(child)
}

/// Starts the stage, or the command in its place; the child goes by the name of the stage.
pub fn spawn_instead(bench: &Bench, mut command: Command, instead: Option<&str>) -> Result<Child> {
    let tool = command.tool;
    (command.tool, command.arguments) = swap::words(tool, instead, &command.arguments);
    let mut child = spawn(bench, command)?;
    child.tool = tool;
    Ok(child)
}

fn mount_overlay(bench: &Bench, arguments: &[String], upstream: Option<&OwnedFd>) -> Result<Child> {
    let (read, write) = pipe()?;
    // What it says when pull has failed is one message too many: it is held back until that is known.
    let (said, saying) = pipe()?;
    let mut command = command(bench, "mount-overlay", arguments);
    command.stdin = upstream.map_or(Stream::Null, Stream::from);
    command.stdout = Stream::from(&write);
    if upstream.is_some() {
        command.stderr = Stream::from(&saying);
    }
    let mut child = spawn(bench, command)?;
    child.stdout = Some(Capture::of(read));
    child.stderr = upstream.map(|_| Capture::of(said));
    Ok(child)
}

fn command<'a>(bench: &'a Bench, tool: &'static str, arguments: &[String]) -> Command<'a> {
    Command {
        tool,
        arguments: bench.tools.words(arguments.to_vec()),
        stdin: Stream::Null,
        stdout: Stream::Inherit,
        stderr: Stream::Inherit,
        inherited: vec![bench.hold.inherited()],
        blocked: Blocked::AsFound(bench.signals.found()),
        session: Session::Callers,
    }
}

/// Starts the process; its streams are not read here.
pub fn spawn(bench: &Bench, command: Command) -> Result<Child> {
    let started = Instant::now();
    let pid = bench.tools.start(&command)?;
    let Command { tool, arguments: words, .. } = command;
    Ok(Child { tool, words, pid, started, ended: None, stdout: None, stderr: None })
}

/// Once a stage has failed, a long download serves nobody.
fn stop_what_is_in_vain(children: &[Child]) {
    let failed = children.iter().any(|child| child.code().is_some_and(|code| code != 0));
    if failed {
        children.iter().filter(|child| child.tool == "pull").for_each(|pull| pull.signal(Signal::SIGTERM));
    }
}

/// Passes on what mount-overlay said, unless it was only that nothing came from pull.
fn relay(children: &[Child]) {
    for child in children {
        if let (Some(said), Some(code)) = (&child.stderr, child.code())
            && code != stage::Codes::NO_DOCUMENT
            && !said.text.is_empty()
        {
            stage::say(String::from_utf8_lossy(&said.text).trim_end_matches('\n'));
        }
    }
}

fn merged(children: &[Child]) -> Result<Document> {
    let mut whole: Option<Document> = None;
    // In the order of the pipe that a person would type: the image first.
    for tool in ["mount-overlay", "netns", "cgctl"] {
        let Some(text) =
            children.iter().find(|child| child.tool == tool).and_then(|child| child.stdout.as_ref())
        else {
            continue;
        };
        let document = Document::read(text.text.as_slice())
            .and_then(|document| document.context("it is empty"))
            .with_context(|| format!("cannot go on behind {tool}"))?;
        match &mut whole {
            Some(whole) => whole.merge(document),
            None => whole = Some(document),
        }
    }
    whole.context("no stage has written a document")
}
