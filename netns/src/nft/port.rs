//! A published port as an element of our maps: its key is the lease of the port, its comment says whose it is.
//!
//! Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_core::NlasIterator;

use super::encode::Attributes;
use super::ruleset::{element, octets};
use super::table::find;
use crate::publish::{Mapping, Protocol};

/// The maps, and whether their keys name an address.
pub const MAPS: [&str; 4] = ["ports", "ports_at", "ports6", "ports6_at"];

/// A port of the host's that leads to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub mapping: Mapping,
    /// The container's address.
    pub to: IpAddr,
    /// The first 12 digits of the container's id.
    pub owner: String,
}

/// The map that a port of this address of the host's is in.
pub fn map_of(address: IpAddr) -> &'static str {
    match (address, address.is_unspecified()) {
        (IpAddr::V4(_), true) => MAPS[0],
        (IpAddr::V4(_), false) => MAPS[1],
        (IpAddr::V6(_), true) => MAPS[2],
        (IpAddr::V6(_), false) => MAPS[3],
    }
}

impl Port {
    /// As a map's key: protocol, the address unless it is any, port.
    pub fn key(&self) -> Vec<u8> {
        let mut key = vec![self.mapping.protocol.number(), 0, 0, 0];
        if !self.mapping.host_ip.is_unspecified() {
            key.extend(octets(self.mapping.host_ip));
        }
        key.extend(padded(self.mapping.host_port));
        key
    }

    /// Key, value, and the comment: NFTNL_UDATA_SET_ELEM_COMMENT 0, its length, its text.
    pub fn element(&self) -> Attributes {
        let value = [octets(self.to), padded(self.mapping.container_port).into()].concat();
        let length = u8::try_from(self.owner.len() + 1).unwrap_or(u8::MAX);
        let comment = [&[0, length], self.owner.as_bytes(), &[0]].concat();
        element(&self.key()).nest(2, &Attributes::default().bytes(1, &value)).bytes(6, &comment)
    }

    /// The key in nft's words.
    pub fn key_text(&self) -> String {
        let Mapping { protocol, host_ip, host_port, .. } = &self.mapping;
        match host_ip.is_unspecified() {
            true => format!("{protocol} . {host_port}"),
            false => format!("{protocol} . {host_ip} . {host_port}"),
        }
    }

    /// The element in nft's words.
    pub fn text(&self) -> String {
        let value = format!("{} . {}", self.to, self.mapping.container_port);
        format!("{} comment \"{}\" : {value}", self.key_text(), self.owner)
    }

    /// Reads an element of the map of this name, as the kernel hands it out. `None`: not one of ours.
    fn read(map: &str, attributes: &[u8]) -> Option<Port> {
        let key = find(find(attributes, 1)?, 1)?;
        let value = find(find(attributes, 2)?, 1)?;
        let is_v4 = !map.starts_with("ports6");
        let (address, port) = key.get(4..)?.split_at_checked(key.len().checked_sub(8)?)?;
        let host_ip = match (address.is_empty(), is_v4) {
            (false, _) => address_of(address)?,
            (true, true) => Ipv4Addr::UNSPECIFIED.into(),
            (true, false) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let (to, container_port) = value.split_at_checked(value.len().checked_sub(4)?)?;
        let mapping = Mapping {
            host_port: u16::from_be_bytes(*port.first_chunk()?),
            container_port: u16::from_be_bytes(*container_port.first_chunk()?),
            protocol: Protocol::of_number(*key.first()?)?,
            host_ip,
        };
        Some(Port { mapping, to: address_of(to)?, owner: owner(attributes).unwrap_or_default() })
    }
}

/// The ports in a message that lists elements: NFTA_SET_ELEM_LIST_SET 2, NFTA_SET_ELEM_LIST_ELEMENTS 3.
pub fn listed(attributes: &[u8]) -> Vec<Port> {
    let map = find(attributes, 2).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
    let map = map.trim_end_matches('\0');
    let Some(elements) = find(attributes, 3) else { return Vec::new() };
    let each = NlasIterator::new(elements).flatten();
    each.filter_map(|element| {
        let end = usize::from(element.length());
        Port::read(map, element.into_inner().get(4..end)?)
    })
    .collect()
}

fn owner(attributes: &[u8]) -> Option<String> {
    let userdata = find(attributes, 6)?;
    let length = usize::from(*userdata.get(1)?);
    let text = userdata.get(2..2 + length)?.strip_suffix(&[0])?;
    String::from_utf8(text.to_owned()).ok()
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?));
    v4().or_else(|| Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)))
}

fn padded(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host_ip: &str, to: &str) -> Port {
        Port {
            mapping: Mapping {
                host_port: 8080,
                container_port: 80,
                protocol: Protocol::Udp,
                host_ip: host_ip.parse().unwrap(),
            },
            to: to.parse().unwrap(),
            owner: "3f2a77c0d1e4".to_owned(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (host_ip, to) in [
            ("0.0.0.0", "172.29.0.2"),
            ("127.0.0.1", "172.29.0.2"),
            ("::", "fd00::2"),
            ("2001:db8::1", "fd00::2"),
        ] {
            let port = port(host_ip, to);
            let map = map_of(port.mapping.host_ip);
            assert_eq!(Port::read(map, &port.element().0), Some(port));
        }
    }

    #[test]
    fn nft_words() {
        assert_eq!(
            port("127.0.0.1", "172.29.0.2").text(),
            "udp . 127.0.0.1 . 8080 comment \"3f2a77c0d1e4\" : 172.29.0.2 . 80"
        );
        assert_eq!(port("::", "fd00::2").key_text(), "udp . 8080");
    }
}
