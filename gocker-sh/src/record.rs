//! What gocker-sh remembers of a container. On disk before anything is made for it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stage::{Durability, Id, Lock, replace_file};

use crate::options::Mode;
use crate::plan::{Afterlife, Plan};
use crate::store::{Store, make_dir};

/// One container.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub id: Id,
    pub name: String,
    /// RFC 3339, as all times.
    pub created: String,
    /// The image as it was asked for, or the directory of `--rootfs`.
    pub image: String,
    /// Digest of the image's configuration. Absent until the image is there, and without an image.
    #[serde(rename = "imageID", default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The command as it runs: entry point and arguments. Until the image is there, what was typed.
    #[serde(default)]
    pub command: Vec<String>,
    pub afterlife: Afterlife,
    /// It was there before its present life, which may fail without taking it along.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    #[serde(default)]
    pub network: Mode,
    /// The image's, as it has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// `KEY=VALUE`, as typed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// What each stage was asked.
    pub plan: Plan,
    /// What the stages made, without the process. Absent until they have made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// The container's first process. Absent unless it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// What carries on without the gocker-sh that started it. Absent in the foreground.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detached: Option<Detached>,
    /// How much log is kept of a detached life.
    #[serde(default)]
    pub log: LogLimits,
    /// Its processes are frozen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// The options of `run` or `create` as they were typed, without those that were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Box<RawValue>>,
    /// The volumes that have no name but the one they were given, and that go with the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anonymous: Vec<String>,
    /// Why the record on disk cannot be used, when this one stands in for it.
    #[serde(skip)]
    pub broken: Option<String>,
    /// What it did when it was last looked at, for who wants to look once. Absent: the kernel is asked each time.
    #[serde(skip)]
    pub seen: Option<State>,
}

/// The `process` section of nsrun, as far as it matters here.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    pub pid: i32,
    /// Clock ticks since boot, proc_pid_stat(5).
    pub start_time: u64,
}

/// What a detached container leaves behind that a watcher has to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Detached {
    pub nsrun: Process,
    /// The descriptor, in nsrun, of the master of the terminal that nsrun was given. Absent without a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<i32>,
}

/// How much log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLimits {
    /// Bytes of one file.
    pub max_size: u64,
    /// Files, the one that is written to included.
    pub max_file: u32,
}

impl Default for LogLimits {
    fn default() -> LogLimits {
        LogLimits { max_size: 10 << 20, max_file: 2 }
    }
}

/// How a container ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    pub exit_code: u8,
    pub oom_killed: bool,
    pub finished: String,
    /// Why nobody was there to see it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// What a container does, as far as can be told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its process was never started.
    Created,
    Running,
    /// It runs, and its processes are frozen.
    Paused,
    /// Its process has ended.
    Exited,
    /// Its record cannot be read.
    Broken,
}

const FILE: &str = "record.json";

impl Record {
    /// The record of a container: the one of the run root if there is one, for it is the newer.
    pub fn read(store: &Store, id: &Id) -> Result<Option<Record>> {
        match read_file(&store.run_dir(id).join(FILE))? {
            Some(record) => Ok(Some(record)),
            None => read_file(&store.kept_dir(id).join(FILE)),
        }
    }

    /// The record that survives a reboot.
    pub fn read_kept(store: &Store, id: &Id) -> Result<Option<Record>> {
        read_file(&store.kept_dir(id).join(FILE))
    }

    /// Writes the record where it is gone after a reboot.
    pub fn write_run(&self, store: &Store) -> Result<()> {
        let text = serde_json::to_vec(self)?;
        replace_file(&store.run_dir(&self.id).join(FILE), &text, Durability::UntilReboot)
    }

    /// Writes the record where it stays. Of one that runs it says how it will have ended when a reboot ends it.
    pub fn write_kept(&self, store: &Store) -> Result<()> {
        let directory = store.kept_dir(&self.id);
        make_dir(&directory)?;
        let text = match (&self.process, &self.end) {
            (Some(_), None) => serde_json::to_vec(&Record { end: Some(self.lost()), ..self.clone() })?,
            _ => serde_json::to_vec(self)?,
        };
        replace_file(&directory.join(FILE), &text, Durability::Durable)
    }

    fn lost(&self) -> End {
        End {
            exit_code: 255,
            oom_killed: false,
            finished: self.started.clone().unwrap_or_default(),
            error: "the host went down while it ran".to_owned(),
        }
    }

