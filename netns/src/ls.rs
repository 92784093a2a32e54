//! `netns ls`.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use stage::Id;

use crate::link::{self, Link};
use crate::publish::Mapping;
use crate::record::Record;
use crate::rtnl::Rtnl;
use crate::{pin, record, veth};

/// What there is for one container. What is missing of it is absent.
#[derive(Serialize)]
pub struct Entry {
    id: Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Ipv4Addr>,
    #[serde(rename = "portMappings", skip_serializing_if = "Vec::is_empty")]
    port_mappings: Vec<Mapping>,
}

/// One entry for each container that has a record.
pub fn entries(records: &Path) -> Result<Vec<Entry>> {
    let ids = record::ids(records)?;
    // What the kernel does not tell is left out: a listing does not fail.
    let links = if ids.is_empty() { HashMap::new() } else { links().unwrap_or_default() };
    Ok(ids.into_iter().map(|id| entry(id, records, &links)).collect())
}

fn links() -> Result<HashMap<String, Link>> {
    let [links] = Rtnl::open()?.all([link::list()])?;
    Ok(Link::all(&links).map(|link| (link.name.clone(), link)).collect())
}

fn entry(id: Id, records: &Path, links: &HashMap<String, Link>) -> Entry {
    let link = links.get(&veth::name(&id));
    let Record { network, ip, port_mappings, .. } = record::read(records, &id).unwrap_or_default();
    Entry {
        netns: pin::is_there(&id).then(|| pin::path(&id)),
        interface: link.map(|link| link.name.clone()),
        address: link.and_then(Link::lease).or(ip),
        network,
        port_mappings,
        id,
    }
}
