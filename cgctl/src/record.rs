//! Which group belongs to an id, also when another parent than today's was used.
//!
//!     RUN_ROOT/cgctl/ID -> /gocker/ID
//!
//! A symbolic link that leads nowhere: one call makes it, with its content, or fails because it is there.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use stage::{Codes, Explain, Id, RunRoot, Undo};

use crate::group::CgroupPath;
use crate::target::Target;

pub struct Records {
    dir: PathBuf,
    parent: CgroupPath,
}

impl Records {
    pub fn new(run_root: &RunRoot, parent: CgroupPath) -> Records {
        Records { dir: run_root.of("cgctl"), parent }
    }

    /// Writes down the group that is about to be made. The one process that could do so owns the id.
    pub fn claim(&self, id: &Id, undo: &mut Undo) -> Result<CgroupPath> {
        let group = self.parent.child(id);
        let record = self.dir.join(id.as_str());
        let mut made = symlink(group.as_str(), &record);
        if made.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            stage::shell(&["mkdir", "-p", "-m", "700", &self.dir.to_string_lossy()]);
            stage::make_private_dir(&self.dir)?;
            made = symlink(group.as_str(), &record);
        }
        let there = made.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists);
        let made = made.with_context(|| format!("cannot make {}: symlink", record.display()));
        if there {
            made.hint(format!("a group with this id is there already; cgctl undo {id} removes it"))?;
        } else {
            made?;
        }
        stage::shell(&["ln", "-s", group.as_str(), &record.to_string_lossy()]);
        undo.push(move || remove(&record));
        Ok(group)
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
        let written = std::fs::read_link(self.dir.join(id.as_str())).ok();
        let written = written.and_then(|target| target.to_str()?.parse().ok());
        written.unwrap_or_else(|| self.parent.child(id))
    }

    pub fn remove(&self, id: &Id) -> Result<()> {
        remove(&self.dir.join(id.as_str()))
    }

    /// The ids that something is written down of.
    pub fn ids(&self) -> BTreeSet<Id> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    /// The group in which groups are made now.
    pub fn parent(&self) -> &CgroupPath {
        &self.parent
    }
}

fn remove(record: &std::path::Path) -> Result<()> {
    match std::fs::remove_file(record) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}: unlink", record.display()))
        }
        _ => Ok(()),
    }
}
