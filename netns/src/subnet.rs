//! A bridge's subnet: which address is the gateway's, which ones containers may have, and where to look first.
//!
//! Pure: it does not know which addresses are taken.

use std::net::Ipv4Addr;
use std::str::FromStr;

use anyhow::{Result, bail};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use stage::Id;

/// Network, gateway and broadcast address are not for containers.
const NOT_FOR_CONTAINERS: u32 = 3;

/// An IPv4 subnet with room for a gateway and at least one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    #[serde(rename = "subnet")]
    net: Ipv4Net,
    gateway: Ipv4Addr,
}

impl Subnet {
    pub fn net(self) -> Ipv4Net {
        self.net
    }

    /// The bridge's own address: the first one, unless another was asked for.
    pub fn gateway(self) -> Ipv4Addr {
        self.gateway
    }

    pub fn has_first_as_gateway(self) -> bool {
        self.gateway == self.nth(1)
    }

    /// The same subnet with another gateway.
    pub fn with_gateway(self, gateway: Ipv4Addr) -> Result<Subnet> {
        if !self.net.contains(&gateway) {
            bail!("cannot use gateway {gateway}: it is not in {self}");
        }
        if gateway == self.net.network() || gateway == self.net.broadcast() {
            bail!("cannot use gateway {gateway}: it is the network's own or its broadcast address");
        }
        Ok(Subnet { gateway, ..self })
    }

    pub fn overlaps(self, other: Subnet) -> bool {
        self.net.contains(&other.net.network()) || other.net.contains(&self.net.network())
    }

    /// How many containers have room.
    pub fn room(self) -> u32 {
        (u32::MAX >> self.net.prefix_len()).saturating_sub(NOT_FOR_CONTAINERS - 1)
    }

    /// The address of container number `index` of [`room`](Subnet::room), counted from 0: the gateway's is none.
    pub fn address(self, index: u32) -> Ipv4Addr {
        let address = self.nth(1 + index);
        if address < self.gateway { address } else { self.nth(2 + index) }
    }

    /// Where to look for an address for this container: spread over the subnet, so that containers which are
    /// made side by side seldom want the same, and the same container wants the same again.
    pub fn candidates(self, id: &Id) -> impl Iterator<Item = Ipv4Addr> {
        let digits = |range| u64::from_str_radix(&id.as_str()[range], 16).unwrap_or_default();
        let room = u64::from(self.room());
        let start = digits(12..27) % room;
        // A step without a divisor in common with the room comes by every address once.
        let step = (1 + digits(27..42) % room..).find(|step| gcd(*step, room) == 1).unwrap_or(1);
        (0..room).map(move |n| {
            let index = (start + n * step) % room;
            self.address(u32::try_from(index).unwrap_or_default())
        })
    }

    /// Checks an address that somebody asked for.
    pub fn admits(self, address: Ipv4Addr) -> Result<()> {
        if !self.net.contains(&address) {
            bail!("cannot use address {address}: it is not in {self}");
        }
        if address == self.gateway() {
            bail!("cannot use address {address}: it is the gateway's");
        }
        if address == self.net.network() || address == self.net.broadcast() {
            bail!("cannot use address {address}: it is the network's own or its broadcast address");
        }
        Ok(())
    }

    fn nth(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.net.network()) + offset)
    }
}

fn gcd(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { gcd(other, one % other) }
}

impl FromStr for Subnet {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Subnet> {
        let Ok(net) = text.parse::<Ipv4Net>() else {
            bail!("a subnet is written like 172.29.0.0/16, not {text:?}");
        };
        Subnet::try_from(net)
    }
}

impl TryFrom<Ipv4Net> for Subnet {
    type Error = anyhow::Error;

    fn try_from(net: Ipv4Net) -> Result<Subnet> {
        if !(4..=30).contains(&net.prefix_len()) {
            bail!("a subnet for containers has a prefix length from 4 to 30, not {}", net.prefix_len());
        }
        let net = net.trunc();
        Ok(Subnet { net, gateway: Ipv4Addr::from(u32::from(net.network()) + 1) })
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.net.fmt(f)
    }
}

