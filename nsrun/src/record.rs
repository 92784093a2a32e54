//! What nsrun keeps of a container, for every later verb: one directory for each, RUN_ROOT/nsrun/ID or ROOT/ID.
//!
//! The directory is there before anything is made; `state.json` in it before the payload begins. If nsrun dies between
//! the two, the process it has started dies with it. What else it made by then (a cgroup) `state.json` names.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use nix::unistd::Pid;
use oci_spec::runtime::{Hooks, Linux, Process};
use serde::{Deserialize, Serialize};
use stage::{Durability, Explain, RunRoot};

use crate::document::Cgroup;
use crate::json;
use crate::seccomp::Filter;
use crate::spec::etc::EtcFile;

const STATE: &str = "state.json";
/// The socket at which a created container waits to be started.
pub const GATE: &str = "start";

// Where the records are.
#[derive(Clone, Debug, clap::Args)]
pub struct StateRoot {
    #[command(flatten)]
    run: RunRoot,
    /// Directory of the containers' state [default: RUN_ROOT/nsrun]
    #[arg(long, value_name = "DIR", global = true)]
    root: Option<PathBuf>,
}

impl StateRoot {
    /// The directory of all records.
    pub fn all(&self) -> PathBuf {
        self.root.clone().unwrap_or_else(|| self.run.of("nsrun"))
    }

    /// The directory of one.
    pub fn of(&self, id: &str) -> PathBuf {
        self.all().join(id)
    }
}

/// `state.json`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub id: String,
    /// 0: there is none yet.
    pub pid: i32,
    pub start_time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Cgroup>,
    /// What `exec` starts from.
    pub process: Process,
    /// What the configuration says of every process, as far as the kernel does not say it of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// Only of a container that was made from a bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Bundle>,
}

/// What is known of a container that was made from a bundle.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    pub oci_version: String,
    /// The directory of the configuration. Absolute.
    pub path: PathBuf,
    pub rootfs: PathBuf,
    /// RFC 3339.
    pub created: String,
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    pub annotations: HashMap<String, String>,
    /// Those that are still to come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    /// The cgroup that was made for it, and goes with it: `linux.cgroupsPath`.
    pub cgroups_path: PathBuf,
    /// The nsrun that is making it. `None` once it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creator: Option<Life>,
}

/// One process, for ever: the kernel has no other of that pid and start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Life {
    pub pid: i32,
    pub start_time: u64,
}

impl Life {
    pub fn own() -> Life {
        let pid = nix::unistd::getpid();
        Life { pid: pid.as_raw(), start_time: start_time(pid).unwrap_or(0) }
    }

    pub fn goes_on(self) -> bool {
        self.pid > 0 && start_time(Pid::from_raw(self.pid)) == Some(self.start_time)
    }
}

/// Begins a record.
///
/// # Errors
/// There is one already.
pub fn begin(dir: &Path, id: &str, files: &[EtcFile]) -> Result<()> {
    stage::shell(&["mkdir".as_ref(), dir.as_os_str()]);
    let make = || DirBuilder::new().mode(0o700).create(dir);
    let made = match make() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(parent) = dir.parent() {
                stage::make_private_dir(parent)?;
            }
            make()
        }
        made => made,
    };
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(anyhow!("cannot run container {id}: it is there already"))
                .hint(format!("if it is not to be: nsrun undo {id}"));
        }
        made => made.context("mkdir").with_context(|| format!("cannot make directory {}", dir.display()))?,
    }
    let written = files.iter().try_for_each(|file| file.write(dir));
    let left = if written.is_err() { remove(dir).err() } else { None };
    written.left(left.map(|error| format!("{error:#}")).into_iter().collect())
}

impl State {
    pub fn write(&self, dir: &Path) -> Result<()> {
        stage::replace_file(&dir.join(STATE), &serde_json::to_vec(self)?, Durability::UntilReboot)
    }

    /// `None`: there is no such container, or it never began.
    pub fn read(dir: &Path) -> Result<Option<State>> {
        let path = dir.join(STATE);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let state = json::read(&text);
        state.map(Some).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Whether the recorded process lives: the kernel says so, and has no other of that pid and start.
    pub fn is_running(&self) -> bool {
        Life { pid: self.pid, start_time: self.start_time }.goes_on()
    }
}

/// Removes a record. That it is not there, or goes meanwhile, is no error.
pub fn remove(dir: &Path) -> Result<()> {
    for name in [STATE, GATE, "hostname", "hosts", "resolv.conf"] {
        match std::fs::remove_file(dir.join(name)) {
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(error)
                    .context("unlink")
                    .with_context(|| format!("cannot remove {}", dir.join(name).display()));
            }
            _ => {}
        }
    }
    match std::fs::remove_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // A temporary file of a writer that was killed.
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => stage::remove_tree(dir),
        removed => removed.context("rmdir").with_context(|| format!("cannot remove {}", dir.display())),
    }
}

/// proc_pid_stat(5), field 22: clock ticks since boot. `None`: there is no such process, or it has ended and only waits
/// to be reaped.
pub fn start_time(pid: Pid) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, also a parenthesis: the last one ends it.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_start_time() {
        let own = start_time(nix::unistd::getpid()).unwrap();
        assert!(own >= start_time(Pid::from_raw(1)).unwrap());
        assert_eq!(start_time(Pid::from_raw(i32::MAX)), None);
    }
}
