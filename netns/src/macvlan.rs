//! Networks of the kind macvlan: a container has an interface of its own on the network of one of the host's, its parent,
//! with its own hardware address. There is no bridge, no NAT and no published port: whoever is on that network reaches
//! it. The host itself does not: the kernel keeps a parent and its macvlans apart.
//!
//! No interface of the host's could hold the lease of an address, so the records do; who takes one is alone.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};
use ipnet::Ipv4Net;
use rtnetlink::LinkMacVlan;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::MacVlanMode;
use serde::{Deserialize, Serialize};
use stage::{Id, Undo, shell, undoable};

use crate::cli::Setup;
use crate::dirs::Dirs;
use crate::inside::{self, Interface, Reach};
use crate::link::{self, Link};
use crate::lock::Lock;
use crate::members::Members;
use crate::record::{self, Record};
use crate::rtnl::{Request, Rtnl};
use crate::section::Network;
use crate::subnet::Subnet;
use crate::{pin, setup, veth};

/// A network as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Macvlan {
    pub name: String,
    pub driver: Driver,
    /// The host's interface.
    pub parent: String,
    /// That of the parent's network, with its router as the gateway.
    #[serde(flatten)]
    pub subnet: Subnet,
    /// The part of it that containers have addresses of. `None`: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<Ipv4Net>,
}

/// The word that tells it from a network with a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    Macvlan,
}

/// Connects the container, then hands the section to `publish`. If anything fails, that included, all is taken back.
pub fn attach(
    id: &Id,
    wanted: &Setup,
    network: &Macvlan,
    dirs: &Dirs,
    publish: impl FnOnce(&Network) -> Result<()>,
) -> Result<()> {
    let name = &network.name;
    if !wanted.publish.is_empty() {
        bail!("cannot use --publish: whoever is on the network of {name} reaches all ports");
    }
    if wanted.ip6.is_some() {
        bail!("cannot use --ip6: network {name} has no IPv6");
    }
    let home = Lock::alone()?;
    undoable(|undo| publish(&connected(id, wanted, network, (dirs, &home), undo)?))
}

fn connected(
    id: &Id,
    wanted: &Setup,
    network: &Macvlan,
    (dirs, home): (&Dirs, &Lock),
    undo: &mut Undo,
) -> Result<Network> {
    let dns = setup::resolver(wanted)?;
    let rtnl = Rtnl::open()?;
    let [parent] = rtnl.try_all([link::get(&network.parent)])?;
    let parent = Link::found(parent)?.with_context(|| format!("cannot find link {}", network.parent))?;
    let address = network.choose(id, wanted.ip, &taken(dirs, &network.name)?)?;
    let names = setup::names(wanted, id);
    let record =
        Record { network: Some(network.name.clone()), ip: Some(address), names, ..Record::default() };
    record::make(&dirs.records, id, &record, undo)?;
    let (namespace, inner) = pin::make(id, home, undo, setup::within)?;

    let mtu = wanted.mtu.unwrap_or(parent.mtu);
    make(&rtnl, id, &parent, &namespace, mtu)?;
    let [made] = inner.try_all([link::get(veth::INSIDE)])?;
    let made = Link::found(made)?.context("cannot find the macvlan in its namespace")?;
    // Not one that follows from the address: the last interface that had it may still be on its way out, and no two
    // macvlans of a parent can have the same.
    let random =
        || made.mac.as_slice().try_into().context("cannot use the macvlan: it has no hardware address");
    let mac = wanted.mac_address.map_or_else(random, |mac| Ok(mac.0))?;
    let interface =
        Interface { name: veth::INSIDE.to_owned(), index: made.index, mac, address, address6: None };
    let reach = Reach { subnet: network.subnet, subnet6: None, leads_out: true };
    inside::connect(&inner, id, &interface, reach)?;
    let members = Members::of(&dirs.records, &network.name);
    let hosts = members.map(|members| setup::join(&members, id, &interface, &record, undo)).transpose()?;
    let section = Network::direct(pin::path(id), &interface, mtu, reach, dns);
    Ok(section.known(wanted.hostname.clone(), hosts))
}

/// Makes the interface, in the namespace at once. It goes with the namespace.
fn make(rtnl: &Rtnl, id: &Id, parent: &Link, namespace: &File, mtu: u32) -> Result<()> {
    let (netns, size) = (pin::name(id), mtu.to_string());
    let words =
        ["link", &parent.name, "name", veth::INSIDE, "mtu", &size, "netns", &netns, "type", "macvlan"];
    shell(&[&["ip", "link", "add"], &words[..], &["mode", "bridge"]].concat());
    let message = LinkMacVlan::new(veth::INSIDE, parent.index, MacVlanMode::Bridge)
        .setns_by_fd(namespace.as_raw_fd())
        .mtu(mtu)
        .build();
    let what = format!("cannot make a macvlan of {}", parent.name);
    rtnl.all([Request::create(RouteNetlinkMessage::NewLink(message), what)]).map(|_| ())
}

impl Macvlan {
    /// The address that was asked for, or one that is free, which one the id says.
    fn choose(&self, id: &Id, wanted: Option<Ipv4Addr>, taken: &[Ipv4Addr]) -> Result<Ipv4Addr> {
        if let Some(address) = wanted {
            self.subnet.admits(address)?;
            if taken.contains(&address) {
                bail!("cannot lease address {address}: another container of network {} has it", self.name);
            }
            return Ok(address);
        }
        let is_free = |address: &Ipv4Addr| {
            self.ip_range.is_none_or(|range| range.contains(address)) && !taken.contains(address)
        };
        let free = self.subnet.candidates(id).find(is_free);
        free.with_context(|| {
            let range = self.ip_range.unwrap_or(self.subnet.net());
            format!("cannot lease an address: all of {range} are taken")
        })
    }
}

/// The addresses of the network's containers that are there.
fn taken(dirs: &Dirs, network: &str) -> Result<Vec<Ipv4Addr>> {
    Ok(members(dirs, network)?.into_iter().filter_map(|(_, record)| record.ip).collect())
}

/// The network's containers that are there.
pub fn members(dirs: &Dirs, network: &str) -> Result<Vec<(Id, Record)>> {
    let ids = record::ids(&dirs.records)?.into_iter();
    let there = ids.filter(pin::is_there).filter_map(|id| Some((record::read(&dirs.records, &id)?, id)));
    Ok(there
        .filter(|(record, _)| record.network.as_deref() == Some(network))
        .map(|(record, id)| (id, record))
        .collect())
}
