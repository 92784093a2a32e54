//! What a container is doing, by the kernel's word, and how that is told: the OCI runtime state.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::document::Cgroup;
use crate::gate;
use crate::record::{Life, State};

/// The version of the runtime specification that containers without a bundle are made by.
pub const OCI_VERSION: &str = "1.0.2";

/// runtime-spec, runtime.md "State"; `paused` is runc's addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

impl Status {
    pub fn of(record: &Path, state: &State) -> Result<Status> {
        let creator = state.bundle.as_ref().and_then(|bundle| bundle.creator);
        if creator.is_some_and(Life::goes_on) {
            return Ok(Status::Creating);
        }
        if !state.is_running() {
            return Ok(Status::Stopped);
        }
        if state.bundle.is_some() && gate::knock(record)?.is_some() {
            return Ok(Status::Created);
        }
        match state.cgroup.as_ref().is_some_and(is_frozen) {
            true => Ok(Status::Paused),
            false => Ok(Status::Running),
        }
    }
}

/// Whether its processes stand still, or are about to. The freezer is v1's own hierarchy, or the one of v2.
pub fn is_frozen(cgroup: &Cgroup) -> bool {
    let (file, moving) = match cgroup.version {
        1 => (cgroup.paths.get("freezer").map(|path| path.join("freezer.state")), "THAWED"),
        _ => (cgroup.paths.values().next().map(|path| path.join("cgroup.freeze")), "0"),
    };
    let text = file.and_then(|file| std::fs::read_to_string(file).ok());
    text.is_some_and(|text| text.trim() != moving)
}

/// The state as the specification has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OciState<'a> {
    oci_version: &'a str,
    id: &'a str,
    pub status: Status,
    /// 0: none.
    pub pid: i32,
    pub bundle: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a HashMap<String, String>>,
}

impl OciState<'_> {
    pub fn id(&self) -> &str {
        self.id
    }

    pub fn of(state: &State, status: Status, pid: i32) -> OciState<'_> {
        let bundle = state.bundle.as_ref();
        OciState {
            oci_version: bundle.map_or(OCI_VERSION, |bundle| &bundle.oci_version),
            id: &state.id,
            status,
            pid,
            bundle: bundle.map_or(Path::new(""), |bundle| &bundle.path),
            annotations: bundle
                .map(|bundle| &bundle.annotations)
                .filter(|annotations| !annotations.is_empty()),
        }
    }
}
