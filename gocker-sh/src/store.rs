//! Where a container's record lies, who holds it, and what its name is.
//!
//!     RUN_ROOT/gocker-sh/ID/        while somebody sets up, watches or tears down: `record.json`, `lock`
//!     ROOT/gocker-sh/ID/            a container that stays: `record.json`
//!     ROOT/gocker-sh/@NAME -> ID    a name, taken by the making of this link
//!
//! Two flocks tell who is at work on a container. The one on the directory is held by gocker-sh alone (by the watcher
//! of a detached container); the one on `lock` also by every stage it started. Directory free, `lock` not: gocker-sh
//! was killed, and a stage still ends, or nsrun carries on with a detached container.

use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use stage::{Id, Lock, Roots, make_private_dir};

/// This tool's own directories.
const TOOL: &str = "gocker-sh";

/// The directories of all containers.
#[derive(Clone, Debug)]
pub struct Store {
    run: PathBuf,
    kept: PathBuf,
}

/// The right to change a container. Ends with this process and the stages that inherited it.
#[derive(Debug)]
pub struct Hold {
    pub id: Id,
    directory: PathBuf,
    owner: Owner,
    lock: Lock,
}

/// The flock on the run directory: what keeps the container owned in the eyes of others. A process that inherited it
/// still has it when this is dropped.
#[derive(Debug)]
pub struct Owner(Option<File>);

impl Owner {
    /// The owner's lock as a watcher has it: its stdin, for as long as it lives.
    pub fn of_watcher() -> Owner {
        Owner(None)
    }

    /// What a watcher gets as its stdin.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_ref().map_or(rustix::stdio::stdin(), |lock| lock.as_fd())
    }
}

/// Who is at work on a container.
#[derive(Debug)]
pub enum Claim {
    /// Nobody was; now we are.
    Ours(Hold),
    /// A gocker-sh.
    Theirs,
    /// A stage that outlives its gocker-sh, for a moment or, in a detached container, for long.
    Unwatched(Owner),
    /// There is no such directory (any more).
    Gone,
}

/// Whether to wait for a stage that a killed gocker-sh has left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    Wait,
    Pass,
}

impl Store {
    pub fn new(roots: &Roots) -> Store {
        Store { run: roots.run(TOOL), kept: roots.kept(TOOL) }
    }

    pub fn run_dir(&self, id: &Id) -> PathBuf {
        self.run.join(id.as_str())
    }

    pub fn kept_dir(&self, id: &Id) -> PathBuf {
        self.kept.join(id.as_str())
    }

    /// The directory of what is gone after a reboot.
    pub fn run_root(&self) -> &Path {
        &self.run
    }

    /// The directory of the containers that stay, and of all names.
    pub fn kept_root(&self) -> PathBuf {
        self.kept.clone()
    }

    pub fn name_link(&self, name: &str) -> PathBuf {
        self.kept.join(format!("@{name}"))
    }

    /// Takes hold of a container that nobody else works on; its run directory is made.
    pub fn hold(&self, id: &Id) -> Result<Hold> {
        loop {
            make_dir(&self.run_dir(id))?;
            // A gc may have seen the directory before it was locked, and removed it: then again.
            if let Claim::Ours(hold) = self.claim_with(id, FlockOperation::LockExclusive, Patience::Wait)? {
                return Ok(hold);
            }
        }
    }

    /// Takes hold of a container if nobody works on it.
    pub fn claim(&self, id: &Id, patience: Patience) -> Result<Claim> {
        self.claim_with(id, FlockOperation::NonBlockingLockExclusive, patience)
    }

