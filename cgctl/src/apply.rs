//! Writes limits and reads them back.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use stage::Explain;

use crate::settings::Setting;

/// Sets one value in the group's directory. Whether the kernel has such a file, for one that is not needed.
pub fn apply(dir: &Path, setting: &Setting) -> Result<bool> {
    let file = dir.join(setting.file);
    let context = || format!("cannot limit {} to {}", setting.what, setting.value);
    let mut open = match OpenOptions::new().read(true).write(true).open(&file) {
        Ok(open) => open,
        Err(error) if error.kind() == ErrorKind::NotFound => return absent(setting),
        Err(error) => {
            return Err(error).with_context(|| format!("open {}", file.display())).with_context(context);
        }
    };
    stage::shell(&["echo", &setting.value, ">", &file.to_string_lossy()]);
    open.write_all(setting.value.as_bytes())
        .with_context(|| format!("write {}", file.display()))
        .with_context(context)?;
    let mut text = [0u8; 128];
    let length = open
        .read_at(&mut text, 0)
        .with_context(|| format!("read {}", file.display()))
        .with_context(context)?;
    let now = String::from_utf8_lossy(&text[..length]);
    if now.trim_end() != setting.value {
        bail!("{}: {} is {} after it was written", context(), file.display(), now.trim_end());
    }
    Ok(true)
}

fn absent(setting: &Setting) -> Result<bool> {
    if !setting.needed {
        return Ok(false);
    }
    let error =
        anyhow!("cannot limit {} to {}: the kernel has no {}", setting.what, setting.value, setting.file);
    match setting.what {
        "swap" => Err(error).hint("it does not account for swap: boot with swapaccount=1"),
        _ => Err(error),
    }
}
