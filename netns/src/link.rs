//! What netns asks of and reads from a network interface.
//!
//! Pure: messages in, facts out.

use std::net::{IpAddr, Ipv4Addr};

use nix::errno::Errno;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    InfoBridgePort, InfoPortData, InfoPortKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo,
    LinkMessage, Prop,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

use crate::rtnl::{Answer, Request};
use crate::subnet::mac_text;

/// What is known about one interface.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub up: bool,
    pub mac: Vec<u8>,
    pub mtu: u32,
    /// `bridge`, `veth`, ...; empty for hardware.
    pub kind: String,
    /// Index of the bridge that it is a port of.
    pub master: Option<u32>,
    /// Index of a veth's other end, in that end's namespace.
    pub peer: Option<u32>,
    pub alternative_names: Vec<String>,
    /// Of a bridge's port: [`lock`]ed.
    pub locked: bool,
}

impl From<&LinkMessage> for Link {
    fn from(message: &LinkMessage) -> Link {
        let mut link = Link {
            index: message.header.index,
            up: message.header.flags.contains(LinkFlags::Up),
            ..Link::default()
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Address(mac) => link.mac.clone_from(mac),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Controller(index) => link.master = Some(*index),
                LinkAttribute::Link(index) => link.peer = Some(*index),
                LinkAttribute::LinkInfo(infos) => {
                    link.kind = kind_of(infos);
                    link.locked = infos.iter().any(is_locked);
                }
                LinkAttribute::PropList(names) => link.alternative_names = names_of(names),
                _ => {}
            }
        }
        link
    }
}

fn kind_of(infos: &[LinkInfo]) -> String {
    infos
        .iter()
        .find_map(|info| match info {
            LinkInfo::Kind(kind) => Some(kind.to_string()),
            _ => None,
        })
        .unwrap_or_default()
}

fn is_locked(info: &LinkInfo) -> bool {
    let LinkInfo::PortData(InfoPortData::BridgePort(modes)) = info else { return false };
    modes.contains(&InfoBridgePort::Locked(true))
}

fn names_of(properties: &[Prop]) -> Vec<String> {
    let name = |property: &Prop| match property {
        Prop::AltIfName(name) => Some(name.clone()),
        _ => None,
    };
    properties.iter().filter_map(name).collect()
}

impl Link {
    /// The interfaces among these messages.
    pub fn all(messages: &[RouteNetlinkMessage]) -> impl Iterator<Item = Link> {
        messages.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(Link::from(link)),
            _ => None,
        })
    }

    /// The interface that a [`get`] found, or `None` if there is no such interface.
    pub fn found(answer: Answer) -> anyhow::Result<Option<Link>> {
        match answer {
            Ok(messages) => Ok(Link::all(&messages).next()),
            Err(refused) if refused.refusal.errno == Errno::ENODEV => Ok(None),
            Err(refused) => refused.fail(),
        }
    }

    /// The container address that this host end holds the lease of.
    pub fn lease(&self) -> Option<Ipv4Addr> {
        self.alternative_names.iter().find_map(|name| name.strip_prefix(LEASE)?.parse().ok())
    }
}

/// The alternative name that is an address's lease starts with this.
const LEASE: &str = "gocker-";

/// The alternative name that is the lease of `address`.
pub fn lease_name(address: IpAddr) -> String {
    format!("{LEASE}{address}")
}

/// Looks for the interface of this name, or alternative name.
pub fn get(name: &str) -> Request {
    let message = LinkUnspec::new_with_name(name).append_extra_attribute(no_counters()).build();
    Request::one(RouteNetlinkMessage::GetLink(message), format!("cannot look for link {name}"))
}

/// Lists all interfaces.
pub fn list() -> Request {
    let message = LinkMessageBuilder::<LinkUnspec>::new().append_extra_attribute(no_counters()).build();
    Request::dump(RouteNetlinkMessage::GetLink(message), "cannot list the links")
}

/// Removes an interface.
pub fn delete(name: &str) -> Request {
    let message = LinkUnspec::new_with_name(name).build();
    Request::one(RouteNetlinkMessage::DelLink(message), format!("cannot remove link {name}"))
}

/// Brings the interface of this index up.
pub fn up(index: u32, name: &str) -> Request {
    let message = LinkUnspec::new_with_index(index).up().build();
    Request::one(RouteNetlinkMessage::SetLink(message), format!("cannot bring {name} up"))
}

/// Lets a port of a bridge have its own packets back: to a container that reaches itself through a published port, where
/// br_netfilter turns packets as soon as they enter the bridge.
pub fn hairpin(index: u32, name: &str) -> Request {
    port(index, vec![InfoBridgePort::HairpinMode(true)], format!("cannot set hairpin mode of {name}"))
}

/// Has a port of a bridge take nothing in but from hardware addresses that the bridge was told are there.
pub fn lock(index: u32, name: &str) -> Request {
    let modes = vec![InfoBridgePort::Learning(false), InfoBridgePort::Locked(true)];
    port(index, modes, format!("cannot lock {name}"))
}

fn port(index: u32, modes: Vec<InfoBridgePort>, what: String) -> Request {
    let infos =
        vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(InfoPortData::BridgePort(modes))];
    let message = LinkUnspec::new_with_index(index).append_extra_attribute(LinkAttribute::LinkInfo(infos));
    // RTM_SETLINK has no ear for what concerns a port.
    Request::one(RouteNetlinkMessage::NewLink(message.build()), what)
}

/// Tells a bridge that this hardware address is behind its port, whatever it has seen.
pub fn place(index: u32, name: &str, mac: [u8; 6]) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.header.flags = NeighbourFlags::Controller;
    // Neither forgotten nor the host's own: what bridge(8) calls static.
    message.header.state = NeighbourState::Noarp;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    let what = format!("cannot give {name} hardware address {}", mac_text(&mac));
    Request::put(RouteNetlinkMessage::NewNeighbour(message), what)
}

/// Counters cost the kernel more to collect than all the rest.
pub fn no_counters() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_is_among_the_alternative_names() {
        let link = |names: &[&str]| Link {
            alternative_names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Link::default()
        };
        assert_eq!(link(&["enp0s1", "gocker-172.29.0.5"]).lease(), Some(Ipv4Addr::new(172, 29, 0, 5)));
        assert_eq!(link(&["gocker-x"]).lease(), None);
        assert_eq!(lease_name([172, 29, 0, 5].into()), "gocker-172.29.0.5");
    }
}
