//! Names the system call in an error, so that every message says what the kernel was asked.

use anyhow::{Context, Result};
use nix::errno::Errno;

/// Adds the name of the call to the kernel's answer.
pub trait Call<T> {
    /// # Errors
    /// The error that it was, behind `name`.
    fn call(self, name: &'static str) -> Result<T>;
}

impl<T> Call<T> for rustix::io::Result<T> {
    fn call(self, name: &'static str) -> Result<T> {
        self.map_err(|errno| Errno::from_raw(errno.raw_os_error())).context(name)
    }
}

impl<T> Call<T> for nix::Result<T> {
    fn call(self, name: &'static str) -> Result<T> {
        self.context(name)
    }
}
