//! Locks that die with their holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// An exclusive flock(2) on a file. The kernel frees it when the last descriptor of it is closed, so a
/// process that is killed holds nothing, and one that inherited the descriptor still does.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Waits for the lock. The file is made if it is not there; its directory must be.
    ///
    /// # Errors
    /// The file cannot be opened or locked.
    pub fn take(path: &Path) -> Result<Lock> {
        loop {
            let file = open(path)?;
            match file.lock() {
                Ok(()) if has_name(&file, path)? => return Ok(Lock { file, path: path.to_owned() }),
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("flock").with_context(|| cannot_lock(path)),
            }
        }
    }

    /// The lock, or `None` if somebody has it.
    ///
    /// # Errors
    /// The file cannot be opened or locked.
    pub fn try_take(path: &Path) -> Result<Option<Lock>> {
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) if has_name(&file, path)? => return Ok(Some(Lock { file, path: path.to_owned() })),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => {
                    return Err(error).context("flock").with_context(|| cannot_lock(path));
                }
            }
        }
    }

    /// Removes the lock's file, then frees the lock.
    pub fn remove(self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| cannot_lock(path))
}

/// Whoever held the lock may have removed the file: a lock on a file without a name excludes nobody.
fn has_name(file: &File, path: &Path) -> Result<bool> {
    let ours = file.metadata().with_context(|| cannot_lock(path))?;
    Ok(std::fs::metadata(path).is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())))
}

fn cannot_lock(path: &Path) -> String {
    format!("cannot lock {}", path.display())
}
