//! What our table ought to hold, from the definitions, the records and the interfaces there are: for whoever must
//! make it anew. The caller is alone.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;

use crate::dirs::Dirs;
use crate::link::{self, Link};
use crate::network::{self, Definition};
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
    let others: Vec<Port> = Taken::look(firewall)?.live().filter(is_new).collect();
    ports.extend(others);
    firewall.install(&networks, &ports)
}

/// The networks that have a bridge with an address.
fn networks(rtnl: &Rtnl, dirs: &Dirs) -> Result<Vec<nft::Network>> {
    let mut networks = Vec::new();
    for Definition { bridge, internal, .. } in dirs.networks.all()? {
        let Some(found) = bridge::look(rtnl, &bridge)? else { continue };
        let Some(subnet) = found.subnet else { continue };
        let private6 = found.subnet6.filter(|subnet6| subnet6.is_private());
        let subnets = [Some(subnet.net().into()), private6.map(|subnet6| subnet6.net().into())];
        let hidden = if internal { Vec::new() } else { subnets.into_iter().flatten().collect() };
        networks.push(nft::Network { bridge, hidden, internal });
    }
    Ok(networks)
}

/// The ports of all containers that have a record and an address.
pub fn published(rtnl: &Rtnl, dirs: &Dirs) -> Result<Vec<Port>> {
    let publishers: Vec<_> = record::ids(&dirs.records)?
        .into_iter()
        .filter_map(|id| Some((record::read(&dirs.records, &id)?, id)))
        .filter(|(record, _)| !record.port_mappings.is_empty())
        .collect();
    if publishers.is_empty() {
        return Ok(Vec::new());
    }
    let [links] = rtnl.all([link::list()])?;
    let leases: HashMap<String, Ipv4Addr> =
        Link::all(&links).filter_map(|link| Some((link.name.clone(), link.lease()?))).collect();
    let mut published = Vec::new();
    for (record, id) in publishers {
        let Some(address) = leases.get(&veth::name(&id)) else { continue };
        let network = dirs.networks.find(record.network.as_deref().unwrap_or(network::DEFAULT))?;
        let subnet6 = bridge::look(rtnl, &network.bridge)?.and_then(|bridge| bridge.subnet6);
        let address6 = record.ip6.or_else(|| Some(subnet6?.address_of(*address)));
        let addresses = [Some(IpAddr::from(*address)), address6.map(IpAddr::from)];
        let addresses: Vec<IpAddr> = addresses.into_iter().flatten().collect();
        published.extend(ports::lead(&record.port_mappings, id.short(), &addresses));
    }
    Ok(published)
}
