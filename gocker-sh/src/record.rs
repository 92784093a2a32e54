//! What gocker-sh remembers of a container. On disk before anything is made for it.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stage::{Durability, Id, replace_file};

use crate::options::Mode;
use crate::plan::{Afterlife, Plan};
use crate::store::{Store, make_dir};

/// One container.
#[derive(Debug, Serialize, Deserialize)]
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
    #[serde(default)]
    pub network: Mode,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// Why the record on disk cannot be used, when this one stands in for it.
    #[serde(skip)]
    pub broken: Option<String>,
}

/// The `process` section of nsrun, as far as it matters here.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    pub pid: i32,
    /// Clock ticks since boot, proc_pid_stat(5).
    pub start_time: u64,
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

    /// Writes the record where it stays.
    pub fn write_kept(&self, store: &Store) -> Result<()> {
        let directory = store.kept_dir(&self.id);
        make_dir(&directory)?;
        replace_file(&directory.join(FILE), &serde_json::to_vec(self)?, Durability::Durable)
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
            network: Mode::default(),
            labels: Vec::new(),
            plan: Plan::default(),
            document: None,
            started: None,
            process: None,
            end: None,
            broken: Some(why.to_owned()),
        }
    }

    pub fn state(&self) -> State {
        match (&self.end, &self.process) {
            _ if self.broken.is_some() => State::Broken,
            (Some(_), _) => State::Exited,
            (None, None) => State::Created,
            (None, Some(process)) if process.is_alive() => State::Running,
            (None, Some(_)) => State::Exited,
        }
    }
}

impl Process {
    /// Whether the process still is the one that was recorded. The kernel says so, not a file.
    pub fn is_alive(&self) -> bool {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)) else {
            return false;
        };
        // The second field is the name, in parentheses, and may hold anything: what follows its end is the third.
        let Some((_, rest)) = stat.rsplit_once(") ") else {
            return false;
        };
        let mut fields = rest.split(' ');
        let state = fields.next();
        let start_time = fields.nth(18).and_then(|text| text.parse().ok());
        start_time == Some(self.start_time) && !matches!(state, Some("Z" | "X"))
    }
}

/// Now, as records have it.
pub fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn read_file(path: &Path) -> Result<Option<Record>> {
    let context = || format!("cannot read {}", path.display());
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(context),
    };
    serde_json::from_slice(&text).map(Some).with_context(context)
}
