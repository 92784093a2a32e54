//! What an error carries beside its text: an exit code, the kernel's own words, a remedy.

use std::error::Error;
use std::fmt;

use anyhow::Result;

/// An error with what is known about it. Its text is the text of what it wraps.
#[derive(Debug)]
pub struct Explained {
    source: anyhow::Error,
    /// Exit code of the process, if the cause decides it.
    pub code: Option<u8>,
    /// The kernel's own explanation (fsconfig's log, netlink's extended ack).
    pub kernel: Option<String>,
    /// What the user can do about it.
    pub hint: Option<String>,
    /// What could not be taken back after the error.
    pub left: Vec<String>,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Error for Explained {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}

impl Explained {
    /// What is known about `error`: the outermost explanation, if there is one.
    pub fn of(error: &anyhow::Error) -> Option<&Explained> {
        error.chain().find_map(|cause| cause.downcast_ref())
    }

    fn wrap(error: anyhow::Error) -> Explained {
        let known = Explained::of(&error);
        let (code, kernel, hint, left) = match known {
            Some(e) => (e.code, e.kernel.clone(), e.hint.clone(), e.left.clone()),
            None => (None, None, None, Vec::new()),
        };
        Explained { source: error, code, kernel, hint, left }
    }
}

/// Adds to an error what is known about it; what was said first, nearest to the cause, stands.
pub trait Explain<T> {
    /// The process will exit with `code`.
    fn code(self, code: u8) -> Result<T>;
    /// The kernel explained it in these words.
    fn kernel(self, text: impl Into<String>) -> Result<T>;
    /// The user can do this about it.
    fn hint(self, text: impl Into<String>) -> Result<T>;
    /// These could not be taken back.
    fn left(self, what: Vec<String>) -> Result<T>;
}

impl<T, E: Into<anyhow::Error>> Explain<T> for std::result::Result<T, E> {
    fn code(self, code: u8) -> Result<T> {
        explain(self, |e| e.code = e.code.or(Some(code)))
    }

    fn kernel(self, text: impl Into<String>) -> Result<T> {
        explain(self, |e| e.kernel = e.kernel.take().or_else(|| Some(text.into())))
    }

    fn hint(self, text: impl Into<String>) -> Result<T> {
        explain(self, |e| e.hint = e.hint.take().or_else(|| Some(text.into())))
    }

    fn left(self, what: Vec<String>) -> Result<T> {
        explain(self, |e| e.left.extend(what))
    }
}

fn explain<T, E: Into<anyhow::Error>>(
    result: std::result::Result<T, E>,
    add: impl FnOnce(&mut Explained),
) -> Result<T> {
    result.map_err(|error| {
        let mut explained = Explained::wrap(error.into());
        add(&mut explained);
        anyhow::Error::new(explained)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn an_explanation_does_not_change_the_text_and_survives_context() {
        let inner: Result<()> = Err(anyhow!("mount: busy")).hint("wait").code(7);
        let outer = inner.context("cannot mount /x").hint("a later hint").unwrap_err();
        assert_eq!(format!("{outer:#}"), "cannot mount /x: mount: busy");
        let known = Explained::of(&outer).unwrap();
        assert_eq!((known.code, known.hint.as_deref()), (Some(7), Some("wait")));
    }
}
