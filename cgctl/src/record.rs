//! Which group belongs to an id, also when another parent than today's was used.
//!
//!     RUN_ROOT/cgctl/ID.making -> /gocker/ID    while it is made
//!     RUN_ROOT/cgctl/ID -> /gocker/ID           from then on
//!
//! A symbolic link that leads nowhere: one call makes it, with its content, or fails because it is there. Who makes a
//! group holds a shared lock on the directory, so that who holds it alone knows that nobody does.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use stage::{Codes, Explain, Id, RunRoot, Undo};

use crate::group::CgroupPath;
use crate::target::Target;

const MAKING: &str = ".making";

pub struct Records {
    dir: PathBuf,
    parent: CgroupPath,
}

/// What is known about a group that is being made.
pub struct Claim {
    pub group: CgroupPath,
    making: PathBuf,
    whole: PathBuf,
    _lock: File,
}

impl Claim {
    /// All of it is there.
    pub fn complete(&self, undo: &mut Undo) -> Result<()> {
        stage::shell(&["mv", "-n", &self.making.to_string_lossy(), &self.whole.to_string_lossy()]);
        renameat_with(CWD, &self.making, CWD, &self.whole, RenameFlags::NOREPLACE)
            .with_context(|| format!("cannot make {}: rename", self.whole.display()))?;
        let whole = self.whole.clone();
        undo.push(move || remove(&whole));
        Ok(())
    }
}

impl Records {
    pub fn new(run_root: &RunRoot, parent: CgroupPath) -> Records {
        Records { dir: run_root.of("cgctl"), parent }
    }

    /// Writes down the group that is about to be made. The one process that could do so owns the id.
    pub fn claim(&self, id: &Id, undo: &mut Undo) -> Result<Claim> {
        let group = self.parent.child(id);
        let (making, whole) = (self.making(id), self.whole(id));
        let lock = self.lock_for_making()?;
        let made = match whole.symlink_metadata() {
            Ok(_) => Err(Errno::EXIST.into()),
            Err(_) => symlink(group.as_str(), &making),
        };
        let there = made.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists);
        let made = made.with_context(|| format!("cannot make {}: symlink", whole.display()));
        if there {
            made.hint(format!("a group with this id is there already; cgctl undo {id} removes it"))?;
        } else {
            made?;
        }
        stage::shell(&["ln", "-s", group.as_str(), &making.to_string_lossy()]);
        undo.push({
            let making = making.clone();
            move || remove(&making)
        });
        Ok(Claim { group, making, whole, _lock: lock })
    }

    fn lock_for_making(&self) -> Result<File> {
        let mut dir = File::open(&self.dir);
        if dir.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            stage::shell(&["mkdir", "-p", "-m", "700", &self.dir.to_string_lossy()]);
            stage::make_private_dir(&self.dir)?;
            dir = File::open(&self.dir);
        }
        let dir = dir.with_context(|| format!("cannot open {}", self.dir.display()))?;
        self.flock(&dir, FlockOperation::LockShared)?;
        Ok(dir)
    }

    /// Nobody makes a group for as long as the answer is held. `None` if none was ever made.
    pub fn lock_alone(&self) -> Result<Option<File>> {
        match File::open(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => {
                let dir = opened.with_context(|| format!("cannot open {}", self.dir.display()))?;
                self.flock(&dir, FlockOperation::LockExclusive)?;
                Ok(Some(dir))
            }
        }
    }

    fn flock(&self, dir: &File, how: FlockOperation) -> Result<()> {
        flock(dir, how).with_context(|| format!("cannot lock {}", self.dir.display()))
    }

    fn whole(&self, id: &Id) -> PathBuf {
        self.dir.join(id.as_str())
    }

    fn making(&self, id: &Id) -> PathBuf {
        self.dir.join(format!("{id}{MAKING}"))
    }

    /// The group that a verb is about.
    pub fn target(&self, target: &Target) -> Result<CgroupPath> {
        match (&target.id, &target.cgroups_path) {
            (Some(id), _) => Ok(self.group(id)),
            (None, Some(path)) => path.resolve(),
            (None, None) => {
                Err(anyhow!("cannot tell which group: give an id or --cgroups-path")).code(Codes::USAGE)
            }
        }
    }

    /// The group of an id: what is written down, else where it would be made now.
    pub fn group(&self, id: &Id) -> CgroupPath {
        let written =
            std::fs::read_link(self.whole(id)).or_else(|_| std::fs::read_link(self.making(id))).ok();
        let written = written.and_then(|target| target.to_str()?.parse().ok());
        written.unwrap_or_else(|| self.parent.child(id))
    }

    /// Its maker came to the end.
    pub fn is_complete(&self, id: &Id) -> bool {
        self.whole(id).symlink_metadata().is_ok()
    }

    pub fn remove(&self, id: &Id) -> Result<()> {
        remove(&self.making(id))?;
        remove(&self.whole(id))
    }

    /// The ids that something is written down of.
    pub fn ids(&self) -> BTreeSet<Id> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let id = |name: &str| name.strip_suffix(MAKING).unwrap_or(name).parse().ok();
        entries.filter_map(|entry| id(entry.file_name().to_str()?)).collect()
    }

    /// The group in which groups are made now.
    pub fn parent(&self) -> &CgroupPath {
        &self.parent
    }
}

fn remove(record: &Path) -> Result<()> {
    match std::fs::remove_file(record) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}: unlink", record.display()))
        }
        _ => Ok(()),
    }
}
