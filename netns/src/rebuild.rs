//! What our table ought to hold, from the definitions, the records and the interfaces there are: for whoever must
//! make it anew. The caller is alone.

use std::collections::HashMap;
use std::net::IpAddr;

use anyhow::Result;

use crate::dirs::Dirs;
use crate::link::{self, Link};
use crate::network::Definition;
use crate::nft::{self, Firewall, Port};
use crate::ports::Taken;
use crate::rtnl::Rtnl;
use crate::{bridge, ports, record, veth};

/// Puts the whole table in the place of what is there of it, or removes it if no network has a bridge.
pub fn table(rtnl: &Rtnl, firewall: &Firewall, dirs: &Dirs) -> Result<()> {
    let networks = networks(rtnl, dirs)?;
    if networks.is_empty() {
        return firewall.remove();
    }
    // Those that it has and those that it should have: records of other run roots are not known here.
    let mut ports = published(rtnl, dirs)?;
    let is_new = |port: &Port| !ports.iter().any(|known| known.mapping.excludes(&port.mapping));
    let others: Vec<Port> = Taken::look(firewall)?.live.into_iter().filter(is_new).collect();
    ports.extend(others);
    firewall.install(&networks, &ports)
}

/// The networks that have a bridge with an address.
fn networks(rtnl: &Rtnl, dirs: &Dirs) -> Result<Vec<nft::Network>> {
    let mut networks = Vec::new();
    for Definition { bridge, internal, .. } in dirs.networks.all()? {
        let Some(subnet) = bridge::look(rtnl, &bridge)?.and_then(|bridge| bridge.subnet) else { continue };
        let hidden = if internal { Vec::new() } else { vec![subnet.net().into()] };
        networks.push(nft::Network { bridge, hidden, internal });
    }
    Ok(networks)
}

/// The ports of all containers that have a record and an address.
pub fn published(rtnl: &Rtnl, dirs: &Dirs) -> Result<Vec<Port>> {
    let publishers: Vec<_> = record::ids(&dirs.records)?
        .into_iter()
        .filter_map(|id| Some((record::read(&dirs.records, &id)?.port_mappings, id)))
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
