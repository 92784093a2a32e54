//! `--json-fd`: what becomes of the payload, one JSON object a line, as section `process` of the document.

use std::fs::File;
use std::io::Write;
use std::os::fd::RawFd;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use stage::Id;

use crate::sys;

/// The descriptor, if one was given.
#[derive(Debug)]
pub struct Facts {
    file: Option<File>,
    /// Whether the payload has been reported as running.
    begun: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    process: State<'a>,
}

/// An OCI runtime state, with our two keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    oci_version: &'static str,
    id: &'a Id,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<u64>,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
}

impl Facts {
    pub fn to(fd: Option<RawFd>) -> Result<Facts> {
        let adopt = |fd| sys::adopt(fd).with_context(|| format!("cannot use --json-fd={fd}"));
        Ok(Facts { file: fd.map(adopt).transpose()?.map(File::from), begun: false })
    }

    pub fn running(&mut self, id: &Id, bundle: &Path, (pid, start_time): (i32, u64)) -> Result<()> {
        self.begun = true;
        self.say(id, bundle, "running", (Some(pid), Some(start_time), None))
    }

    /// Says nothing of what never ran.
    pub fn stopped(&mut self, id: &Id, bundle: &Path, exit_code: u8) -> Result<()> {
        if !self.begun {
            return Ok(());
        }
        self.say(id, bundle, "stopped", (None, None, Some(exit_code)))
    }

    fn say(
        &mut self,
        id: &Id,
        bundle: &Path,
        status: &'static str,
        (pid, start_time, exit_code): (Option<i32>, Option<u64>, Option<u8>),
    ) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let state = State { oci_version: "1.0.2", id, status, pid, start_time, bundle, exit_code };
        let mut line = serde_json::to_vec(&Line { process: state })?;
        line.push(b'\n');
        file.write_all(&line).context("cannot report to --json-fd: write")
    }
}
