//! The names of a user-made network's containers, in the `/etc/hosts` of each: a network of one's own has its
//! directory, with two files for each member: `ID` has its own lines, and `ID.hosts` is what it sees, everybody's.
//!
//! Both go with the record. Nobody is asked at run time and nothing of ours listens; what a container does to
//! its file is seen by nobody else.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use stage::{Durability, Hosts, Id, make_private_dir, replace_file};

use crate::network;

/// Behind the id, in the name of the file that the container sees.
const SEEN: &str = ".hosts";

/// The members of one network.
#[derive(Clone)]
pub struct Members {
    dir: PathBuf,
}

impl Members {
    /// `None`: on the default network nobody has a name, as with docker.
    pub fn of(records: &Path, network: &str) -> Option<Members> {
        (network != network::DEFAULT).then(|| Members { dir: records.join(format!("{network}.members")) })
    }

    /// The container's `/etc/hosts`.
    pub fn hosts(&self, id: &Id) -> PathBuf {
        self.dir.join(format!("{id}{SEEN}"))
    }

    /// All members, the new one included, know its names from now on.
    pub fn join(&self, id: &Id, addresses: &[IpAddr], names: &[String]) -> Result<()> {
        let hosts = loop {
            make_private_dir(&self.dir)?;
            // Who leaves as the last one removes the directory.
            if let Some(hosts) = Hosts::lock(&self.dir)? {
                break hosts;
            }
        };
        let lines: String =
            addresses.iter().map(|address| format!("{address}\t{}\n", names.join(" "))).collect();
        replace_file(&self.dir.join(id.as_str()), lines.as_bytes(), Durability::UntilReboot)?;
        self.tell(&hosts)
    }

    /// Nobody knows it any more. It need not be a member.
    pub fn leave(&self, id: &Id) -> Result<()> {
        let Some(hosts) = Hosts::lock(&self.dir)? else { return Ok(()) };
        for path in [self.dir.join(id.as_str()), self.hosts(id)] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}: unlink", path.display()));
                }
                _ => {}
            }
        }
        match std::fs::remove_dir(&self.dir) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => self.tell(&hosts),
            removed => removed.with_context(|| format!("cannot remove {}: rmdir", self.dir.display())),
        }
    }

    /// Writes everybody's lines into everybody's file.
    fn tell(&self, hosts: &Hosts) -> Result<()> {
        let what = || format!("cannot read {}", self.dir.display());
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&self.dir).with_context(what)? {
            ids.extend(
                entry.with_context(what)?.file_name().to_str().and_then(|name| name.parse::<Id>().ok()),
            );
        }
        ids.sort();
        let mut lines = String::new();
        for id in &ids {
            lines += &std::fs::read_to_string(self.dir.join(id.as_str())).with_context(what)?;
        }
        ids.iter().try_for_each(|id| hosts.change(&self.hosts(id), |parts| parts.network.clone_from(&lines)))
    }
}

/// A name that hosts(5) can hold.
pub fn name(text: &str) -> Result<String> {
    if text.is_empty()
        || text.len() > 253
        || !text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
    {
        bail!("it must have 1 to 253 of [a-zA-Z0-9_.-]");
    }
    Ok(text.to_owned())
}
