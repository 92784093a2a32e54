//! What the containers of a host share: bridges, our table, forwarding. Whoever finds it missing makes it.

use std::rc::Rc;

use anyhow::{Result, anyhow};
use stage::{Explain, Undo};

use crate::bridge::{self, Bridge, Existing};
use crate::dirs::Dirs;
use crate::inside::Reach;
use crate::lock::Lock;
use crate::network::Definition;
use crate::nft::{Dropped, Firewall, State};
use crate::rtnl::Rtnl;
use crate::subnet::Subnet;
use crate::{conflict, forwarding, rebuild};

/// The default network's subnet where nobody sets one: the original's.
const SUBNET: &str = "172.29.0.0/16";

/// The host as a set-up found it. While this lives, nobody removes what is there.
pub struct Ground {
    pub home: Lock,
    pub rtnl: Rc<Rtnl>,
    pub firewall: Rc<Firewall>,
    pub network: Definition,
    found: Found,
}

/// What a container is connected to.
pub struct Lan {
    pub bridge: Bridge,
    pub reach: Reach,
}

#[derive(Clone)]
struct Found {
    bridge: Option<Bridge>,
    table: State,
    forwarding: bool,
    forwarding6: bool,
}

impl Found {
    fn look(rtnl: &Rtnl, firewall: &Firewall, network: &Definition) -> Result<Found> {
        Ok(Found {
            bridge: bridge::look(rtnl, &network.bridge)?,
            table: firewall.look(&network.bridge)?,
            forwarding: forwarding::is_on()?,
            forwarding6: !network.ipv6 || forwarding::is_on6()?,
        })
    }

    fn is_complete(&self, network: &Definition) -> bool {
        let has_addresses =
            |bridge: &Bridge| bridge.subnet.is_some() && (!network.ipv6 || bridge.subnet6.is_some());
        self.forwarding
            && self.forwarding6
            && self.table == State::AsItShouldBe
            && self.bridge.as_ref().is_some_and(|bridge| bridge.up && has_addresses(bridge))
    }
}

impl Ground {
    /// Looks. If something is missing, the caller is alone from now on, and must [`complete`](Ground::complete)
    /// the ground.
    pub fn enter(network: Definition) -> Result<Ground> {
        let (rtnl, firewall) = sockets()?;
        loop {
            let home = Lock::together()?;
            let found = Found::look(&rtnl, &firewall, &network)?;
            if found.is_complete(&network) {
                return Ok(Ground { home, rtnl, firewall, network, found });
            }
            drop(home);
            let home = Lock::alone()?;
            let found = Found::look(&rtnl, &firewall, &network)?;
            if !found.is_complete(&network) {
                return Ok(Ground { home, rtnl, firewall, network, found });
            }
            // Another one was quicker: with it, not alone.
        }
    }

    /// Looks, alone from the beginning: for one who looks for what is free, and takes it.
    pub fn enter_alone(network: Definition) -> Result<Ground> {
        let (rtnl, firewall) = sockets()?;
        let home = Lock::alone()?;
        let found = Found::look(&rtnl, &firewall, &network)?;
        Ok(Ground { home, rtnl, firewall, network, found })
    }

    /// Whether somebody else's rules let the containers' packets pass, as far as that can be seen. Looked at by whoever
    /// finds something missing.
    ///
    /// # Errors
    /// They are dropped.
    pub fn check_others(&self) -> Result<()> {
        let Definition { bridge, ipv6, internal, .. } = &self.network;
        if *internal || self.found.is_complete(&self.network) {
            return Ok(());
        }
        match self.firewall.dropped_by_others(bridge, *ipv6)? {
            Some(Dropped { chain, remedy }) => Err(anyhow!(
                "cannot connect bridge {bridge} to the outside: chain {chain} drops what is forwarded \
                 (--no-firewall-check goes on all the same)"
            ))
            .hint(remedy),
            None => Ok(()),
        }
    }

    /// Makes what is missing. `undo` takes back what is made here and was not there in any form.
    pub fn complete(&self, dirs: &Dirs, undo: &mut Undo) -> Result<Lan> {
        if let Some(bridge) = &self.found.bridge {
            bridge::accept(bridge, &self.network)?;
            if let (true, Some(subnet)) = (self.found.is_complete(&self.network), bridge.subnet) {
                return Ok(self.lan(bridge.clone(), subnet));
            }
        }
        let had = self.found.bridge.clone();
        let subnet = match had.as_ref().and_then(|bridge| bridge.subnet) {
            Some(subnet) => subnet,
            None => self.choose()?,
        };
        let is_new = had.is_none();
        let had = had.map_or_else(|| Existing::NotYet(self.network.bridge.clone()), Existing::Bridge);
        let mut bridge = bridge::make(&self.rtnl, had, subnet, undo)?;
        let had6 = bridge.subnet6.is_some();
        if self.network.ipv6 {
            bridge::make6(&self.rtnl, &mut bridge, self.network.subnet6)?;
        }
        if !self.found.forwarding {
            forwarding::turn_on(undo)?;
        }
        if !self.found.forwarding6 {
            forwarding::turn_on6(undo)?;
        }
        let is_new = is_new || had6 != bridge.subnet6.is_some();
        if is_new || self.found.table != State::AsItShouldBe {
            self.install(dirs, undo)?;
        }
        Ok(self.lan(bridge, subnet))
    }

    fn lan(&self, bridge: Bridge, subnet: Subnet) -> Lan {
        let reach = Reach { subnet, subnet6: bridge.subnet6, leads_out: !self.network.internal };
        Lan { bridge, reach }
    }

    fn choose(&self) -> Result<Subnet> {
        let subnet = self.network.subnet.map_or_else(|| SUBNET.parse(), Ok)?;
        match conflict::find(&self.rtnl, subnet)? {
            None => Ok(subnet),
            Some(with) => conflict::refuse(subnet, &with),
        }
    }

    fn install(&self, dirs: &Dirs, undo: &mut Undo) -> Result<()> {
        if self.found.table == State::Missing {
            let firewall = Rc::clone(&self.firewall);
            undo.push(move || firewall.remove());
        }
        rebuild::table(&self.rtnl, &self.firewall, dirs)?;
        Ok(())
    }
}

fn sockets() -> Result<(Rc<Rtnl>, Rc<Firewall>)> {
    Ok((Rc::new(Rtnl::open()?), Rc::new(Firewall::open()?)))
}
