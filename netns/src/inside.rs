//! What is done inside the container's namespace, in one datagram.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::{LinkUnspec, RouteMessageBuilder};
use stage::{Id, shell};

use crate::rtnl::{Request, Rtnl};
use crate::subnet::{Subnet, mac_text};
use crate::subnet6::Subnet6;
use crate::{bridge, link, pin};

/// LOOPBACK_IFINDEX: the first interface of every namespace.
const LOOPBACK: u32 = 1;

/// The container's end of what connects it: as it is, and what it shall have.
pub struct Interface {
    pub name: String,
    /// In its namespace.
    pub index: u32,
    pub mac: [u8; 6],
    pub address: Ipv4Addr,
    pub address6: Option<Ipv6Addr>,
}

impl Interface {
    pub fn addresses(&self) -> Vec<IpAddr> {
        [Some(self.address.into()), self.address6.map(IpAddr::from)].into_iter().flatten().collect()
    }
}

/// Where an interface leads.
#[derive(Clone, Copy)]
pub struct Reach {
    pub subnet: Subnet,
    pub subnet6: Option<Subnet6>,
    /// Whether there is a way to the outside, by the subnets' gateways.
    pub leads_out: bool,
}

/// Brings the loopback up. `rtnl` was opened inside.
pub fn loopback(rtnl: &Rtnl, id: &Id) -> Result<()> {
    show(id, &["link", "set", "lo", "up"]);
    rtnl.all([link::up(LOOPBACK, "lo")]).map(|_| ())
}

/// Brings up loopback and interface with their addresses and default routes. `rtnl` was opened inside.
pub fn connect(rtnl: &Rtnl, id: &Id, interface: &Interface, reach: Reach) -> Result<()> {
    let Reach { subnet, subnet6, leads_out } = reach;
    let (gateway, name) = (subnet.gateway(), &interface.name);
    let address = format!("{}/{}", interface.address, subnet.net().prefix_len());
    show(id, &["link", "set", "lo", "up"]);
    show(id, &["address", "add", &address, "broadcast", "+", "dev", name]);
    show(id, &["link", "set", name, "address", &mac_text(&interface.mac), "up"]);
    let up = LinkUnspec::new_with_index(interface.index).address(interface.mac.to_vec()).up().build();
    let mut requests = vec![
        link::up(LOOPBACK, "lo"),
        bridge::address(interface.index, subnet, interface.address, name),
        Request::one(RouteNetlinkMessage::SetLink(up), format!("cannot bring {name} up")),
    ];
    if leads_out {
        show(id, &["route", "add", "default", "via", &gateway.to_string()]);
        let route =
            RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(interface.index).build();
        // In a namespace of another's an interface before this one may have it: as with CNI's own plugins the first stays.
        requests.push(Request::ensure(RouteNetlinkMessage::NewRoute(route), "cannot add the default route"));
    }
    if let (Some(subnet6), Some(address)) = (subnet6, interface.address6) {
        requests.extend(connect6(id, interface, leads_out, (subnet6, address)));
    }
    rtnl.each(requests)
}

/// The same for IPv6, once the interface is up.
fn connect6(
    id: &Id,
    interface: &Interface,
    leads_out: bool,
    (subnet, address): (Subnet6, Ipv6Addr),
) -> Vec<Request> {
    let (gateway, name) = (subnet.gateway(), &interface.name);
    let text = format!("{address}/{}", subnet.net().prefix_len());
    show(id, &["address", "add", &text, "dev", name, "nodad"]);
    let mut requests = vec![bridge::address6(interface.index, subnet, address, name)];
    if leads_out {
        show(id, &["-6", "route", "add", "default", "via", &gateway.to_string()]);
        let route =
            RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).output_interface(interface.index).build();
        let what = "cannot add the default route of IPv6";
        requests.push(Request::ensure(RouteNetlinkMessage::NewRoute(route), what));
    }
    requests
}

fn show(id: &Id, words: &[&str]) {
    shell(&[&["ip", "-n", &pin::name(id)][..], words].concat());
}
