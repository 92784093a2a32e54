//! Taking back what was done, in reverse, whatever happens on the way.

use anyhow::{Error, Result};

use crate::Explain;

/// What has been done so far, each with the way to take it back.
#[derive(Default)]
pub struct Undo {
    steps: Vec<Box<dyn FnOnce() -> Result<()>>>,
}

impl Undo {
    /// Registers a step. To be called before the act it takes back, so `step` must accept that there is
    /// nothing to take back.
    pub fn push(&mut self, step: impl FnOnce() -> Result<()> + 'static) {
        self.steps.push(Box::new(step));
    }
}

/// Runs `act`; if it fails, takes back what it registered, last first, and returns its error. What could not
/// be taken back is reported behind the error, never instead of it.
pub fn undoable<T>(act: impl FnOnce(&mut Undo) -> Result<T>) -> Result<T> {
    let mut undo = Undo::default();
    let done = act(&mut undo);
    if done.is_ok() {
        return done;
    }
    let left: Vec<String> =
        undo.steps.into_iter().rev().filter_map(|step| step().err()).map(|e| shown(&e)).collect();
    done.left(left)
}

/// Runs every step, in order, whether or not one before it failed.
///
/// # Errors
/// The first failure, with the others behind it.
pub fn attempt_all<const N: usize>(steps: [Box<dyn FnOnce() -> Result<()> + '_>; N]) -> Result<()> {
    let mut failures = steps.into_iter().filter_map(|step| step().err());
    match failures.next() {
        None => Ok(()),
        Some(first) => Err(first).left(failures.map(|e| shown(&e)).collect()),
    }
}

fn shown(error: &Error) -> String {
    format!("{error:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Explained;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[test]
    fn undo_runs_in_reverse_and_keeps_the_cause() {
        let ran = Rc::new(RefCell::new(Vec::new()));
        let (first, second) = (Rc::clone(&ran), Rc::clone(&ran));
        let result: Result<()> = undoable(|undo| {
            undo.push(move || {
                first.borrow_mut().push(1);
                Ok(())
            });
            undo.push(move || {
                second.borrow_mut().push(2);
                anyhow::bail!("cannot remove b")
            });
            anyhow::bail!("the cause")
        });
        let error = result.unwrap_err();
        assert_eq!(error.to_string(), "the cause");
        assert_eq!(Explained::of(&error).unwrap().left, ["cannot remove b"]);
        assert_eq!(*ran.borrow(), [2, 1]);
    }
}
