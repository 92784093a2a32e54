//! What the containers of a host share: the bridge, our table, forwarding. Whoever finds it missing makes it.

use std::path::Path;
use std::rc::Rc;

use anyhow::Result;
use stage::{Undo, say};

use crate::bridge::{self, Bridge};
use crate::lock::Lock;
use crate::nft::{self, Firewall, Port, State};
use crate::ports::Taken;
use crate::rtnl::Rtnl;
use crate::subnet::Subnet;
use crate::{conflict, forwarding, rebuild};

/// The subnet where nobody sets one: the original's.
const SUBNET: &str = "172.29.0.0/16";

/// The host as a set-up found it. While this lives, nobody removes what is there.
pub struct Ground {
    pub home: Lock,
    pub rtnl: Rc<Rtnl>,
    pub firewall: Rc<Firewall>,
    found: Found,
}

#[derive(Clone)]
struct Found {
    bridge: Option<Bridge>,
    table: State,
    forwarding: bool,
}

impl Found {
    fn look(rtnl: &Rtnl, firewall: &Firewall) -> Result<Found> {
        Ok(Found {
            bridge: bridge::look(rtnl)?,
            table: firewall.look(bridge::NAME)?,
            forwarding: forwarding::is_on()?,
        })
    }

    fn is_complete(&self) -> bool {
        self.forwarding
            && self.table == State::AsItShouldBe
            && self.bridge.as_ref().is_some_and(|bridge| bridge.up && bridge.subnet.is_some())
    }
}

impl Ground {
    /// Looks. If something is missing, the caller is alone from now on, and must [`complete`](Ground::complete)
    /// the ground.
    pub fn enter() -> Result<Ground> {
        let (rtnl, firewall) = sockets()?;
        loop {
            let home = Lock::together()?;
            let found = Found::look(&rtnl, &firewall)?;
            if found.is_complete() {
                return Ok(Ground { home, rtnl, firewall, found });
            }
            drop(home);
            let home = Lock::alone()?;
            let found = Found::look(&rtnl, &firewall)?;
            if !found.is_complete() {
                return Ok(Ground { home, rtnl, firewall, found });
            }
            // Another one was quicker: with it, not alone.
        }
    }

    /// Looks, alone from the beginning: for one who looks for what is free, and takes it.
    pub fn enter_alone() -> Result<Ground> {
        let (rtnl, firewall) = sockets()?;
        let home = Lock::alone()?;
        let found = Found::look(&rtnl, &firewall)?;
        Ok(Ground { home, rtnl, firewall, found })
    }

    /// Makes what is missing. `undo` takes back what is made here and was not there in any form.
    pub fn complete(
        &self,
        wanted: Option<Subnet>,
        records: &Path,
        undo: &mut Undo,
    ) -> Result<(Bridge, Subnet)> {
        if let Some(bridge) = &self.found.bridge {
            bridge::accept(bridge, wanted)?;
            if let (true, Some(subnet)) = (self.found.is_complete(), bridge.subnet) {
                return Ok((bridge.clone(), subnet));
            }
        }
        let had = self.found.bridge.clone();
        let subnet = match had.as_ref().and_then(|bridge| bridge.subnet) {
            Some(subnet) => subnet,
            None => self.choose(wanted)?,
        };
        let is_new = had.is_none();
        let bridge = bridge::make(&self.rtnl, had, subnet, undo)?;
        if !self.found.forwarding {
            forwarding::turn_on(undo)?;
        }
        if is_new || self.found.table != State::AsItShouldBe {
            self.install(subnet, records, undo)?;
        }
        Ok((bridge, subnet))
    }

    fn choose(&self, wanted: Option<Subnet>) -> Result<Subnet> {
        let subnet = wanted.map_or_else(|| SUBNET.parse(), Ok)?;
        match conflict::find(&self.rtnl, subnet)? {
            None => Ok(subnet),
            Some(with) => conflict::refuse(subnet, &with),
        }
    }

    fn install(&self, subnet: Subnet, records: &Path, undo: &mut Undo) -> Result<()> {
        if self.found.table == State::Missing {
            let firewall = Rc::clone(&self.firewall);
            undo.push(move || firewall.remove());
        }
        let network = nft::Network { bridge: bridge::NAME.to_owned(), hidden: vec![subnet.net().into()] };
        self.firewall.install(&[network], &self.ports(records)?)?;
        if self.firewall.host_drops_forwarded()? {
            say(
                "netns: iptables drops what the host forwards (docker sets it so): containers do not reach the outside",
            );
            say("  hint: iptables -I FORWARD -i gocker0 -j ACCEPT; iptables -I FORWARD -o gocker0 -j ACCEPT");
        }
        Ok(())
    }

    /// The ports that must not be lost with the table that is there: those it has, and those it should have.
    fn ports(&self, records: &Path) -> Result<Vec<Port>> {
        let mut ports = rebuild::ports(&self.rtnl, records)?;
        let is_new = |port: &Port| !ports.iter().any(|known| known.mapping.excludes(&port.mapping));
        let others: Vec<Port> = Taken::look(&self.firewall)?.live.into_iter().filter(is_new).collect();
        ports.extend(others);
        Ok(ports)
    }
}

fn sockets() -> Result<(Rc<Rtnl>, Rc<Firewall>)> {
    Ok((Rc::new(Rtnl::open()?), Rc::new(Firewall::open()?)))
}
