//! `-v`: each effect on the host, shown as the shell command that would have it.

use std::ffi::OsStr;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

static SHOW: AtomicBool = AtomicBool::new(false);

/// Turns [`shell`] on or off for this process.
pub fn show_effects(show: bool) {
    SHOW.store(show, Ordering::Relaxed);
}

/// Shows one effect, when `-v` asked for it. The words are quoted for the shell.
pub fn shell<S: AsRef<OsStr>>(words: &[S]) {
    if SHOW.load(Ordering::Relaxed) {
        let line: Vec<String> = words.iter().map(|word| quoted(&word.as_ref().to_string_lossy())).collect();
        say(&format!("+ {}", line.join(" ")));
    }
}

/// One line to the person who typed the command. A stderr that cannot be written to is no reason to fail.
pub fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).ok();
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=./:,@%{}<>|".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