    fn claim_with(&self, id: &Id, how: FlockOperation, patience: Patience) -> Result<Claim> {
        let directory = self.run_dir(id);
        let context = || format!("cannot lock {}", directory.display());
        let file = match File::open(&directory) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Claim::Gone),
            Err(error) => return Err(error).context("open").with_context(context),
        };
        match flock(&file, how) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Claim::Theirs),
            Err(errno) => return Err(errno).context("flock").with_context(context),
        }
        let owner = Owner(Some(file));
        let path = directory.join("lock");
        let lock = match patience {
            Patience::Wait => Lock::take(&path).map(Some),
            Patience::Pass => Lock::try_take(&path),
        };
        match lock {
            Ok(Some(lock)) => Ok(Claim::Ours(Hold { id: id.clone(), directory, owner, lock })),
            Ok(None) => Ok(Claim::Unwatched(owner)),
            Err(_) if !directory.exists() => Ok(Claim::Gone),
            Err(error) => Err(error),
        }
    }

    /// Takes hold of the container whose watcher this process is, as soon as nsrun has let go.
    pub fn hold_as_watcher(&self, id: &Id) -> Result<Hold> {
        let directory = self.run_dir(id);
        let lock = Lock::take(&directory.join("lock"))?;
        Ok(Hold { id: id.clone(), directory, owner: Owner::of_watcher(), lock })
    }

    /// Waits until nobody owns the container: whoever watched it has taken it down, or was killed.
    pub fn wait_unowned(&self, id: &Id) -> Result<()> {
        let directory = self.run_dir(id);
        let context = || format!("cannot wait for container {}", id.short());
        let file = match File::open(&directory) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).context("open").with_context(context),
        };
        flock(&file, FlockOperation::LockShared).context("flock").with_context(context)
    }

    /// The ids with a directory in the run root: containers that run, or that somebody works on.
    pub fn running(&self) -> Result<Vec<Id>> {
        ids_in(&self.run)
    }

    /// The ids of the containers that stay.
    pub fn kept(&self) -> Result<Vec<Id>> {
        ids_in(&self.kept)
    }

    /// Every name and the id it stands for.
    pub fn names(&self) -> Result<Vec<(String, Id)>> {
        let mut names = Vec::new();
        for entry in entries(&self.kept)? {
            if let Some(name) = entry.strip_prefix('@')
                && let Some(id) = self.named(name)
            {
                names.push((name.to_owned(), id));
            }
        }
        Ok(names)
    }

    /// The id that a name stands for.
    pub fn named(&self, name: &str) -> Option<Id> {
        std::fs::read_link(self.name_link(name)).ok()?.to_str()?.parse().ok()
    }

    /// Whether anything is there of this container.
    pub fn has(&self, id: &Id) -> bool {
        self.run_dir(id).exists() || self.kept_dir(id).exists()
    }
}

impl Hold {
    /// What a stage inherits, so that nobody takes the container for abandoned while it works.
    pub fn inherited(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// The owner's part of the hold.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Removes the run directory; whoever waits for the container finds it gone.
    pub fn remove(self) -> Result<()> {
        // The lock last: a killed gocker-sh must leave something that says whose the directory was.
        remove_files(&self.directory, Some("lock"))?;
        self.lock.remove()?;
        remove_dir(&self.directory)
    }
}

/// Makes a directory for root alone; what is above it, too, the first time.
pub fn make_dir(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(_) => make_private_dir(path),
    }
}

/// Removes a directory of ours and the files in it. That it is not there is no error.
pub fn remove_dir(directory: &Path) -> Result<()> {
    match std::fs::remove_dir(directory) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(_) => remove_files(directory, None)?,
    }
    std::fs::remove_dir(directory)
        .context("rmdir")
        .with_context(|| format!("cannot remove {}", directory.display()))
}

fn remove_files(directory: &Path, except: Option<&str>) -> Result<()> {
    for entry in entries(directory)? {
        if Some(entry.as_str()) != except {
            let path = directory.join(entry);
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn ids_in(directory: &Path) -> Result<Vec<Id>> {
    Ok(entries(directory)?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// The names in a directory; none if it is not there.
fn entries(directory: &Path) -> Result<Vec<String>> {
    let listing = match std::fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error)
                .context("opendir")
                .with_context(|| format!("cannot read {}", directory.display()));
        }
    };
    Ok(listing.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}