/// The hardware address that goes with an IPv4 address, as docker's: whoever gets the address next has the
/// same one, so that the host's and the neighbours' ARP caches stay right.
pub fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// A hardware address that somebody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Mac> {
        let byte = |word: &str| u8::from_str_radix(word, 16).ok().filter(|_| word.len() == 2);
        let bytes: Option<Vec<u8>> = text.split([':', '-']).map(byte).collect();
        let Some(mac) = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok()) else {
            bail!("a hardware address is written like 02:42:ac:1d:00:02, not {text:?}");
        };
        if mac[0] & 1 == 1 || mac == [0; 6] {
            bail!("{text} is no hardware address of one interface");
        }
        Ok(Mac(mac))
    }
}

/// A hardware address in the usual notation.
pub fn mac_text(mac: &[u8]) -> String {
    mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    fn id(text: &str) -> Id {
        format!("{text:0>64}").parse().unwrap()
    }

    #[test]
    fn room_is_what_network_gateway_and_broadcast_leave() {
        assert_eq!((subnet("10.0.0.0/30").room(), subnet("10.0.0.0/24").room()), (1, 253));
        assert_eq!(subnet("172.29.0.0/16").address(0), Ipv4Addr::new(172, 29, 0, 2));
        assert_eq!(subnet("172.29.0.0/16").address(65532), Ipv4Addr::new(172, 29, 255, 254));
    }

    #[test]
    fn candidates_are_addresses_for_containers_and_the_same_every_time() {
        for text in ["10.0.0.0/30", "10.0.0.4/29", "172.29.0.0/16"] {
            let net = subnet(text);
            let first: Vec<_> = net.candidates(&id("f00d")).take(20).collect();
            assert!(first.iter().all(|address| net.admits(*address).is_ok()), "{text}: {first:?}");
            assert_eq!(first, net.candidates(&id("f00d")).take(20).collect::<Vec<_>>());
        }
    }

    #[test]
    fn candidates_are_all_addresses_each_once() {
        for text in ["10.0.0.0/30", "10.0.0.0/29", "10.0.0.0/28", "10.0.0.0/24", "10.0.0.0/20"] {
            let net = subnet(text);
            for _ in 0..20 {
                let candidates: BTreeSet<_> = net.candidates(&Id::mint().unwrap()).collect();
                assert_eq!(candidates.len(), net.room() as usize, "{text}");
            }
        }
    }

    #[test]
    fn another_gateway_is_not_for_containers() {
        let net = subnet("10.0.0.0/29").with_gateway("10.0.0.4".parse().unwrap()).unwrap();
        let addresses: Vec<String> = (0..net.room()).map(|index| net.address(index).to_string()).collect();
        assert_eq!(addresses, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.5", "10.0.0.6"]);
        assert!(subnet("10.0.0.0/29").with_gateway("10.0.0.7".parse().unwrap()).is_err());
    }

    #[test]
    fn containers_are_spread() {
        let net = subnet("172.29.0.0/16");
        let minted: BTreeSet<_> =
            (0..100).filter_map(|_| net.candidates(&Id::mint().unwrap()).next()).collect();
        assert!(minted.len() > 95, "{}", minted.len());
    }

    #[test]
    fn hardware_addresses() {
        assert_eq!("02:42:ac:1D:00:02".parse::<Mac>().unwrap().0, [0x02, 0x42, 0xac, 0x1d, 0, 2]);
        for text in ["", "02:42:ac:1d:00", "02:42:ac:1d:00:2", "01:00:5e:00:00:01", "00:00:00:00:00:00"] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn host_bits_are_cut_off() {
        assert_eq!(subnet("10.1.2.3/24").to_string(), "10.1.2.0/24");
    }

    #[test]
    fn what_is_not_for_containers_is_refused() {
        let net = subnet("10.0.0.0/24");
        let refusal = |text: &str| net.admits(text.parse().unwrap()).unwrap_err().to_string();
        assert_eq!(refusal("10.0.1.2"), "cannot use address 10.0.1.2: it is not in 10.0.0.0/24");
        assert_eq!(refusal("10.0.0.1"), "cannot use address 10.0.0.1: it is the gateway's");
        assert!(refusal("10.0.0.255").ends_with("its broadcast address"));
        assert!("10.0.0.0/31".parse::<Subnet>().is_err());
    }
}
