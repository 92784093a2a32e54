//! Writes values to the kernel's files and reads them back.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use stage::Explain;

use crate::reading;
use crate::settings::{KEPT, Setting};

/// How one write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    Yes,
    /// The kernel has no such file, and it is not needed.
    Missing,
    /// The kernel does not take the value beside what the other files say now.
    NotNow,
}

/// Sets each value in its directory. Whether the kernel has a file for all of them.
///
/// There is no order that always fits (a limit must not be above the one of memory and swap, a period not below its
/// quota, whether they grow or shrink), so that what the kernel does not take is tried again after the others.
pub fn apply_all(settings: &[(&Path, &Setting)]) -> Result<bool> {
    let mut all = true;
    let mut again = Vec::new();
    for (dir, setting) in settings {
        match apply(dir, setting, Refusal::CanWait)? {
            Applied::Yes => {}
            Applied::Missing => all = false,
            Applied::NotNow => again.push((dir, setting)),
        }
    }
    for (dir, setting) in again {
        apply(dir, setting, Refusal::IsFinal)?;
    }
    Ok(all)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusal {
    CanWait,
    IsFinal,
}

fn apply(dir: &Path, setting: &Setting, refusal: Refusal) -> Result<Applied> {
    let file = dir.join(&*setting.file);
    let context = || format!("cannot limit {} to {}", setting.what, setting.value.trim_start_matches("- "));
    let write_only = setting.controller == "devices";
    let mut open = match OpenOptions::new().read(!write_only).write(true).open(&file) {
        Ok(open) => open,
        Err(error) if error.kind() == ErrorKind::NotFound => return absent(setting),
        Err(error) => {
            return Err(error).with_context(|| format!("open {}", file.display())).with_context(context);
        }
    };
    let value = whole(&setting.value, &open)
        .with_context(|| format!("read {}", file.display()))
        .with_context(context)?;
    stage::shell(&["echo", &value, ">", &file.to_string_lossy()]);
    match open.write_all(value.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::InvalidInput && refusal == Refusal::CanWait => {
            return Ok(Applied::NotNow);
        }
        written => {
            written.with_context(|| format!("write {}", file.display())).with_context(context)?;
        }
    }
    if !write_only {
        let text = read(&open).with_context(|| format!("read {}", file.display())).with_context(context)?;
        if !reading::says(&text, &value) {
            bail!("{}: {} is {} after it was written", context(), file.display(), text.trim_end());
        }
    }
    Ok(Applied::Yes)
}

/// The value with the word that stays as the file has it.
fn whole<'a>(value: &'a str, file: &File) -> std::io::Result<Cow<'a, str>> {
    let Some(rest) = value.strip_prefix(KEPT).filter(|rest| rest.starts_with(' ')) else {
        return Ok(value.into());
    };
    let text = read(file)?;
    Ok(format!("{}{rest}", text.split_whitespace().next().unwrap_or_default()).into())
}

fn read(file: &File) -> std::io::Result<String> {
    let mut text = [0u8; 4096];
    let length = file.read_at(&mut text, 0)?;
    Ok(String::from_utf8_lossy(&text[..length]).into_owned())
}

fn absent(setting: &Setting) -> Result<Applied> {
    if !setting.needed {
        return Ok(Applied::Missing);
    }
    let error =
        anyhow!("cannot limit {} to {}: the kernel has no {}", setting.what, setting.value, setting.file);
    match &*setting.file {
        "memory.memsw.limit_in_bytes" | "memory.swap.max" => {
            Err(error).hint("it does not account for swap: boot with swapaccount=1")
        }
        "blkio.bfq.weight" => Err(error).hint("weights need the io scheduler bfq: modprobe bfq"),
        _ => Err(error),
    }
}
