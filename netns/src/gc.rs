//! `netns gc`: what no container needs any more.
//!
//! Which containers live is not known here; a namespace that is pinned is needed.

use std::path::Path;

use anyhow::Result;

use crate::bridge;
use crate::departure::Departure;
use crate::link::{self, Link};
use crate::lock::Lock;
use crate::nft::{Firewall, State};
use crate::rtnl::Rtnl;
use crate::{pin, ports, record, veth};

/// Removes the remains of set-ups that were killed, and, when the bridge has no port, the bridge and our table.
pub fn run(records: &Path) -> Result<()> {
    // Alone: no set-up is half done.
    let _alone = Lock::alone()?;
    for id in record::ids(records)? {
        if !pin::is_there(&id) {
            record::undo(records, &id)?;
        }
    }
    let (rtnl, firewall) = (Rtnl::open()?, Firewall::open()?);
    if has_ports(&rtnl)? {
        return ports::sweep(&firewall);
    }
    if bridge::look(&rtnl)?.is_some() {
        bridge::remove(&rtnl)?;
    }
    match firewall.look(bridge::NAME)? {
        State::Missing => Ok(()),
        State::AsItShouldBe | State::Other => firewall.remove(),
    }
}

/// Whether the bridge has ports that will stay.
fn has_ports(rtnl: &Rtnl) -> Result<bool> {
    let departure = Departure::default();
    loop {
        departure.listen()?;
        let [links] = rtnl.all([link::list()])?;
        let links: Vec<Link> = Link::all(&links).collect();
        let Some(bridge) = links.iter().find(|link| link.name == bridge::NAME) else { return Ok(false) };
        let mut ports = links.iter().filter(|link| link.master == Some(bridge.index)).peekable();
        if ports.peek().is_none() {
            return Ok(false);
        }
        if !(ports.all(veth::is_leaving) && departure.wait()?) {
            return Ok(true);
        }
    }
}
