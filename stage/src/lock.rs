//! Locks that die with their holder.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// An exclusive flock(2) on a file. The kernel frees it when the last descriptor of it is closed, so a
/// process that is killed holds nothing, and one that inherited the descriptor still does.
#[derive(Debug)]
pub struct Lock {
    file: Flock<File>,
    path: PathBuf,
}

impl Lock {
    /// Waits for the lock. The file is made if it is not there; its directory must be.
    pub fn take(path: &Path) -> Result<Lock> {
        match Lock::acquire(path, FlockArg::LockExclusive)? {
            Some(lock) => Ok(lock),
            None => Err(Errno::EWOULDBLOCK).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    /// The lock, or `None` if somebody has it.
    pub fn try_take(path: &Path) -> Result<Option<Lock>> {
        Lock::acquire(path, FlockArg::LockExclusiveNonblock)
    }

    fn acquire(path: &Path, how: FlockArg) -> Result<Option<Lock>> {
        let context = || format!("cannot lock {}", path.display());
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .with_context(context)?;
            let file = match Flock::lock(file, how) {
                Ok(file) => file,
                Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
                Err((_, Errno::EINTR)) => continue,
                Err((_, errno)) => return Err(errno).context("flock").with_context(context),
            };
            // Whoever held it may have removed the file: a lock on a file without a name excludes nobody.
            let same = match std::fs::metadata(path) {
                Ok(now) => {
                    let ours = file.metadata().with_context(context)?;
                    (now.dev(), now.ino()) == (ours.dev(), ours.ino())
                }
                Err(_) => false,
            };
            if same {
                return Ok(Some(Lock { file, path: path.to_owned() }));
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
