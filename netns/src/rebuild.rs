//! What our table ought to hold, from the records and from the interfaces there are: for whoever must make it anew.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use anyhow::Result;

use crate::link::{self, Link};
use crate::nft::Port;
use crate::rtnl::Rtnl;
use crate::{ports, record, veth};

/// The ports of all containers that have a record and an address.
pub fn ports(rtnl: &Rtnl, records: &Path) -> Result<Vec<Port>> {
    let publishers: Vec<_> = record::ids(records)?
        .into_iter()
        .filter_map(|id| Some((record::read(records, &id)?.port_mappings, id)))
        .filter(|(mappings, _)| !mappings.is_empty())
        .collect();
    if publishers.is_empty() {
        return Ok(Vec::new());
    }
    let [links] = rtnl.all([link::list()])?;
    let leases: HashMap<String, IpAddr> =
        Link::all(&links).filter_map(|link| Some((link.name.clone(), link.lease()?.into()))).collect();
    Ok(publishers
        .iter()
        .filter_map(|(mappings, id)| Some((mappings, id, *leases.get(&veth::name(id))?)))
        .flat_map(|(mappings, id, address)| ports::lead(mappings, id.short(), &[address]))
        .collect())
}
