//! What is done inside the container's namespace, in one datagram.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::{LinkUnspec, RouteMessageBuilder};
use stage::{Id, shell};

use crate::ground::Lan;
use crate::rtnl::{Request, Rtnl};
use crate::subnet::mac_text;
use crate::subnet6::Subnet6;
use crate::veth::Pair;
use crate::{bridge, link, pin};

/// LOOPBACK_IFINDEX: the first interface of every namespace.
const LOOPBACK: u32 = 1;

/// Brings the loopback up. `rtnl` was opened inside.
pub fn loopback(rtnl: &Rtnl, id: &Id) -> Result<()> {
    show(id, &["link", "set", "lo", "up"]);
    rtnl.all([link::up(LOOPBACK, "lo")]).map(|_| ())
}

/// Brings up loopback and interface with their addresses and default routes. `rtnl` was opened inside.
pub fn connect(rtnl: &Rtnl, id: &Id, pair: &Pair, lan: &Lan) -> Result<()> {
    let Lan { subnet, leads_out, .. } = *lan;
    let (gateway, name) = (subnet.gateway(), &pair.inside_name);
    let address = format!("{}/{}", pair.address, subnet.net().prefix_len());
    show(id, &["link", "set", "lo", "up"]);
    show(id, &["address", "add", &address, "broadcast", "+", "dev", name]);
    show(id, &["link", "set", name, "address", &mac_text(&pair.mac), "up"]);
    let up = LinkUnspec::new_with_index(pair.inside).address(pair.mac.to_vec()).up().build();
    let mut requests = vec![
        link::up(LOOPBACK, "lo"),
        bridge::address(pair.inside, subnet, pair.address, name),
        Request::one(RouteNetlinkMessage::SetLink(up), format!("cannot bring {name} up")),
    ];
    if leads_out {
        show(id, &["route", "add", "default", "via", &gateway.to_string()]);
        let route =
            RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(pair.inside).build();
        // In a namespace of another's an interface before this one may have it: as with CNI's own plugins the first stays.
        requests.push(Request::ensure(RouteNetlinkMessage::NewRoute(route), "cannot add the default route"));
    }
    if let (Some(subnet6), Some(address)) = (lan.subnet6, pair.address6) {
        requests.extend(connect6(id, pair, leads_out, (subnet6, address)));
    }
    rtnl.each(requests)
}

/// The same for IPv6, once the interface is up.
fn connect6(id: &Id, pair: &Pair, leads_out: bool, (subnet, address): (Subnet6, Ipv6Addr)) -> Vec<Request> {
    let (gateway, name) = (subnet.gateway(), &pair.inside_name);
    let text = format!("{address}/{}", subnet.net().prefix_len());
    show(id, &["address", "add", &text, "dev", name, "nodad"]);
    let mut requests = vec![bridge::address6(pair.inside, subnet, address, name)];
    if leads_out {
        show(id, &["-6", "route", "add", "default", "via", &gateway.to_string()]);
        let route =
            RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).output_interface(pair.inside).build();
        let what = "cannot add the default route of IPv6";
        requests.push(Request::ensure(RouteNetlinkMessage::NewRoute(route), what));
    }
    requests
}

fn show(id: &Id, words: &[&str]) {
    shell(&[&["ip", "-n", &pin::name(id)][..], words].concat());
}
