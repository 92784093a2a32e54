//! What docker says on stderr while it pulls.

/// Says it, unless `--quiet`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Shown,
    Quiet,
}

impl Progress {
    /// One line for the person who waits.
    pub fn say(self, line: &str) {
        if self == Progress::Shown {
            stage::say(line);
        }
    }
}
