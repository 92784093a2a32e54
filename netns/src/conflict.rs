//! Whether a subnet is free: it must not overlap what the host reaches otherwise.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, anyhow};
use ipnet::Ipv4Net;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use stage::Explain;

use crate::bridge::net_of;
use crate::dns::Resolv;
use crate::link::{self, Link};
use crate::rtnl::{Request, Rtnl};
use crate::subnet::Subnet;

/// What the subnet would hide, in words: a route as `ip route` prints it, an address, a name server.
pub fn find(rtnl: &Rtnl, subnet: Subnet) -> Result<Option<String>> {
    let routes = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let routes = Request::dump(RouteNetlinkMessage::GetRoute(routes), "cannot list the routes");
    let [routes] = rtnl.all([routes])?;
    let overlapping = routes.iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewRoute(route) if overlaps(route, subnet) => Some(route),
        _ => None,
    });
    // What people know it by, first: routes as `ip route` lists them, then those of other tables, then addresses.
    let is_local = |route: &RouteMessage| route.header.kind == RouteType::Local;
    let in_main = |route: &RouteMessage| table(route) == u32::from(RouteHeader::RT_TABLE_MAIN);
    let route = overlapping.min_by_key(|route| (is_local(route), !in_main(route)));
    let quoted = |route| -> Result<Option<String>> {
        let [links] = rtnl.all([link::list()])?;
        Ok(Some(format!("route \"{}\"", text(route, &name_in(&links)))))
    };
    if let Some(route) = route.filter(|route| !is_local(route)) {
        return quoted(route);
    }
    if let Some(address) = address(rtnl, subnet)? {
        return Ok(Some(address));
    }
    if let Some(route) = route {
        return quoted(route);
    }
    let server = Resolv::upstream()?.nameservers.into_iter().find(|server| contains(subnet, server));
    Ok(server.map(|server| format!("name server {server}")))
}

/// The refusal of a subnet.
pub fn refuse<T>(subnet: Subnet, with: &str) -> Result<T> {
    Err(anyhow!("cannot use subnet {subnet}: the host has {with}"))
        .hint("choose another with --subnet or GOCKER_SUBNET")
}

fn name_in(links: &[RouteNetlinkMessage]) -> impl Fn(u32) -> String {
    move |index| {
        let found = Link::all(links).find(|link| link.index == index);
        found.map_or_else(|| format!("if{index}"), |link| link.name)
    }
}

/// Also of an interface that is down, whose network has no route yet.
fn address(rtnl: &Rtnl, subnet: Subnet) -> Result<Option<String>> {
    let mut every = rtnetlink::packet_route::address::AddressMessage::default();
    every.header.family = AddressFamily::Inet;
    let every = Request::dump(RouteNetlinkMessage::GetAddress(every), "cannot list the addresses");
    let [addresses] = rtnl.all([every])?;
    let found = addresses.iter().find_map(|message| match message {
        RouteNetlinkMessage::NewAddress(address) => {
            net_of(address).filter(|net| overlap(*net, subnet.net())).map(|net| (net, address.header.index))
        }
        _ => None,
    });
    let Some((net, index)) = found else { return Ok(None) };
    let [links] = rtnl.all([link::list()])?;
    Ok(Some(format!("address {net} on {}", name_in(&links)(index))))
}

fn contains(subnet: Subnet, server: &str) -> bool {
    server.parse::<IpAddr>().is_ok_and(|address| match address {
        IpAddr::V4(address) => subnet.net().contains(&address),
        IpAddr::V6(_) => false,
    })
}

fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// Default routes overlap everything, and so do the halves that a VPN covers the default route with.
fn overlaps(route: &RouteMessage, subnet: Subnet) -> bool {
    let counts = matches!(
        route.header.kind,
        RouteType::Unicast
            | RouteType::Local
            | RouteType::BlackHole
            | RouteType::Unreachable
            | RouteType::Prohibit
    );
    counts && destination(route).is_some_and(|net| net.prefix_len() > 1 && overlap(net, subnet.net()))
}

