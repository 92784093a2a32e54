//! The set-up of one container's network, and its way back.

use std::path::Path;

use anyhow::Result;
use stage::{Id, Undo, say, undoable};

use crate::cli::{Network as Kind, Setup};
use crate::dns::Resolv;
use crate::ground::Ground;
use crate::lock::Lock;
use crate::rtnl::Rtnl;
use crate::section::Network;
use crate::{forwarding, inside, pin, record, veth};

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
            let ground = Ground::enter()?;
            undoable(|undo| publish(&bridged(id, wanted, records, &ground, undo)?))
        }
    }
}

fn alone(id: &Id, wanted: &Setup, records: &Path, home: &Lock, undo: &mut Undo) -> Result<Network> {
    let dns = resolver(wanted)?;
    record::make(records, id, undo)?;
    let (_, inner) = pin::make(id, home, undo, within)?;
    inside::loopback(&inner, id)?;
    Ok(Network::bare(Some(pin::path(id)), dns))
}

fn bridged(id: &Id, wanted: &Setup, records: &Path, ground: &Ground, undo: &mut Undo) -> Result<Network> {
    let dns = resolver(wanted)?;
    let (bridge, subnet) = ground.complete(wanted.subnet, undo)?;
    if let Some(address) = wanted.ip {
        subnet.admits(address)?;
    }
    record::make(records, id, undo)?;
    let plan = veth::Plan { id, bridge: bridge.index, subnet, address: wanted.ip };
    let (namespace, inner) = pin::make(id, &ground.home, undo, within)?;
    let pair = veth::make(&ground.rtnl, &plan, &namespace)?;
    inside::connect(&inner, id, &pair, subnet)?;
    Ok(Network::bridged(pin::path(id), &pair, &bridge, subnet, dns))
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
