//! Ranges of addresses, as `host-local` is configured with them.
//!
//! Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Value, json};

use super::failure::{Failure, Outcome};

/// A range as it is written; what is left out follows from the subnet.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    pub subnet: IpNet,
    pub range_start: Option<IpAddr>,
    pub range_end: Option<IpAddr>,
    pub gateway: Option<IpAddr>,
}

#[derive(Debug)]
struct Range {
    subnet: IpNet,
    start: u128,
    end: u128,
    gateway: IpAddr,
}

/// Ranges of one family, of which a container gets one address.
#[derive(Debug)]
pub struct RangeSet(Vec<Range>);

impl RangeSet {
    /// # Errors
    /// A range is none, or they are not of one family, or two have an address in common. `index` is for the message.
    pub fn new(index: usize, written: &[Written]) -> Outcome<RangeSet> {
        let wrong = |what: String| Failure::new(7, format!("invalid range set {index}: {what}"));
        let ranges: Vec<Range> = written.iter().map(Range::new).collect::<Result<_, _>>().map_err(wrong)?;
        let Some(first) = ranges.first() else { return Err(wrong("empty range set".to_owned())) };
        let is_v4 = |range: &Range| range.gateway.is_ipv4();
        if ranges.iter().any(|range| is_v4(range) != is_v4(first)) {
            return Err(wrong("mixed address families".to_owned()));
        }
        for (n, one) in ranges.iter().enumerate() {
            if let Some(other) = ranges[..n].iter().find(|other| other.overlaps(one)) {
                return Err(wrong(format!("subnets {other} and {one} overlap")));
            }
        }
        Ok(RangeSet(ranges))
    }

    pub fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.has(address))
    }

    pub fn is_gateway(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.gateway == address)
    }

    /// All addresses but gateways, beginning behind this one and going round.
    pub fn behind(&self, last: Option<IpAddr>) -> impl Iterator<Item = IpAddr> {
        let at = last.and_then(|last| Some((self.0.iter().position(|range| range.has(last))?, number(last))));
        let (index, last) = at.unwrap_or((0, self.0[0].start.wrapping_sub(1)));
        let whole = |range: &Range| (range.is_v4(), range.start, range.end);
        let split = &self.0[index];
        let (before, behind) = (&self.0[..index], &self.0[index + 1..]);
        let order = std::iter::once((split.is_v4(), last.wrapping_add(1), split.end))
            .chain(behind.iter().map(whole))
            .chain(before.iter().map(whole))
            .chain(at.map(|_| (split.is_v4(), split.start, last)));
        let spans: Vec<_> = order.collect();
        let all = spans
            .into_iter()
            .flat_map(|(is_v4, start, end)| (start..=end).map(move |number| address(is_v4, number)));
        all.filter(|address| !self.is_gateway(*address))
    }

    /// An address of the set, as CNI's `ips` has it.
    pub fn as_ip(&self, address: IpAddr) -> Value {
        let range = self.0.iter().find(|range| range.has(address)).unwrap_or(&self.0[0]);
        json!({"address": format!("{address}/{}", range.subnet.prefix_len()), "gateway": range.gateway})
    }
}

impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(Range::to_string).collect();
        f.write_str(&texts.join(","))
    }
}

impl Range {
    fn new(written: &Written) -> Result<Range, String> {
        let subnet = written.subnet;
        let bits = if subnet.addr().is_ipv4() { 32 } else { 128 };
        if subnet.prefix_len() > bits - 2 {
            return Err(format!("Network {subnet} too small to allocate from"));
        }
        if subnet.addr() != subnet.network() {
            return Err(format!(
                "Network has host bits set. For a subnet mask of length {} the network address is {}",
                subnet.prefix_len(),
                subnet.network()
            ));
        }
        // The last address of IPv4 is the broadcast's.
        let last = number(subnet.broadcast()) - u128::from(bits == 32);
        let first = address(bits == 32, number(subnet.network()) + 1);
        let inside = |name: &str, wanted: Option<IpAddr>, default: u128| match wanted {
            None => Ok(default),
            Some(address) if subnet.contains(&address) => Ok(number(address)),
            Some(address) => Err(format!("{name} {address} not in network {subnet}")),
        };
        Ok(Range {
            subnet,
            start: inside("RangeStart", written.range_start, number(first))?,
            end: inside("RangeEnd", written.range_end, last)?,
            gateway: written.gateway.unwrap_or(first),
        })
    }

    fn is_v4(&self) -> bool {
        self.subnet.addr().is_ipv4()
    }

    fn has(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_v4() && (self.start..=self.end).contains(&number(address))
    }

    fn overlaps(&self, other: &Range) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}-{}", address(self.is_v4(), self.start), address(self.is_v4(), self.end))
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// The address of this number, which one of its family had.
fn address(is_v4: bool, number: u128) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if is_v4 => Ipv4Addr::from(number).into(),
        _ => Ipv6Addr::from(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Outcome<RangeSet> {
        RangeSet::new(0, &serde_json::from_str::<Vec<Written>>(text).unwrap())
    }

    #[test]
    fn the_search_goes_round_from_where_it_was() {
        let set =
            set(r#"[{"subnet":"10.1.0.0/29","rangeStart":"10.1.0.5"},{"subnet":"10.1.1.0/30"}]"#).unwrap();
        let seen = |last: Option<&str>| {
            let all = set.behind(last.map(|last| last.parse().unwrap()));
            all.map(|address| address.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(seen(None), "10.1.0.5 10.1.0.6 10.1.1.2");
        assert_eq!(seen(Some("10.1.0.5")), "10.1.0.6 10.1.1.2 10.1.0.5");
        assert_eq!(seen(Some("10.1.1.2")), "10.1.0.5 10.1.0.6 10.1.1.2");
        // One of another configuration.
        assert_eq!(seen(Some("10.9.9.9")), seen(None));
        assert_eq!(set.to_string(), "10.1.0.5-10.1.0.6,10.1.1.1-10.1.1.2");
    }

    #[test]
    fn what_is_no_range() {
        for text in [
            "[]",
            r#"[{"subnet":"10.1.0.0/31"}]"#,
            r#"[{"subnet":"10.1.0.7/24"}]"#,
            r#"[{"subnet":"10.1.0.0/24","rangeEnd":"10.2.0.0"}]"#,
            r#"[{"subnet":"10.1.0.0/24"},{"subnet":"fd00::/64"}]"#,
            r#"[{"subnet":"10.1.0.0/24"},{"subnet":"10.1.0.0/25"}]"#,
        ] {
            assert!(set(text).is_err(), "{text}");
        }
    }
}