fn destination(route: &RouteMessage) -> Option<Ipv4Net> {
    let address = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
        _ => None,
    })?;
    Ipv4Net::new(address, route.header.destination_prefix_length).ok()
}

fn table(route: &RouteMessage) -> u32 {
    let large = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    large.unwrap_or_else(|| u32::from(route.header.table))
}

/// The route as `ip route` prints it.
fn text(route: &RouteMessage, name: &dyn Fn(u32) -> String) -> String {
    let mut words = Vec::new();
    if route.header.kind != RouteType::Unicast {
        words.push(kind(route.header.kind).to_owned());
    }
    words.extend(destination(route).map(|net| match net.prefix_len() {
        32 => net.addr().to_string(),
        _ => net.to_string(),
    }));
    let (mut source, mut metric) = (None, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => words.push(format!("via {gateway}")),
            RouteAttribute::Oif(index) => words.push(format!("dev {}", name(*index))),
            RouteAttribute::PrefSource(RouteAddress::Inet(address)) => {
                source = Some(format!("src {address}"))
            }
            RouteAttribute::Priority(number) => metric = Some(format!("metric {number}")),
            _ => {}
        }
    }
    words.extend(table_word(table(route)));
    words.extend(protocol(route.header.protocol));
    words.extend(scope(route.header.scope).map(str::to_owned));
    words.extend(source);
    words.extend(metric);
    words.join(" ")
}

fn kind(kind: RouteType) -> &'static str {
    match kind {
        RouteType::Local => "local",
        RouteType::BlackHole => "blackhole",
        RouteType::Prohibit => "prohibit",
        _ => "unreachable",
    }
}

/// 254 is main, which is not printed; 255 is local.
fn table_word(table: u32) -> Option<String> {
    match table {
        254 => None,
        255 => Some("table local".to_owned()),
        253 => Some("table default".to_owned()),
        other => Some(format!("table {other}")),
    }
}

/// Boot is what `ip route add` sets, and not printed.
fn protocol(protocol: RouteProtocol) -> Option<String> {
    match protocol {
        RouteProtocol::Boot => None,
        other => Some(format!("proto {}", other.to_string().to_lowercase())),
    }
}

fn scope(scope: RouteScope) -> Option<&'static str> {
    match scope {
        RouteScope::Link => Some("scope link"),
        RouteScope::Host => Some("scope host"),
        RouteScope::Site => Some("scope site"),
        RouteScope::NoWhere => Some("scope nowhere"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(net: &str) -> RouteMessageBuilder<Ipv4Addr> {
        let net: Ipv4Net = net.parse().unwrap();
        RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(net.addr(), net.prefix_len())
            .output_interface(7)
    }

    fn eth(_: u32) -> String {
        "eth1".to_owned()
    }

    #[test]
    fn a_route_is_quoted_as_ip_route_prints_it() {
        let connected = route("172.16.0.0/12")
            .protocol(RouteProtocol::Kernel)
            .scope(RouteScope::Link)
            .pref_source(Ipv4Addr::new(172, 16, 0, 9))
            .priority(100)
            .build();
        assert_eq!(
            text(&connected, &eth),
            "172.16.0.0/12 dev eth1 proto kernel scope link src 172.16.0.9 metric 100"
        );
        let via = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(Ipv4Addr::new(172, 29, 3, 4), 32)
            .gateway(Ipv4Addr::new(10, 0, 0, 1))
            .output_interface(7)
            .table_id(51820)
            .build();
        assert_eq!(text(&via, &eth), "172.29.3.4 via 10.0.0.1 dev eth1 table 51820 proto static");
    }

    #[test]
    fn default_routes_and_their_halves_do_not_count() {
        let subnet: Subnet = "172.29.0.0/16".parse().unwrap();
        for (net, expected) in [
            ("0.0.0.0/0", false),
            ("128.0.0.0/1", false),
            ("172.16.0.0/12", true),
            ("172.29.4.0/24", true),
            ("172.30.0.0/16", false),
        ] {
            assert_eq!(overlaps(&route(net).build(), subnet), expected, "{net}");
        }
    }
}
