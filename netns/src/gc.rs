//! `netns gc`: what no container needs any more.
//!
//! Which containers live is not known here; a namespace that is pinned is needed.

use anyhow::Result;

use crate::departure::Departure;
use crate::dirs::Dirs;
use crate::link::{self, Link};
use crate::lock::Lock;
use crate::nft::Firewall;
use crate::rtnl::Rtnl;
use crate::{bridge, foreign, pin, ports, rebuild, record, veth};

/// Removes the remains of set-ups that were killed, then the bridges without a port, and with the last of them our
/// table.
pub fn run(dirs: &Dirs) -> Result<()> {
    detach(dirs)?;
    // Alone: no set-up is half done.
    let _alone = Lock::alone()?;
    for id in record::ids(&dirs.records)? {
        if !pin::is_there(&id) {
            record::undo(&dirs.records, &id)?;
        }
    }
    let (rtnl, firewall) = (Rtnl::open()?, Firewall::open()?);
    let mut stay = 0;
    let mut removed = 0;
    for network in dirs.networks.all()? {
        if bridge::look(&rtnl, &network.bridge)?.is_none() {
            continue;
        }
        if has_ports(&rtnl, &network.bridge)? {
            stay += 1;
        } else {
            bridge::remove(&rtnl, &network.bridge)?;
            removed += 1;
        }
    }
    match (stay, removed) {
        (0, _) => firewall.remove_if_there(),
        (_, 0) => ports::sweep(&firewall),
        _ => rebuild::table(&rtnl, &firewall, dirs),
    }
}

/// Has others' plugins take back what they did for containers that are gone. They run while we hold no lock; that no set-up
/// is half done is looked at before.
fn detach(dirs: &Dirs) -> Result<()> {
    let alone = Lock::alone()?;
    let mut gone = record::ids(&dirs.records)?;
    gone.retain(|id| !pin::is_there(id));
    drop(alone);
    gone.iter().try_for_each(|id| foreign::detach(&dirs.records, id))
}

/// Whether the bridge has ports that will stay.
pub fn has_ports(rtnl: &Rtnl, bridge: &str) -> Result<bool> {
    let departure = Departure::default();
    loop {
        departure.listen()?;
        let [links] = rtnl.all([link::list()])?;
        let links: Vec<Link> = Link::all(&links).collect();
        let Some(bridge) = links.iter().find(|link| link.name == bridge) else { return Ok(false) };
        let mut ports = links.iter().filter(|link| link.master == Some(bridge.index)).peekable();
        if ports.peek().is_none() {
            return Ok(false);
        }
        if !(ports.all(veth::is_leaving) && departure.wait()?) {
            return Ok(true);
        }
    }
}
