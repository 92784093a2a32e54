//! `--log`: the file in which engines look for what went wrong.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use serde_json::json;
use stage::{Codes, Explained};

use super::options::LogFormat;
use super::time;

static LOG: OnceLock<(File, LogFormat)> = OnceLock::new();

/// Where this process logs. Opened now: exec goes where the path means another file.
pub fn open(log: &Path, format: LogFormat) -> Result<()> {
    let file = OpenOptions::new().append(true).create(true).open(log);
    let file = file.with_context(|| format!("cannot open log {}", log.display()))?;
    LOG.get_or_init(|| (file, format));
    Ok(())
}

/// A failure that ends nsrun; stderr has it, too.
pub fn error(error: &anyhow::Error) {
    write("error", &words(error));
}

/// A failure after which the work goes on.
pub fn warn(error: &anyhow::Error) {
    stage::say(&format!("nsrun: warning: {error:#}"));
    write("warning", &format!("{error:#}"));
}

/// Why a program cannot be executed is said as Go says it: docker's client looks for these words, letter by letter.
fn words(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    match Explained::of(error).and_then(|known| known.code) {
        Some(Codes::NOT_FOUND | Codes::NOT_EXECUTABLE) => {
            text.replace("Permission denied", "permission denied").replace("No such file", "no such file")
        }
        _ => text,
    }
}

/// Appends one line. A log that cannot be written to is no reason to fail.
fn write(level: &str, text: &str) {
    let Some((log, format)) = LOG.get() else { return };
    let now = time::now();
    let line = match format {
        LogFormat::Json => json!({"level": level, "msg": text, "time": now}).to_string(),
        LogFormat::Text => format!("time={now:?} level={level} msg={text:?}"),
    };
    let mut file: &File = log;
    file.write_all(format!("{line}\n").as_bytes()).ok();
}
