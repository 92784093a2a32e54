//! A bridge's subnet of IPv6: a container's address follows from its IPv4 address, whose lease is then that of both.
//!
//! Pure, but for [`Subnet6::random`].

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use anyhow::{Result, bail};
use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};
use stage::Id;

/// A subnet of IPv6 with room for every address of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Ipv6Net", into = "Ipv6Net")]
pub struct Subnet6(Ipv6Net);

impl Subnet6 {
    /// A prefix that nobody else has, in all probability: fd00::/8 and 40 random bits (RFC 4193, 3.2).
    pub fn random() -> Result<Subnet6> {
        let id = Id::mint()?;
        let bits = u128::from_str_radix(&id.as_str()[..10], 16)?;
        Subnet6::try_from(Ipv6Net::new(Ipv6Addr::from(0xfd << 120 | bits << 80), 64)?)
    }

    pub fn net(self) -> Ipv6Net {
        self.0
    }

    /// The bridge's own address: the first one.
    pub fn gateway(self) -> Ipv6Addr {
        self.with(1)
    }

    /// The address that goes with an IPv4 address: its last 32 bits.
    pub fn address_of(self, address: Ipv4Addr) -> Ipv6Addr {
        self.with(u32::from(address))
    }

    fn with(self, last: u32) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.0.network()) | u128::from(last))
    }

    /// Whether nobody outside knows the way to it (fc00::/7): then what leaves must have this host's address.
    pub fn is_private(self) -> bool {
        self.0.network().segments()[0] & 0xfe00 == 0xfc00
    }

    /// Checks an address that somebody asked for. Those that go with an IPv4 address are kept for whoever has that.
    pub fn admits(self, address: Ipv6Addr) -> Result<()> {
        if !self.0.contains(&address) {
            bail!("cannot use address {address}: it is not in {self}");
        }
        let host = u128::from(address) & !u128::from(self.0.netmask());
        if host <= u128::from(u32::MAX) {
            bail!(
                "cannot use address {address}: the last 32 bits alone are for addresses that follow from IPv4's"
            );
        }
        Ok(())
    }
}

impl TryFrom<Ipv6Net> for Subnet6 {
    type Error = anyhow::Error;

    fn try_from(net: Ipv6Net) -> Result<Subnet6> {
        if !(16..=95).contains(&net.prefix_len()) {
            bail!("a subnet of IPv6 has a prefix length from 16 to 95, not {}", net.prefix_len());
        }
        Ok(Subnet6(net.trunc()))
    }
}

impl From<Subnet6> for Ipv6Net {
    fn from(subnet: Subnet6) -> Ipv6Net {
        subnet.0
    }
}

impl FromStr for Subnet6 {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Subnet6> {
        let Ok(net) = text.parse::<Ipv6Net>() else {
            bail!("a subnet of IPv6 is written like fd00:1:2:3::/64, not {text:?}");
        };
        Subnet6::try_from(net)
    }
}

impl std::fmt::Display for Subnet6 {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_from_ipv4() {
        let subnet: Subnet6 = "fd00:1:2:3::9/64".parse().unwrap();
        assert_eq!(
            (subnet.to_string(), subnet.gateway().to_string()),
            ("fd00:1:2:3::/64".into(), "fd00:1:2:3::1".into())
        );
        assert_eq!(subnet.address_of(Ipv4Addr::new(172, 29, 0, 2)).to_string(), "fd00:1:2:3::ac1d:2");
        subnet.admits("fd00:1:2:3:5::1".parse().unwrap()).unwrap();
        assert!(subnet.admits("fd00:1:2:3::5".parse().unwrap()).is_err());
        assert!(subnet.admits("fd00:1:2:4:5::1".parse().unwrap()).is_err());
        assert!("fd00::/96".parse::<Subnet6>().is_err());
    }

    #[test]
    fn random_prefixes_are_private_and_differ() {
        let (one, other) = (Subnet6::random().unwrap(), Subnet6::random().unwrap());
        assert!(one.is_private() && one != other);
        assert!(!"2001:db8::/64".parse::<Subnet6>().unwrap().is_private());
    }
}
