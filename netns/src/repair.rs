//! `netns check` and `netns repair`: whether rules, forwarding and bridges are as the containers need them, though
//! somebody flushed or changed them.

use anyhow::Result;
use serde::Serialize;
use stage::{Id, undoable};

use crate::bridge::{self, Existing};
use crate::dirs::Dirs;
use crate::link::{self, Link};
use crate::lock::Lock;
use crate::network::Definition;
use crate::nft::{Firewall, State};
use crate::rtnl::Rtnl;
use crate::{forwarding, pin, rebuild, record, veth};

/// One thing that is not as it should be.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whose it is; absent: everybody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Id>,
    pub what: String,
}

impl Finding {
    /// Whether it is this container's, or everybody's.
    pub fn concerns(&self, id: &Id) -> bool {
        self.id.as_ref().is_none_or(|its| its == id)
    }
}

/// What there is of the host's part, and what of it is not as it should be.
struct Look {
    rtnl: std::rc::Rc<Rtnl>,
    firewall: Firewall,
    /// Networks whose bridge is there.
    networks: Vec<(Definition, bridge::Bridge)>,
}

impl Look {
    fn now(dirs: &Dirs) -> Result<Look> {
        let rtnl = std::rc::Rc::new(Rtnl::open()?);
        let mut networks = Vec::new();
        for network in dirs.networks.all()? {
            if let Some(bridge) = bridge::look(&rtnl, &network.bridge)? {
                networks.push((network, bridge));
            }
        }
        Ok(Look { rtnl, firewall: Firewall::open()?, networks })
    }

    fn has_ipv6(&self) -> bool {
        self.networks.iter().any(|(_, bridge)| bridge.subnet6.is_some())
    }

    /// What is wrong with one bridge.
    fn faults_of(&self, network: &Definition, bridge: &bridge::Bridge) -> Result<Vec<String>> {
        let name = &bridge.name;
        let mut faults = Vec::new();
        if !bridge.up {
            faults.push(format!("bridge {name} is down"));
        } else if let (Some(subnet6), None) = (network.subnet6, bridge.subnet6) {
            faults.push(format!("bridge {name} has lost its address of {subnet6}"));
        }
        let dropped = || self.firewall.dropped_by_others(name, bridge.subnet6.is_some());
        if let (false, Some(dropped)) = (network.internal, dropped()?) {
            faults.push(format!(
                "chain {} drops what bridge {name} forwards: {}",
                dropped.chain, dropped.remedy
            ));
        }
        Ok(faults)
    }

    /// Whether the table has what it must have, for every bridge and every port.
    fn table_is_complete(&self, dirs: &Dirs) -> Result<bool> {
        for (_, bridge) in &self.networks {
            if self.firewall.look(&bridge.name)? != State::AsItShouldBe {
                return Ok(false);
            }
        }
        let there = self.firewall.ports()?;
        Ok(rebuild::published(&self.rtnl, dirs)?.iter().all(|port| there.contains(port)))
    }
}

/// What is not as it should be.
pub fn check(dirs: &Dirs) -> Result<Vec<Finding>> {
    let _together = Lock::together()?;
    let look = Look::now(dirs)?;
    let mut findings = Vec::new();
    let mut find = |id: Option<&Id>, what: String| findings.push(Finding { id: id.cloned(), what });
    if !look.networks.is_empty() {
        if !forwarding::is_on()? {
            find(None, "net.ipv4.ip_forward is off".to_owned());
        }
        if look.has_ipv6() && !forwarding::is_on6()? {
            find(None, "net.ipv6.conf.all.forwarding is off".to_owned());
        }
        if !look.table_is_complete(dirs)? {
            find(None, "table inet gocker is not as it should be".to_owned());
        }
    }
    for (network, bridge) in &look.networks {
        for what in look.faults_of(network, bridge)? {
            find(None, what);
        }
    }
    let [links] = look.rtnl.all([link::list()])?;
    let links: Vec<Link> = Link::all(&links).collect();
    for id in record::ids(&dirs.records)? {
        for what in faults_of(&id, dirs, &links) {
            find(Some(&id), what);
        }
    }
    Ok(findings)
}

/// What is wrong with one container.
fn faults_of(id: &Id, dirs: &Dirs, links: &[Link]) -> Vec<String> {
    if !pin::is_there(id) {
        return vec![format!("{} is no namespace", pin::path(id).display())];
    }
    // An interface of a bridge's, that is: a macvlan has no other end here.
    let record = record::read(&dirs.records, id).filter(|record| record.ip.is_none());
    let Some(network) = record.and_then(|record| record.network) else {
        return Vec::new();
    };
    let name = veth::name(id);
    let Some(link) = links.iter().find(|link| link.name == name) else {
        return vec![format!("link {name} is missing")];
    };
    let bridge = dirs.networks.find(&network).ok().map(|network| network.bridge);
    let index = bridge.as_ref().and_then(|bridge| links.iter().find(|link| link.name == *bridge));
    let mut faults = Vec::new();
    if !link.up {
        faults.push(format!("link {name} is down"));
    }
    if link.master != index.map(|bridge| bridge.index) || link.master.is_none() {
        faults.push(format!("link {name} is no port of {}", bridge.unwrap_or(network)));
    } else if !link.locked {
        faults.push(format!("link {name} takes what is sent from any hardware address"));
    }
    if link.lease().is_none() {
        faults.push(format!("link {name} has lost the lease of its address"));
    }
    faults
}

/// Puts right what is everybody's: forwarding, the bridges, our table, and who may be answered on the loopback.
pub fn run(dirs: &Dirs) -> Result<()> {
    let _alone = Lock::alone()?;
    let look = Look::now(dirs)?;
    if look.networks.is_empty() {
        return Ok(());
    }
    undoable(|undo| {
        if !forwarding::is_on()? {
            forwarding::turn_on(undo)?;
        }
        if look.has_ipv6() && !forwarding::is_on6()? {
            forwarding::turn_on6(undo)?;
        }
        for (network, bridge) in &look.networks {
            let mut bridge = bridge.clone();
            if let (Some(subnet), false) = (bridge.subnet, bridge.up) {
                bridge = bridge::make(&look.rtnl, Existing::Bridge(bridge), subnet, undo)?;
            }
            if network.subnet6.is_some() {
                bridge::make6(&look.rtnl, &mut bridge, network.subnet6)?;
            }
        }
        if !look.table_is_complete(dirs)? {
            rebuild::table(&look.rtnl, &look.firewall, dirs)?;
        }
        let publishes = !rebuild::published(&look.rtnl, dirs)?.is_empty();
        for (_, bridge) in look.networks.iter().filter(|_| publishes) {
            forwarding::admit_loopback(&bridge.name)?;
        }
        Ok(())
    })
}