    /// Whether it stays when its present life is over; `ran` if that got as far as to run the command.
    pub fn stays(&self, ran: bool) -> bool {
        self.afterlife == Afterlife::Keep && (ran || self.again)
    }

    /// Changes the newest record on disk; nobody else does meanwhile.
    ///
    /// # Errors
    /// There is none (any more), or it cannot be read or written.
    pub fn edit(store: &Store, id: &Id, change: impl FnOnce(&mut Record)) -> Result<Record> {
        let _only_one = Lock::take(&store.kept_root().join("edit.lock"))?;
        let mut record = Record::read(store, id)?.with_context(|| format!("No such container: {id}"))?;
        change(&mut record);
        // Both copies: the one of the run root is the newer, and the other is what a reboot leaves.
        if store.kept_dir(id).join(FILE).exists() {
            record.write_kept(store)?;
        }
        if store.run_dir(id).join(FILE).exists() {
            record.write_run(store)?;
        }
        Ok(record)
    }

    /// The directory that has what it has written.
    pub fn upper(&self) -> Result<Option<String>> {
        let Some(raw) = &self.document else { return Ok(None) };
        let document: serde_json::Value = serde_json::from_str(raw.get())?;
        Ok(document["rootfs"]["upper"].as_str().map(str::to_owned))
    }

    /// Whether the container's process is there, frozen or not.
    pub fn is_alive(&self) -> bool {
        matches!(self.state(), State::Running | State::Paused)
    }

    /// What stands in for a record that cannot be read.
    pub fn broken(id: &Id, why: &str) -> Record {
        Record {
            id: id.clone(),
            name: String::new(),
            created: String::new(),
            image: String::new(),
            image_id: None,
            command: Vec::new(),
            afterlife: Afterlife::Keep,
            again: false,
            network: Mode::default(),
            stop_signal: None,
            labels: Vec::new(),
            plan: Plan::default(),
            document: None,
            started: None,
            process: None,
            detached: None,
            log: LogLimits::default(),
            paused: false,
            end: None,
            options: None,
            anonymous: Vec::new(),
            broken: Some(why.to_owned()),
            seen: None,
        }
    }

    /// The same record, which from now on says what the container does at this moment.
    pub fn seen_now(self) -> Record {
        Record { seen: Some(self.state()), ..self }
    }

    pub fn state(&self) -> State {
        if let Some(seen) = self.seen {
            return seen;
        }
        match (&self.end, &self.process) {
            _ if self.broken.is_some() => State::Broken,
            (Some(_), _) => State::Exited,
            (None, None) => State::Created,
            (None, Some(process)) if process.is_alive() => {
                if self.paused {
                    State::Paused
                } else {
                    State::Running
                }
            }
            (None, Some(_)) => State::Exited,
        }
    }
}

impl Process {
    /// Whether the process still is the one that was recorded. The kernel says so, not a file.
    pub fn is_alive(&self) -> bool {
        Process::look(self.pid)
            .is_some_and(|(state, start_time)| start_time == self.start_time && !matches!(state, 'Z' | 'X'))
    }

    /// The process that has this pid now.
    pub fn of(pid: i32) -> Option<Process> {
        Process::look(pid).map(|(_, start_time)| Process { pid, start_time })
    }

    /// Its state's letter and start time, proc_pid_stat(5).
    fn look(pid: i32) -> Option<(char, u64)> {
        // Listings ask of hundreds: one read(2) each. 16 bytes of name and 51 numbers fit in.
        let mut line = [0; 2048];
        let count = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut line).ok()?;
        // A name may be cut within a character.
        let stat = String::from_utf8_lossy(&line[..count]);
        // The second field is the name, in parentheses, and may hold anything: what follows its end is the third.
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?.chars().next()?;
        Some((state, fields.nth(18)?.parse().ok()?))
    }
}

/// Now, as records have it.
pub fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// Larger than most records: one read is then enough.
const USUAL_SIZE: usize = 8 << 10;

fn read_file(path: &Path) -> Result<Option<Record>> {
    let context = || format!("cannot read {}", path.display());
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(context),
    };
    // A listing reads hundreds: what can be done without asking for the size is.
    let mut text = vec![0; USUAL_SIZE];
    let count = file.read(&mut text).with_context(context)?;
    text.truncate(count);
    if count == USUAL_SIZE {
        file.read_to_end(&mut text).with_context(context)?;
    }
    serde_json::from_slice(&text).map(Some).with_context(context)
}
