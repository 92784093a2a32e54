//! What is done inside the container's namespace, in one datagram.

use anyhow::Result;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::{LinkUnspec, RouteMessageBuilder};
use stage::{Id, shell};

use crate::ground::Lan;
use crate::rtnl::{Request, Rtnl};
use crate::subnet::mac_text;
use crate::veth::Pair;
use crate::{bridge, link, pin};

/// LOOPBACK_IFINDEX: the first interface of every namespace.
const LOOPBACK: u32 = 1;

/// Brings the loopback up. `rtnl` was opened inside.
pub fn loopback(rtnl: &Rtnl, id: &Id) -> Result<()> {
    show(id, &["link", "set", "lo", "up"]);
    rtnl.all([link::up(LOOPBACK, "lo")]).map(|_| ())
}

/// Brings up loopback and `eth0` with its address and the default route. `rtnl` was opened inside.
pub fn connect(rtnl: &Rtnl, id: &Id, pair: &Pair, lan: &Lan) -> Result<()> {
    let Lan { subnet, leads_out, .. } = *lan;
    let (gateway, name) = (subnet.gateway(), &pair.inside_name);
    let address = format!("{}/{}", pair.address, subnet.net().prefix_len());
    show(id, &["link", "set", "lo", "up"]);
    show(id, &["address", "add", &address, "broadcast", "+", "dev", name]);
    show(id, &["link", "set", name, "address", &mac_text(&pair.mac), "up"]);
    let up = LinkUnspec::new_with_index(pair.inside).address(pair.mac.to_vec()).up().build();
    let route = RouteMessageBuilder::<std::net::Ipv4Addr>::new()
        .gateway(gateway)
        .output_interface(pair.inside)
        .build();
    let connected = [
        link::up(LOOPBACK, "lo"),
        bridge::address(pair.inside, subnet, pair.address, name),
        Request::one(RouteNetlinkMessage::SetLink(up), format!("cannot bring {name} up")),
    ];
    if !leads_out {
        return rtnl.all(connected).map(|_| ());
    }
    show(id, &["route", "add", "default", "via", &gateway.to_string()]);
    let [one, two, three] = connected;
    let route = Request::create(RouteNetlinkMessage::NewRoute(route), "cannot add the default route");
    rtnl.all([one, two, three, route]).map(|_| ())
}

fn show(id: &Id, words: &[&str]) {
    shell(&[&["ip", "-n", &pin::name(id)][..], words].concat());
}
