//! `netns network`: makes, lists, shows and removes the networks by name.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, anyhow, bail};
use ipnet::Ipv4Net;
use serde::Serialize;
use stage::{Explain, Id};

use crate::dirs::Dirs;
use crate::link::{self, Link};
use crate::lock::Lock;
use crate::macvlan::{self, Macvlan};
use crate::network::{Defined, Definition, check_name, free_bridge};
use crate::nft::Firewall;
use crate::rtnl::Rtnl;
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;
use crate::{bridge, conflict, gc, rebuild, record, veth};

// What a network is to be like.
#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// Its name
    pub name: String,
    /// bridge, or macvlan: interfaces on the network of one of the host's
    #[arg(long, short, value_enum, default_value_t = Driver::Bridge)]
    pub driver: Driver,
    /// The host's interface that a macvlan is of
    #[arg(long, value_name = "INTERFACE", required_if_eq("driver", "macvlan"))]
    pub parent: Option<String>,
    /// The part of the subnet that a macvlan's containers have addresses of [default: all of it]
    #[arg(long, value_name = "CIDR", requires = "parent")]
    pub ip_range: Option<Ipv4Net>,
    /// Its subnet [default: the first of 172.28.0.0/24, 172.28.1.0/24, ... that is free]
    #[arg(long, value_name = "CIDR")]
    pub subnet: Option<Subnet>,
    /// The bridge's address [default: the first of the subnet]
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Option<Ipv4Addr>,
    /// Addresses of IPv6, too
    #[arg(long)]
    pub ipv6: bool,
    /// Its subnet of IPv6, routed to this host or private [default: a random one below fd00::/8]
    #[arg(long, value_name = "CIDR", requires = "ipv6")]
    pub subnet6: Option<Subnet6>,
    /// Its containers reach each other and the host, and nothing else
    #[arg(long)]
    pub internal: bool,
}

/// What makes a network's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Driver {
    Bridge,
    Macvlan,
}

/// A network, and who is in it.
#[derive(Serialize)]
pub struct Shown {
    #[serde(flatten)]
    definition: Defined,
    containers: Vec<Member>,
}

#[derive(Serialize)]
struct Member {
    id: Id,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Ipv4Addr>,
}

/// Writes the definition. A bridge is made when the first container comes.
pub fn create(dirs: &Dirs, wanted: &Wanted) -> Result<Defined> {
    check_name(&wanted.name).code(stage::Codes::USAGE)?;
    let _alone = Lock::alone()?;
    let name = &wanted.name;
    if dirs.networks.of_all_kinds()?.iter().any(|network| network.name() == *name) {
        bail!("cannot make network {name}: network with name {name} already exists");
    }
    let rtnl = Rtnl::open()?;
    let definition = match wanted.driver {
        Driver::Bridge => Defined::Bridge(with_bridge(dirs, wanted, &rtnl)?),
        Driver::Macvlan => Defined::Macvlan(with_parent(wanted, &rtnl)?),
    };
    dirs.networks.add(&definition)?;
    Ok(definition)
}

fn with_parent(wanted: &Wanted, rtnl: &Rtnl) -> Result<Macvlan> {
    let name = &wanted.name;
    if wanted.ipv6 || wanted.internal {
        let option = if wanted.ipv6 { "--ipv6" } else { "--internal" };
        Err(anyhow!("cannot use {option}: a macvlan has what its parent's network has"))
            .code(stage::Codes::USAGE)?;
    }
    let Some(subnet) = wanted.subnet else {
        return Err(anyhow!(
            "cannot make network {name}: a macvlan needs --subnet, that of its parent's network"
        ))
        .code(stage::Codes::USAGE);
    };
    let subnet = wanted.gateway.map_or(Ok(subnet), |gateway| subnet.with_gateway(gateway))?;
    let parent = wanted.parent.clone().unwrap_or_default();
    let [found] = rtnl.try_all([link::get(&parent)])?;
    if Link::found(found)?.is_none() {
        bail!("cannot make network {name}: there is no link {parent}");
    }
    if let Some(range) = wanted.ip_range.filter(|range| !subnet.net().contains(range)) {
        bail!("cannot use --ip-range {range}: it is not in {}", subnet.net());
    }
    let driver = macvlan::Driver::Macvlan;
    Ok(Macvlan { name: name.clone(), driver, parent, subnet, ip_range: wanted.ip_range })
}

