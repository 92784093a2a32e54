//! `--publish`, in docker's syntax: `[hostIP:][hostPort[-range]:]containerPort[-range][/protocol]`.
//!
//! Pure: which ports are free is not known here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// What a port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    const ALL: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

    /// IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }

    pub fn of_number(number: u8) -> Option<Protocol> {
        Protocol::ALL.into_iter().find(|protocol| protocol.number() == number)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

impl FromStr for Protocol {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Protocol> {
        let wanted = text.to_ascii_lowercase();
        let found = Protocol::ALL.into_iter().find(|protocol| protocol.to_string() == wanted);
        found.with_context(|| format!("invalid proto: {text}"))
    }
}

/// A published port, as CNI writes it (`portMappings`, conventions for the capability).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mapping {
    pub host_port: u16,
    pub container_port: u16,
    pub protocol: Protocol,
    #[serde(rename = "hostIP")]
    pub host_ip: IpAddr,
}

impl Mapping {
    /// Where it is on the host, as docker writes it: `0.0.0.0:80`, `[::1]:80`.
    pub fn place(&self) -> String {
        std::net::SocketAddr::new(self.host_ip, self.host_port).to_string()
    }

    /// Whether both cannot be there: the same port of the same address, or one of them is of every address.
    pub fn excludes(&self, other: &Mapping) -> bool {
        let (one, two) = (self.host_ip, other.host_ip);
        self.protocol == other.protocol
            && self.host_port == other.host_port
            && one.is_ipv4() == two.is_ipv4()
            && (one == two || one.is_unspecified() || two.is_unspecified())
    }
}

/// Which port of the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPort {
    Exactly(u16),
    /// The first free one of these.
    OneOf(RangeInclusive<u16>),
    /// Any that is free, of those that the kernel gives away.
    Any,
}

/// One port of the container's that is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// `None`: all addresses, of each family that the container has.
    pub host_ip: Option<IpAddr>,
    pub host_port: HostPort,
    pub container_port: u16,
    pub protocol: Protocol,
}

impl Wish {
    /// The addresses of the host's that it is to be published on.
    pub fn host_ips(&self) -> Vec<IpAddr> {
        match self.host_ip {
            Some(address) => vec![address],
            None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        }
    }
}

/// One `--publish`: a port, or a range of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish(pub Vec<Wish>);

