//! One life of a container: its stages set it up, nsrun runs it, their undo takes it down.

use anyhow::Result;
use stage::{Codes, Document, Explain};

use crate::chain::{Bench, Outcome, Stages};
use crate::children::Child;
use crate::cli::Global;
use crate::image::Image;
use crate::names;
use crate::plan::Afterlife;
use crate::record::{End, Process, Record, now};
use crate::signals::Signals;
use crate::spawn::Tools;
use crate::store::{Hold, Store, remove_dir};
use crate::supervise::Waiting;
use crate::teardown::{Stat, Undo, undo};
use crate::trace::Trace;

/// What a life needs, and the right to live it.
pub struct Session<'a> {
    pub store: &'a Store,
    pub tools: &'a Tools,
    pub signals: &'a Signals,
    pub hold: Hold,
}

/// How it ended.
pub struct Ended {
    pub code: u8,
    /// Whether the command was ever started.
    pub ran: bool,
}

/// Brings the recorded container to life and sees it to its end. Whatever happens, nothing is left of it but what
/// its record says is kept.
pub fn live(session: Session, mut record: Record, global: &Global) -> Result<Ended> {
    let mut trace = global.trace.then(Trace::start);
    let bench = Bench { tools: session.tools, hold: &session.hold, signals: session.signals };
    let ended = set_up_and_run(&bench, session.store, &mut record, trace.as_mut());
    let (mut what, ran) = what_to_undo(&record, &ended);
    what.stat = ran && (record.afterlife == Afterlife::Keep || !matches!(ended, Ok((0, _))));
    let code = ended.as_ref().map_or(Codes::NOT_RUN, |(code, _)| *code);
    // With something left, the record stays, too: gc will find it.
    let over = undo(&bench, &what).and_then(|undone| {
        note(trace.as_mut(), &undone.children, None);
        let stat = undone.stat.unwrap_or_default();
        report_oom(&stat);
        finish(session, &mut record, ran, code, &stat)
    });
    if let Some(trace) = trace {
        trace.show();
    }
    let left: Vec<String> = over.err().iter().map(|error| format!("{error:#}")).collect();
    match ended {
        Ok(_) => {
            // The code is the command's own, even so.
            left.iter().for_each(|what| stage::say(&format!("gocker-sh: {what}")));
            Ok(Ended { code, ran })
        }
        Err(error) => Err(error).left(left),
    }
}

/// The exit code, and whether nsrun was there to see the end of the payload.
fn set_up_and_run(
    bench: &Bench,
    store: &Store,
    record: &mut Record,
    mut trace: Option<&mut Trace>,
) -> Result<(u8, Nsrun)> {
    let stages = Stages::start(bench, &record.plan);
    let nsrun = Waiting::start(bench, &record.plan.nsrun);
    let built = stages.finish(bench);
    let (nsrun, built) = match (nsrun, built) {
        (Ok(nsrun), Ok(built)) => (nsrun, built),
        (Ok(nsrun), Err(error)) => return nsrun.dismiss().and(Err(error)),
        (Err(error), _) => return Err(error),
    };
    let document = match built.outcome {
        Outcome::Document(document) => document,
        without => {
            nsrun.dismiss()?;
            note(trace, &built.children, None);
            return Ok((code_without(&without)?, Nsrun::Done));
        }
    };
    note(trace.as_deref_mut(), &built.children, Some(&document));
    let child = nsrun.run(bench, &document, |process| note_running(store, record, process, &document))?;
    let code = child.code().unwrap_or(u8::MAX);
    let nsrun = if child.was_killed() { Nsrun::Killed } else { Nsrun::Done };
    note(trace, &[child], None);
    Ok((code, nsrun))
}

/// The exit code when there is nothing to run the command in.
fn code_without(outcome: &Outcome) -> Result<u8> {
    match outcome {
        Outcome::Interrupted(signal) => Ok(128 + u8::try_from(*signal as i32)?),
        _ => Ok(Codes::NOT_RUN),
    }
}

/// How nsrun itself came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nsrun {
    /// By itself, or it was never started.
    Done,
    Killed,
}

fn note(trace: Option<&mut Trace>, children: &[Child], document: Option<&Document>) {
    if let Some(trace) = trace {
        trace.add(children, document);
    }
}

/// The payload has begun: from now on others can see that it runs, and find it.
fn note_running(store: &Store, record: &mut Record, process: Process, document: &Document) -> Result<()> {
    if let Some(image) = Image::of(document)? {
        image.tell(record);
    }
    record.started = Some(now());
    record.process = Some(process);
    record.document =
        Some(serde_json::value::RawValue::from_string(document.to_line()?.trim_end().to_owned())?);
    record.write_run(store)
}

/// What may have been made, and whether the command was ever started.
fn what_to_undo(record: &Record, ended: &Result<(u8, Nsrun)>) -> (Undo, bool) {
    let ran = record.process.is_some();
    let undo = Undo {
        nsrun: !matches!(ended, Ok((_, Nsrun::Done))),
        mount_overlay: true,
        netns: record.plan.netns.is_some(),
        cgctl: true,
        keep_upper: ran && record.afterlife == Afterlife::Keep,
        stat: false,
    };
    (undo, ran)
}

fn report_oom(stat: &Stat) {
    if stat.oom_kills == 0 {
        return;
    }
    let limit = stat.memory.limit.map(|bytes| format!(" limit of {}", mib(bytes))).unwrap_or_default();
    stage::say(&format!(
        "gocker-sh: out of memory: the kernel killed a process at the container's memory{limit}"
    ));
}

/// Bytes as people set them.
fn mib(bytes: u64) -> String {
    match (bytes % (1 << 20), bytes % (1 << 10)) {
        (0, _) => format!("{} MiB", bytes >> 20),
        (_, 0) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

/// Writes down how a kept container ended; removes what remembers one that is not kept.
fn finish(session: Session, record: &mut Record, ran: bool, code: u8, stat: &Stat) -> Result<()> {
    let Session { store, hold, .. } = session;
    if ran && record.afterlife == Afterlife::Keep {
        record.end = Some(End {
            exit_code: code,
            oom_killed: stat.oom_kills > 0,
            finished: now(),
            error: String::new(),
        });
        record.write_kept(store)?;
    } else {
        names::give_back(store, &record.id, &record.name)?;
        remove_dir(&store.kept_dir(&record.id))?;
    }
    hold.remove()
}
