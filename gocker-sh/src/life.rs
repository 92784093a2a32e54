//! One life of a container: its stages set it up, nsrun runs it, their undo takes it down.

use std::io::Write;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use stage::{Codes, Document, Explain};

use crate::chain::{Bench, Outcome, Stages};
use crate::children::Child;
use crate::cli::Global;
use crate::image::Image;
use crate::names;
use crate::plan::Afterlife;
use crate::record::{Detached, End, Process, Record, now};
use crate::signals::Signals;
use crate::spawn::Tools;
use crate::store::{Hold, Store, make_dir, remove_dir};
use crate::streams::Streams;
use crate::supervise::{Fate, Tie, Waiting};
use crate::teardown::{Stat, Undo, undo};
use crate::trace::Trace;
use crate::volumes::{self, Volumes};
use crate::{events, options, watch};

/// What a life needs, and the right to live it.
pub struct Session<'a> {
    pub store: &'a Store,
    pub tools: &'a Tools,
    pub signals: &'a Signals,
    pub hold: Hold,
}

impl Session<'_> {
    fn bench(&self) -> Bench<'_> {
        Bench { tools: self.tools, hold: &self.hold, signals: self.signals }
    }
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
    let mut trace = Trace::start(global)?;
    let bench = session.bench();
    let ended = set_up_and_run(&bench, (session.store, global), &mut record, Tie::Bound, trace.as_mut());
    end(session, record, ended, trace)
}

/// Brings the recorded container to life, hands it over to a watcher, and leaves it.
///
/// # Errors
/// It does not run. `Ok` with a code when a stage has said why.
pub fn launch(
    session: Session,
    mut record: Record,
    global: &Global,
    process: &options::Process,
) -> Result<Ended> {
    let mut trace = Trace::start(global)?;
    let store = session.store;
    let streams = make_dir(&store.kept_dir(&record.id))
        .and_then(|()| Streams::make(&store.run_dir(&record.id), process));
    let streams = match streams {
        Ok(streams) => streams,
        Err(error) => return end(session, record, Err(error), trace),
    };
    let ended =
        set_up_and_run(&session.bench(), (store, global), &mut record, Tie::Loose(&streams), trace.as_mut());
    if ended.is_err() || record.process.is_none() {
        std::io::stderr().write_all(&streams.said()).ok();
        return end(session, record, ended, trace);
    }
    // It may have ended by now; the watcher will see.
    watch::start(session.tools, session.hold.owner(), &record.id, Some(&streams))?;
    if let Some(trace) = trace {
        trace.show();
    }
    Ok(Ended { code: 0, ran: true })
}

