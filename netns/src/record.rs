//! A file per container, named after its id: what `ls`, `gc` and `repair` go by.
//!
//! The pin's name has only the first digits of the id, and a set-up that was killed early has left no more than
//! that. The record is there before anything else and goes last. It holds what the kernel does not know, or forgets
//! when somebody flushes its rules.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use stage::{Durability, Explain, Id, Undo, attempt_all, make_private_dir, replace_file};

use crate::foreign::Chain;
use crate::members::Members;
use crate::nft::Firewall;
use crate::publish::Mapping;
use crate::rtnl::Rtnl;
use crate::{pin, ports, veth};

/// What is remembered of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The network's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The namespace, where it is another's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<PathBuf>,
    /// The address, where no interface of the host's holds its lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ipv4Addr>,
    /// The address of IPv6, where it does not follow from that of IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip6: Option<Ipv6Addr>,
    /// What the others on the network call it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub port_mappings: Vec<Mapping>,
    /// Others' plugins that connected it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Chain>,
}

/// Makes the container's record in the directory of records.
///
/// # Errors
/// There is one already.
pub fn make(records: &Path, id: &Id, record: &Record, undo: &mut Undo) -> Result<()> {
    let path = records.join(id.as_str());
    let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let created = match create() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_private_dir(records)?;
            create()
        }
        other => other,
    };
    let mut file = created
        .with_context(|| format!("cannot make {}: open", path.display()))
        .hint(format!("netns undo {id}"))?;
    let what = format!("cannot write {}: write", path.display());
    undo.push(move || remove(&path));
    file.write_all(&serde_json::to_vec(record)?).context(what)
}

/// The container's record. `None`: there is none, or its writer was killed before it was written.
pub fn read(records: &Path, id: &Id) -> Option<Record> {
    serde_json::from_slice(&std::fs::read(records.join(id.as_str())).ok()?).ok()
}

/// Puts another record in the place of the container's.
pub fn replace(records: &Path, id: &Id, record: &Record) -> Result<()> {
    replace_file(&records.join(id.as_str()), &serde_json::to_vec(record)?, Durability::UntilReboot)
}

/// The ids that have a record, in order.
pub fn ids(records: &Path) -> Result<Vec<Id>> {
    let listing = match std::fs::read_dir(records) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.with_context(|| format!("cannot list {}", records.display()))?,
    };
    let mut ids: Vec<Id> =
        listing.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    ids.sort();
    Ok(ids)
}

/// Takes back all that was made for the container. Nothing of it need be there.
pub fn undo(records: &Path, id: &Id) -> Result<()> {
    let record = read(records, id);
    let may = |has: fn(&Record) -> bool| record.as_ref().is_none_or(has);
    attempt_all([
        Box::new(|| match may(|record| !record.port_mappings.is_empty()) {
            true => ports::unpublish(&Firewall::open()?, id.short()),
            false => Ok(()),
        }),
        // A namespace of another's lives on, and so would the interface.
        Box::new(|| match record.as_ref().is_some_and(|record| record.netns.is_some()) {
            true => veth::remove(&Rtnl::open()?, id),
            false => Ok(()),
        }),
        Box::new(|| {
            match record.as_ref().and_then(|record| Members::of(records, record.network.as_ref()?)) {
                Some(members) => members.leave(id),
                None => Ok(()),
            }
        }),
        Box::new(|| pin::remove(id)),
        Box::new(|| remove(&records.join(id.as_str()))),
    ])
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}: unlink", path.display()))
        }
        _ => Ok(()),
    }
}
