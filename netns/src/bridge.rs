//! The bridge that the containers of one network are ports of, and its gateway address.
//!
//! It does not know the containers.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use ipnet::{Ipv4Net, Ipv6Net};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::{AddressMessageBuilder, LinkBridge};
use stage::{Explain, Undo, shell};

use crate::forwarding;
use crate::link::{self, Link};
use crate::network::Definition;
use crate::rtnl::{Request, Rtnl};
use crate::subnet::{Subnet, mac_of, mac_text};
use crate::subnet6::Subnet6;

/// The bridge as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    pub name: String,
    pub index: u32,
    pub mac: Vec<u8>,
    pub mtu: u32,
    pub up: bool,
    /// `None`: whoever made the bridge did not come to its address.
    pub subnet: Option<Subnet>,
    pub subnet6: Option<Subnet6>,
}

/// Looks whether the bridge is there.
///
/// # Errors
/// Something else has its name.
pub fn look(rtnl: &Rtnl, name: &str) -> Result<Option<Bridge>> {
    let [found] = rtnl.try_all([link::get(name)])?;
    let Some(link) = Link::found(found)? else { return Ok(None) };
    if link.kind != "bridge" {
        bail!("cannot use link {name}: it is no bridge");
    }
    let addresses = rtnl.addresses_of(link.index)?;
    let subnet = first_address(&addresses, link.index).map(|net| subnet_of(name, net)).transpose()?;
    let subnet6 = first_address6(&addresses, link.index);
    Ok(Some(Bridge {
        subnet6,
        name: link.name,
        index: link.index,
        mac: link.mac,
        mtu: link.mtu,
        up: link.up,
        subnet,
    }))
}

/// The subnet whose gateway this address of the bridge is.
fn subnet_of(name: &str, address: Ipv4Net) -> Result<Subnet> {
    let subnet = Subnet::try_from(address).with_context(|| format!("cannot use link {name}"))?;
    subnet.with_gateway(address.addr()).with_context(|| format!("cannot use link {name}"))
}

fn first_address(messages: &[RouteNetlinkMessage], index: u32) -> Option<Ipv4Net> {
    messages.iter().find_map(|message| match message {
        RouteNetlinkMessage::NewAddress(address) if address.header.index == index => net_of(address),
        _ => None,
    })
}

/// The subnet of IPv6 whose gateway this bridge is.
fn first_address6(messages: &[RouteNetlinkMessage], index: u32) -> Option<Subnet6> {
    messages.iter().find_map(|message| match message {
        RouteNetlinkMessage::NewAddress(address) if address.header.index == index => subnet6_of(address),
        _ => None,
    })
}

fn subnet6_of(message: &AddressMessage) -> Option<Subnet6> {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(IpAddr::V6(address)) => Some(*address),
        _ => None,
    })?;
    let subnet = Subnet6::try_from(Ipv6Net::new(address, message.header.prefix_len).ok()?).ok()?;
    (subnet.gateway() == address).then_some(subnet)
}

/// The address, with the length of its network's prefix.
pub fn net_of(message: &AddressMessage) -> Option<Ipv4Net> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    })?;
    Ipv4Net::new(local, message.header.prefix_len).ok()
}

/// Checks the bridge that is there against what was asked for.
pub fn accept(bridge: &Bridge, network: &Definition) -> Result<()> {
    let (Some(has), name) = (bridge.subnet, &bridge.name) else { return Ok(()) };
    match network.subnet {
        Some(wanted) if has.net() != wanted.net() => {
            Err(anyhow::anyhow!("cannot use subnet {wanted}: bridge {name} already has {has}"))
                .hint("netns gc removes the bridge when no container is left")
        }
        // Nobody asked for another gateway: so it is somebody else's bridge.
        None if !has.has_first_as_gateway() => {
            let address = Ipv4Net::new(has.gateway(), has.net().prefix_len())?;
            bail!("cannot use link {name}: its address {address} is not the first of its subnet")
        }
        _ => Ok(()),
    }
}

/// A bridge that is there, or the name of one that is to be.
pub enum Existing {
    Bridge(Bridge),
    NotYet(String),
}