/// After the life, as far as it got: takes down what was made, and keeps what is kept.
fn end(
    session: Session,
    mut record: Record,
    mut ended: Result<Lived>,
    mut trace: Option<Trace>,
) -> Result<Ended> {
    let (mut what, ran) = what_to_undo(&record, &ended);
    what.stat = ran && (record.afterlife == Afterlife::Keep || !matches!(ended, Ok(Lived { code: 0, .. })));
    let code = ended.as_ref().map_or(Codes::NOT_RUN, |lived| lived.code);
    let error = ended.as_ref().err().map(|error| format!("{error:#}")).unwrap_or_default();
    let leaving = ended.as_mut().ok().and_then(|lived| lived.leaving.take());
    // With something left, the record stays, too: gc will find it.
    let over = undo(&session.bench(), &what, leaving).and_then(|undone| {
        note(trace.as_mut(), &undone.children, None);
        let stat = undone.stat.unwrap_or_default();
        report_oom(&stat);
        finish(
            session,
            &mut record,
            ran,
            End { exit_code: code, oom_killed: stat.oom_kills > 0, finished: now(), error },
        )
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

/// What the watcher does when nsrun has ended: `code` is what it told, `None` if it was killed.
pub fn wind_up(session: Session, mut record: Record, code: Option<u8>, error: String) -> Result<()> {
    let net_cmd = record.plan.swap.net_cmd.clone();
    let what = Undo {
        nsrun: code.is_none(),
        mount_overlay: true,
        netns: record.plan.netns.is_some(),
        net_cmd: net_cmd.as_deref(),
        cgctl: true,
        keep_upper: record.stays(true),
        stat: true,
    };
    let stat = undo(&session.bench(), &what, None)?.stat.unwrap_or_default();
    let exit_code = code.unwrap_or(128 + Signal::SIGKILL as u8);
    finish(
        session,
        &mut record,
        true,
        End { exit_code, oom_killed: stat.oom_kills > 0, finished: now(), error },
    )
}

/// Of a loose one the code means nothing once the record tells of the process.
fn set_up_and_run(
    bench: &Bench,
    (store, global): (&Store, &Global),
    record: &mut Record,
    tie: Tie,
    mut trace: Option<&mut Trace>,
) -> Result<Lived> {
    let stages = Stages::start(bench, &record.plan);
    let nsrun = Waiting::start(bench, tie, &record.plan.nsrun);
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
            return Ok(Lived::with(code_without(&without)?));
        }
    };
    note(trace.as_deref_mut(), &built.children, Some(&document));
    note_made(record, &document)?;
    let nsrun = with_volumes_of_image((bench, tie), record, &document, (store, nsrun))?;
    fill_volumes(global, record, &document)?;
    if let Tie::Loose(streams) = tie {
        // On disk before nsrun can go on alone: whoever comes next must find it, should we be killed.
        record.detached =
            Some(Detached { nsrun: process_of(nsrun.pid())?, terminal: streams.master_number() });
        record.write_run(store)?;
    }
    match nsrun.run(bench, &document, |process| note_running(store, record, process))? {
        Fate::Told(child, code) => Ok(Lived { leaving: Some(child), ..Lived::with(code) }),
        Fate::Untold(child) => {
            let code = child.code().unwrap_or(u8::MAX);
            let killed = child.was_killed();
            note(trace, &[child], None);
            Ok(Lived { killed, ..Lived::with(code) })
        }
    }
}

/// Directories that the image declares as volumes get one each, unless something is mounted there. nsrun, which was
/// started before the image was known, starts anew then.
fn with_volumes_of_image(
    (bench, tie): (&Bench, Tie),
    record: &mut Record,
    document: &Document,
    (store, nsrun): (&Store, Waiting),
) -> Result<Waiting> {
    let wanted = Image::of(document)?.map(|image| image.volumes()).unwrap_or_default();
    if wanted.is_empty() || !volumes::of_image(record, &Volumes::of(store), &wanted)? {
        return Ok(nsrun);
    }
    nsrun.dismiss()?;
    record.write_run(store)?;
    Waiting::start(bench, tie, &record.plan.nsrun)
}

/// Our child, which has not been waited for yet: the pid is its own.
fn process_of(nsrun: Pid) -> Result<Process> {
    Process::of(nsrun.as_raw()).context("cannot find nsrun: it has ended")
}

/// The exit code when there is nothing to run the command in.
fn code_without(outcome: &Outcome) -> Result<u8> {
    match outcome {
        Outcome::Interrupted(signal) => Ok(128 + u8::try_from(*signal as i32)?),
        _ => Ok(Codes::NOT_RUN),
    }
}

/// What there is to say of a life that nsrun has seen the end of, if there was one.
struct Lived {
    /// The exit code.
    code: u8,
    /// nsrun was killed: what it made is there still.
    killed: bool,
    /// nsrun, which has nothing of the container's any more and is about to end.
    leaving: Option<Child>,
}

impl Lived {
    fn with(code: u8) -> Lived {
        Lived { code, killed: false, leaving: None }
    }
}

fn note(trace: Option<&mut Trace>, children: &[Child], document: Option<&Document>) {
    if let Some(trace) = trace {
        trace.add(children, document);
    }
}

/// The stages have made everything.
fn note_made(record: &mut Record, document: &Document) -> Result<()> {
    if let Some(image) = Image::of(document)? {
        image.tell(record);
    }
    let line = document.to_line()?.trim_end().to_owned();
    record.document = Some(serde_json::value::RawValue::from_string(line)?);
    Ok(())
}

/// Named volumes come into being with the first container that uses them, filled from its image.
fn fill_volumes(global: &Global, record: &Record, document: &Document) -> Result<()> {
    let options = options::Run::read(record.options.as_deref())?;
    let volumes = Volumes::new(&global.roots);
    let nameless = [volumes::ANONYMOUS.to_owned()];
    let mut any = false;
    for (name, _, _) in options.volumes().iter().filter_map(|volume| volumes::named(volume)) {
        let is_nameless = record.anonymous.iter().any(|own| own == name);
        volumes.create(name, if is_nameless { &nameless } else { &[] })?;
        any = true;
    }
    let rootfs: Option<serde_json::Value> = if any { document.get("rootfs")? } else { None };
    match rootfs.as_ref().and_then(|rootfs| rootfs["path"].as_str()) {
        Some(path) => volumes.copy_up(&options, std::path::Path::new(path)),
        None => Ok(()),
    }
}

/// The payload has begun: from now on others can see that it runs, and find it.
fn note_running(store: &Store, record: &mut Record, process: Process) -> Result<()> {
    record.started = Some(now());
    record.process = Some(process);
    record.write_run(store)?;
    events::note(store, "start", record, &[]);
    if record.detached.is_some() && record.afterlife == Afterlife::Keep {
        record.write_kept(store)?;
    }
    Ok(())
}

/// What may have been made, and whether the command was ever started.
fn what_to_undo<'a>(record: &'a Record, ended: &Result<Lived>) -> (Undo<'a>, bool) {
    let ran = record.process.is_some();
    let undo = Undo {
        nsrun: !matches!(ended, Ok(Lived { killed: false, .. })),
        mount_overlay: true,
        netns: record.plan.netns.is_some(),
        net_cmd: record.plan.swap.net_cmd.as_deref(),
        cgctl: true,
        keep_upper: record.stays(ran),
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
fn finish(session: Session, record: &mut Record, ran: bool, end: End) -> Result<()> {
    let Session { store, hold, .. } = session;
    if ran {
        events::died(store, record, &end);
    }
    if record.stays(ran) {
        record.again = true;
        record.paused = false;
        record.detached = None;
        record.end = Some(end);
        record.write_kept(store)?;
    } else {
        Volumes::forget(store, record)?;
        names::give_back(store, &record.id, &record.name)?;
        remove_dir(&store.kept_dir(&record.id))?;
        events::note(store, "destroy", record, &[]);
    }
    hold.remove()
}
