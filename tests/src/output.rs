//! What a command printed and how it ended, with assertions that show both.

use std::io::Write;

use serde_json::Value;

/// The end of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub command: String,
    /// Exit code, or 128+n for a death by signal n.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// stdout of a command that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self}");
        self.stdout
    }

    /// stdout of a command that must have succeeded, as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        assert_eq!(self.code, 0, "{self}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{self}"))
    }

    /// The command must have failed with this code and exactly this on stderr, and nothing on stdout.
    #[track_caller]
    pub fn fails(self, code: i32, stderr: &str) {
        assert_eq!((self.code, self.stderr.as_str(), self.stdout.as_str()), (code, stderr, ""), "{self}");
    }

    /// The command must have ended with this code.
    #[track_caller]
    pub fn code(self, code: i32) -> Output {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// stderr must contain this.
    #[track_caller]
    pub fn says(self, part: &str) -> Output {
        assert!(self.stderr.contains(part), "stderr lacks {part:?}\n{self}");
        self
    }

    /// stdout without the newline at its end must be this; the command must have succeeded.
    #[track_caller]
    pub fn prints(self, stdout: &str) {
        assert_eq!(self.code, 0, "{self}");
        assert_eq!(self.stdout.trim_end_matches('\n'), stdout, "{self}");
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        writeln!(f, "$ {}\nexit code {}", self.command, self.code)?;
        writeln!(f, "--- stdout\n{}\n--- stderr\n{}\n---", self.stdout.trim_end(), self.stderr.trim_end())
    }
}

/// Notes a skipped test, for the list that `make test` prints and the count that CI checks.
pub fn skipped(why: &str) {
    let line = format!("SKIP {}: {why}\n", std::thread::current().name().unwrap_or("?"));
    let path = crate::bins::workspace().join("target/test-skips");
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(line.as_bytes()).unwrap();
    eprint!("{line}");
}
