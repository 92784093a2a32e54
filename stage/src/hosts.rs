//! A container's `/etc/hosts` when two tools write it: nsrun, who starts the container, and netns, who knows the names
//! of the others on its network and tells of those that come and go while it runs.
//!
//! The file is bound over the container's `/etc/hosts`. A bind follows the file and not its name, so a new file in its
//! place would not be seen: it is written in place, in one write, and whoever reads it meanwhile finds names that were
//! or names that are. The container may write into it, so it is not what the lock is on.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result};

/// The first line of netns' part.
const MARK: &str = "# The network's names; netns keeps what follows.\n";
/// A file that its container made longer is the container's own business from then on.
const LIMIT: u64 = 64 * 1024;

/// The lock of all hosts files of a directory, an flock(2) on the directory.
pub struct Hosts {
    _lock: File,
}

/// The two parts of a hosts file: lines of hosts(5), each with its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HostsParts {
    /// Of whoever starts the container.
    pub own: String,
    /// Of netns.
    pub network: String,
}

impl Hosts {
    /// Waits for the lock of the directory. `None`: it is not there, or was removed meanwhile.
    pub fn lock(dir: &Path) -> Result<Option<Hosts>> {
        let locked = || -> std::io::Result<Option<File>> {
            let lock = File::open(dir)?;
            while let Err(error) = lock.lock() {
                if error.kind() != ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            let (mine, named) = (lock.metadata()?, std::fs::metadata(dir)?);
            Ok((mine.ino() == named.ino()).then_some(lock))
        };
        match locked() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            locked => {
                let lock = locked.with_context(|| format!("cannot lock {}", dir.display()))?;
                Ok(lock.map(|lock| Hosts { _lock: lock }))
            }
        }
    }

    /// Changes a file of the directory, which is made if it is not there.
    pub fn change(&self, file: &Path, change: impl FnOnce(&mut HostsParts)) -> Result<()> {
        rewrite(file, change).with_context(|| format!("cannot write {}", file.display()))
    }
}

fn rewrite(path: &Path, change: impl FnOnce(&mut HostsParts)) -> Result<()> {
    // Readable by any user of the container, whatever the umask is: the directory is private.
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(path)?;
    let mut before = Vec::new();
    (&file).take(LIMIT + 1).read_to_end(&mut before)?;
    if before.len() as u64 > LIMIT {
        return Ok(());
    }
    let mut parts = HostsParts::of(&String::from_utf8_lossy(&before));
    change(&mut parts);
    let mut after = parts.text().into_bytes();
    let len = after.len() as u64;
    // What is shorter covers the old text with empty lines before the end is cut off.
    after.resize(after.len().max(before.len()), b'\n');
    file.write_all_at(&after, 0)?;
    file.set_len(len)?;
    Ok(())
}

impl HostsParts {
    fn of(text: &str) -> HostsParts {
        let (own, network) = text.split_once(MARK).unwrap_or((text, ""));
        HostsParts { own: own.to_owned(), network: network.to_owned() }
    }

    fn text(&self) -> String {
        [&self.own, MARK, &self.network].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_writes_its_part_and_keeps_the_others() -> Result<()> {
        let dir = std::env::temp_dir().join(format!("hosts-{}", std::process::id()));
        std::fs::create_dir(&dir)?;
        let file = dir.join("hosts");
        let seen = (|| {
            let hosts = Hosts::lock(&dir)?.context("the directory is there")?;
            hosts.change(&file, |parts| parts.network = "10.0.0.2\tdb database\n".to_owned())?;
            hosts.change(&file, |parts| parts.own = "127.0.0.1\tlocalhost\n".to_owned())?;
            let both = std::fs::read_to_string(&file)?;
            hosts.change(&file, |parts| parts.network = String::new())?;
            let one = std::fs::read_to_string(&file)?;
            // A container that filled its file keeps it.
            std::fs::write(&file, "x".repeat(70_000))?;
            hosts.change(&file, |parts| *parts = HostsParts::default())?;
            anyhow::Ok((both, one, std::fs::metadata(&file)?.len()))
        })();
        crate::remove_tree(&dir)?;
        assert!(Hosts::lock(&dir)?.is_none());
        let own = "127.0.0.1\tlocalhost\n";
        assert_eq!(seen?, (format!("{own}{MARK}10.0.0.2\tdb database\n"), format!("{own}{MARK}"), 70_000));
        Ok(())
    }
}