fn with_bridge(dirs: &Dirs, wanted: &Wanted, rtnl: &Rtnl) -> Result<Definition> {
    if wanted.parent.is_some() {
        Err(anyhow!("cannot use --parent: it goes with --driver=macvlan")).code(stage::Codes::USAGE)?;
    }
    let all = dirs.networks.all()?;
    let subnet = match (wanted.subnet, wanted.gateway) {
        (None, Some(_)) => {
            Err(anyhow!("cannot use --gateway: it needs --subnet")).code(stage::Codes::USAGE)?
        }
        (None, None) => free_subnet(rtnl, &all)?,
        (Some(subnet), gateway) => {
            if let Some(with) = in_the_way(rtnl, &all, subnet)? {
                conflict::refuse(subnet, &with)?;
            }
            gateway.map_or(Ok(subnet), |gateway| subnet.with_gateway(gateway))?
        }
    };
    let [links] = rtnl.all([link::list()])?;
    let is_there = |name: &str| Link::all(&links).any(|link| link.name == name);
    let subnet6 = match wanted.ipv6 {
        true => Some(wanted.subnet6.map_or_else(Subnet6::random, Ok)?),
        false => None,
    };
    Ok(Definition {
        name: wanted.name.clone(),
        bridge: free_bridge(&all, is_there),
        subnet: Some(subnet),
        subnet6,
        ipv6: wanted.ipv6,
        internal: wanted.internal,
    })
}

/// The first of the subnets for networks that hides nothing.
pub fn free_subnet(rtnl: &Rtnl, all: &[Definition]) -> Result<Subnet> {
    for third in 0..=u8::MAX {
        let subnet: Subnet = format!("172.28.{third}.0/24").parse()?;
        if in_the_way(rtnl, all, subnet)?.is_none() {
            return Ok(subnet);
        }
    }
    Err(anyhow!("cannot choose a subnet: all of 172.28.0.0/16 is taken")).hint("choose one with --subnet")
}

/// What the subnet would hide, in words: another network's, or something of the host's.
fn in_the_way(rtnl: &Rtnl, all: &[Definition], subnet: Subnet) -> Result<Option<String>> {
    let other = all.iter().find(|other| other.subnet.is_some_and(|its| its.overlaps(subnet)));
    match other {
        Some(Definition { name, subnet: Some(its), .. }) => Ok(Some(format!("network {name} with {its}"))),
        _ => conflict::find(rtnl, subnet),
    }
}

/// Removes the network, if nobody is in it.
pub fn remove(dirs: &Dirs, name: &str) -> Result<()> {
    let _alone = Lock::alone()?;
    let network = dirs.networks.look(name)?;
    check_name(name).context("cannot remove the network")?;
    let rtnl = Rtnl::open()?;
    let is_used = match &network {
        Defined::Bridge(network) => gc::has_ports(&rtnl, &network.bridge)?,
        Defined::Macvlan(_) => !macvlan::members(dirs, name)?.is_empty(),
    };
    if is_used {
        return Err(anyhow!("cannot remove network {name}: network {name} has active endpoints"))
            .hint(format!("netns network inspect {name} shows who they are"));
    }
    if let Defined::Bridge(network) = network
        && bridge::look(&rtnl, &network.bridge)?.is_some()
    {
        bridge::remove(&rtnl, &network.bridge)?;
        rebuild::table(&rtnl, &Firewall::open()?, dirs)?;
    }
    dirs.networks.remove(name)
}

/// All networks, as they are defined.
pub fn list(dirs: &Dirs) -> Result<Vec<Defined>> {
    dirs.networks.of_all_kinds()
}

/// One network with its containers.
pub fn inspect(dirs: &Dirs, name: &str) -> Result<Shown> {
    let mut definition = dirs.networks.look(name)?;
    let rtnl = Rtnl::open()?;
    if let Defined::Bridge(definition) = &mut definition
        && let Some(bridge) = bridge::look(&rtnl, &definition.bridge)?
    {
        definition.subnet = bridge.subnet.or(definition.subnet);
        definition.subnet6 = bridge.subnet6.or(definition.subnet6);
        definition.ipv6 |= bridge.subnet6.is_some();
    }
    let [links] = rtnl.all([link::list()])?;
    let address = |id: &Id| Link::all(&links).find(|link| link.name == veth::name(id))?.lease();
    let mut containers = Vec::new();
    for id in record::ids(&dirs.records)? {
        let record = record::read(&dirs.records, &id);
        if let Some(record) = record.filter(|record| record.network.as_deref() == Some(name)) {
            containers.push(Member { address: address(&id).or(record.ip), names: record.names, id });
        }
    }
    Ok(Shown { definition, containers })
}