impl FromStr for Publish {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Publish> {
        let (places, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = protocol.parse()?;
        let (rest, container) = places.rsplit_once(':').unwrap_or(("", places));
        if container.is_empty() {
            bail!("no port specified: {text}<empty>");
        }
        let container = range(container).with_context(|| format!("invalid containerPort: {container}"))?;
        let (host_ip, host) = split_host(rest, places.contains(':'))?;
        let host = match host {
            "" => None,
            word => Some(range(word).with_context(|| format!("invalid hostPort: {word}"))?),
        };
        let wish = |(container_port, host_port)| Wish { host_ip, host_port, container_port, protocol };
        Ok(Publish(pairs(&container, host.as_ref())?.into_iter().map(wish).collect()))
    }
}

/// What stands before the container's port: an address, and a port or nothing.
fn split_host(text: &str, is_there: bool) -> Result<(Option<IpAddr>, &str)> {
    if !is_there || !text.contains(':') {
        return Ok((None, text));
    }
    let (address, port) = text.rsplit_once(':').unwrap_or_default();
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    match bare.parse() {
        Ok(parsed) => Ok((Some(parsed), port)),
        // Also docker takes an address that is left out for all addresses.
        Err(_) if address.is_empty() => Ok((None, port)),
        Err(_) => bail!("invalid IP address: {address}"),
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..=last)
}

/// Which port of the container's is which of the host's.
fn pairs(
    container: &RangeInclusive<u16>,
    host: Option<&RangeInclusive<u16>>,
) -> Result<Vec<(u16, HostPort)>> {
    if *container.start() == 0 {
        bail!("invalid containerPort: 0");
    }
    match host {
        None => Ok(container.clone().map(|port| (port, HostPort::Any)).collect()),
        Some(host) if *host == (0..=0) => Ok(container.clone().map(|port| (port, HostPort::Any)).collect()),
        Some(host) if host.len() == container.len() => {
            Ok(container.clone().zip(host.clone().map(HostPort::Exactly)).collect())
        }
        Some(host) if container.len() == 1 => Ok(vec![(*container.start(), HostPort::OneOf(host.clone()))]),
        Some(host) => bail!(
            "Invalid ranges specified for container and host Ports: {}-{} and {}-{}",
            container.start(),
            container.end(),
            host.start(),
            host.end()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(text: &str) -> Vec<Wish> {
        text.parse::<Publish>().unwrap().0
    }

    fn one(text: &str) -> (Option<String>, HostPort, u16, String) {
        let [wish] = <[Wish; 1]>::try_from(wishes(text)).unwrap();
        (
            wish.host_ip.map(|ip| ip.to_string()),
            wish.host_port,
            wish.container_port,
            wish.protocol.to_string(),
        )
    }

    fn refusal(text: &str) -> String {
        format!("{:#}", text.parse::<Publish>().unwrap_err())
    }

    #[test]
    fn every_form_that_docker_takes() {
        let at = |ip: &str| Some(ip.to_owned());
        use HostPort::{Any, Exactly, OneOf};
        assert_eq!(one("80"), (None, Any, 80, "tcp".into()));
        assert_eq!(one("80/udp"), (None, Any, 80, "udp".into()));
        assert_eq!(one("8080:80"), (None, Exactly(8080), 80, "tcp".into()));
        assert_eq!(one("0:80"), (None, Any, 80, "tcp".into()));
        assert_eq!(one(":80"), (None, Any, 80, "tcp".into()));
        assert_eq!(one("8000-8010:80/TCP"), (None, OneOf(8000..=8010), 80, "tcp".into()));
        assert_eq!(one("127.0.0.1:8080:80"), (at("127.0.0.1"), Exactly(8080), 80, "tcp".into()));
        assert_eq!(one("127.0.0.1::80"), (at("127.0.0.1"), Any, 80, "tcp".into()));
        assert_eq!(one("[::1]:8080:80"), (at("::1"), Exactly(8080), 80, "tcp".into()));
        assert_eq!(one("2001:db8::1:8080:80"), (at("2001:db8::1"), Exactly(8080), 80, "tcp".into()));
        assert_eq!(one("[2001:db8::1]::80"), (at("2001:db8::1"), Any, 80, "tcp".into()));
    }

    #[test]
    fn ranges_go_side_by_side() {
        let ports: Vec<_> =
            wishes("8000-8002:80-82").into_iter().map(|w| (w.host_port, w.container_port)).collect();
        let expected = [(8000, 80), (8001, 81), (8002, 82)];
        assert_eq!(ports, expected.map(|(host, container)| (HostPort::Exactly(host), container)));
        assert_eq!(wishes("80-82").len(), 3);
    }

    #[test]
    fn what_docker_refuses_in_dockers_words() {
        assert_eq!(refusal(""), "no port specified: <empty>");
        assert_eq!(refusal("8080:"), "no port specified: 8080:<empty>");
        assert_eq!(refusal("8080:x"), "invalid containerPort: x");
        assert_eq!(refusal("x:80"), "invalid hostPort: x");
        assert_eq!(refusal("65536:80"), "invalid hostPort: 65536");
        assert_eq!(refusal("90-80"), "invalid containerPort: 90-80");
        assert_eq!(refusal("0"), "invalid containerPort: 0");
        assert_eq!(refusal("80/icmp"), "invalid proto: icmp");
        assert_eq!(refusal("localhost:80:80"), "invalid IP address: localhost");
        assert_eq!(
            refusal("80-81:8000-8005"),
            "Invalid ranges specified for container and host Ports: 8000-8005 and 80-81"
        );
    }

    #[test]
    fn a_port_of_all_addresses_excludes_that_of_one() {
        let mapping = |ip: &str, protocol| Mapping {
            host_port: 80,
            container_port: 1,
            protocol,
            host_ip: ip.parse().unwrap(),
        };
        let any = mapping("0.0.0.0", Protocol::Tcp);
        assert!(any.excludes(&mapping("127.0.0.1", Protocol::Tcp)));
        assert!(mapping("127.0.0.1", Protocol::Tcp).excludes(&any));
        assert!(!mapping("127.0.0.1", Protocol::Tcp).excludes(&mapping("192.0.2.1", Protocol::Tcp)));
        assert!(!any.excludes(&mapping("0.0.0.0", Protocol::Udp)));
        assert!(!any.excludes(&mapping("::", Protocol::Tcp)));
    }
}