/// Makes what is missing of the bridge. `undo` removes it if the bridge itself is made here.
pub fn make(rtnl: &Rc<Rtnl>, had: Existing, subnet: Subnet, undo: &mut Undo) -> Result<Bridge> {
    let mut bridge = match had {
        Existing::Bridge(bridge) => bridge,
        Existing::NotYet(name) => add(rtnl, &name, subnet, undo)?,
    };
    let name = bridge.name.clone();
    if !bridge.up {
        shell(&["ip", "link", "set", &name, "up"]);
        rtnl.all([link::up(bridge.index, &name)])?;
        bridge.up = true;
    }
    if bridge.subnet.is_none() {
        let gateway = format!("{}/{}", subnet.gateway(), subnet.net().prefix_len());
        shell(&["ip", "address", "add", &gateway, "broadcast", "+", "dev", &name]);
        rtnl.all([address(bridge.index, subnet, subnet.gateway(), &name)])?;
        bridge.subnet = Some(subnet);
    }
    Ok(bridge)
}

/// Gives the bridge an address of IPv6, unless it has one.
pub fn make6(rtnl: &Rtnl, bridge: &mut Bridge, wanted: Option<Subnet6>) -> Result<()> {
    if bridge.subnet6.is_some() {
        return Ok(());
    }
    let subnet = wanted.map_or_else(Subnet6::random, Ok)?;
    forwarding::keep_addresses6(&bridge.name)?;
    let address = format!("{}/{}", subnet.gateway(), subnet.net().prefix_len());
    shell(&["ip", "address", "add", &address, "dev", &bridge.name, "nodad"]);
    rtnl.all([address6(bridge.index, subnet, subnet.gateway(), &bridge.name)])?;
    bridge.subnet6 = Some(subnet);
    Ok(())
}

/// Gives an interface an address of the subnet, at once: nobody else can have it.
pub fn address6(index: u32, subnet: Subnet6, address: Ipv6Addr, name: &str) -> Request {
    let mut message = AddressMessageBuilder::<Ipv6Addr>::new()
        .index(index)
        .address(address, subnet.net().prefix_len())
        .build();
    message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    Request::create(RouteNetlinkMessage::NewAddress(message), format!("cannot give {name} address {address}"))
}

/// The bridge's own hardware address is set, or it would change with its ports and every container's ARP cache
/// would be wrong.
fn add(rtnl: &Rc<Rtnl>, name: &str, subnet: Subnet, undo: &mut Undo) -> Result<Bridge> {
    let mac = mac_of(subnet.gateway());
    shell(&["ip", "link", "add", name, "address", &mac_text(&mac), "up", "type", "bridge"]);
    let message = LinkBridge::new(name).address(mac.to_vec()).build();
    let create = Request::create(RouteNetlinkMessage::NewLink(message), format!("cannot make bridge {name}"));
    // Refused, it is somebody else's who was quicker; else it may have been made, whatever else went wrong.
    let (host, ours) = (Rc::clone(rtnl), Rc::new(Cell::new(true)));
    let (made, again) = (Rc::clone(&ours), name.to_owned());
    undo.push(move || if made.get() { remove(&host, &again) } else { Ok(()) });
    let [created, found] = rtnl.try_all([create, link::get(name)])?;
    if let Err(refused) = created {
        ours.set(false);
        return refused.fail();
    }
    let Some(link) = Link::found(found)? else { bail!("cannot make bridge {name}: it vanished") };
    Ok(Bridge {
        name: link.name,
        index: link.index,
        mac: link.mac,
        mtu: link.mtu,
        up: link.up,
        subnet: None,
        subnet6: None,
    })
}

/// Gives an interface an address of the subnet.
pub fn address(index: u32, subnet: Subnet, address: Ipv4Addr, name: &str) -> Request {
    let message = AddressMessageBuilder::<Ipv4Addr>::new()
        .index(index)
        .address(address, subnet.net().prefix_len())
        .build();
    Request::create(RouteNetlinkMessage::NewAddress(message), format!("cannot give {name} address {address}"))
}

/// Removes the bridge. That it is not there is no error.
pub fn remove(rtnl: &Rtnl, name: &str) -> Result<()> {
    shell(&["ip", "link", "delete", name]);
    let [answer] = rtnl.try_all([link::delete(name)])?;
    Link::found(answer).map(|_| ())
}
