//! The set-up of one container's network, and its way back.

use std::path::Path;

use anyhow::Result;
use stage::{Id, Undo, say, undoable};

use crate::cli::{Network as Kind, Setup};
use crate::dns::Resolv;
use crate::ground::Ground;
use crate::lock::Lock;
use crate::ports::{self, Families, Taken};
use crate::publish::Mapping;
use crate::record::Record;
use crate::rtnl::Rtnl;
use crate::section::Network;
use crate::{bridge, forwarding, inside, pin, record, veth};

/// Sets up, then hands the section to `publish`. If anything fails, that included, all is taken back.
pub fn run(
    id: &Id,
    wanted: &Setup,
    records: &Path,
    publish: impl FnOnce(&Network) -> Result<()>,
) -> Result<()> {
    match wanted.network {
        Kind::Host => publish(&Network::bare(None, resolver(wanted)?)),
        Kind::None => {
            let home = Lock::together()?;
            undoable(|undo| publish(&alone(id, wanted, records, &home, undo)?))
        }
        Kind::Bridge => {
            // Outside of what is undone: nobody may use what was made here before it is certain to stay.
            let ground = if wanted.publish.is_empty() { Ground::enter()? } else { Ground::enter_alone()? };
            undoable(|undo| publish(&bridged(id, wanted, records, &ground, undo)?))
        }
    }
}

fn alone(id: &Id, wanted: &Setup, records: &Path, home: &Lock, undo: &mut Undo) -> Result<Network> {
    let dns = resolver(wanted)?;
    record::make(records, id, &Record::default(), undo)?;
    let (_, inner) = pin::make(id, home, undo, within)?;
    inside::loopback(&inner, id)?;
    Ok(Network::bare(Some(pin::path(id)), dns))
}

fn bridged(id: &Id, wanted: &Setup, records: &Path, ground: &Ground, undo: &mut Undo) -> Result<Network> {
    let dns = resolver(wanted)?;
    let (bridge, subnet) = ground.complete(wanted.subnet, records, undo)?;
    if let Some(address) = wanted.ip {
        subnet.admits(address)?;
    }
    let (port_mappings, taken) = choose_ports(wanted, ground)?;
    record::make(records, id, &Record { port_mappings: port_mappings.clone() }, undo)?;
    let plan = veth::Plan { id, bridge: bridge.index, subnet, address: wanted.ip };
    let (namespace, inner) = pin::make(id, &ground.home, undo, within)?;
    let pair = veth::make(&ground.rtnl, &plan, &namespace)?;
    inside::connect(&inner, id, &pair, subnet)?;
    if !port_mappings.is_empty() {
        forwarding::admit_loopback(bridge::NAME)?;
        veth::hairpin(&ground.rtnl, &pair)?;
        let leading = ports::lead(&port_mappings, id.short(), &[pair.address.into()]);
        ports::publish(&ground.firewall, id, &taken, leading, undo)?;
    }
    Ok(Network::bridged(pin::path(id), &pair, &bridge, subnet, dns).publishing(port_mappings))
}

/// The ports that will be published, and those that others have.
fn choose_ports(wanted: &Setup, ground: &Ground) -> Result<(Vec<Mapping>, Taken)> {
    if wanted.publish.is_empty() {
        return Ok((Vec::new(), Taken::default()));
    }
    let taken = Taken::look(&ground.firewall)?;
    let chosen = taken.choose(&wanted.publish, Families { v6: false })?;
    Ok((chosen, taken))
}

/// What can only be done by a thread that is in the namespace. The socket stays there when the thread leaves.
fn within() -> Result<Rtnl> {
    forwarding::relax()?;
    Rtnl::open()
}

fn resolver(wanted: &Setup) -> Result<Resolv> {
    let overridden = |resolv: Resolv| resolv.overridden(&wanted.dns, &wanted.dns_search, &wanted.dns_option);
    if wanted.network == Kind::Host {
        return Ok(overridden(Resolv::of_host()?));
    }
    let (resolv, is_public) = overridden(Resolv::upstream()?.for_container()).or_public();
    if is_public && wanted.network == Kind::Bridge {
        say("netns: the host has no name server that a container can reach: using 8.8.8.8 and 8.8.4.4");
    }
    Ok(resolv)
}
