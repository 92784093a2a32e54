//! The section `network`: a CNI result, version 1.1.0, the namespace's path, and the published ports.
//!
//! Pure.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Serialize;

use crate::dns::Resolv;
use crate::ground::Lan;
use crate::inside::{self, Reach};
use crate::publish::Mapping;
use crate::subnet::mac_text;
use crate::veth::Pair;

/// CNI's success result (specification 1.1, section 5), with `netns` and `portMappings` of ours.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    cni_version: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<Interface>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<Ip>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Route>,
    dns: Resolv,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    port_mappings: Vec<Mapping>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hosts: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Interface {
    name: String,
    mac: String,
    mtu: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    sandbox: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Ip {
    address: String,
    gateway: IpAddr,
    /// Index in `interfaces`.
    interface: usize,
}

#[derive(Debug, Serialize)]
struct Route {
    dst: &'static str,
    gw: IpAddr,
}

impl Network {
    /// A network without interfaces of ours: none at all, or, without a path, the caller's.
    pub fn bare(netns: Option<PathBuf>, dns: Resolv) -> Network {
        let (interfaces, ips, routes) = (Vec::new(), Vec::new(), Vec::new());
        let (cni_version, port_mappings) = ("1.1.0", Vec::new());
        Network {
            cni_version,
            interfaces,
            ips,
            routes,
            dns,
            netns,
            port_mappings,
            hostname: None,
            hosts: None,
        }
    }

    /// With these ports published.
    pub fn publishing(self, port_mappings: Vec<Mapping>) -> Network {
        Network { port_mappings, ..self }
    }

    /// A container with this host name, and with this file, if any, as `/etc/hosts`.
    pub fn known(self, hostname: Option<String>, hosts: Option<PathBuf>) -> Network {
        Network { hostname, hosts, ..self }
    }

    /// A container on a bridge.
    pub fn bridged(netns: PathBuf, pair: &Pair, lan: &Lan, dns: Resolv) -> Network {
        let Lan { bridge, reach } = lan;
        let before = [
            Interface::new(&bridge.name, &bridge.mac, bridge.mtu),
            Interface::new(&pair.host.name, &pair.host.mac, pair.host.mtu),
        ];
        Network::bare(Some(netns), dns).with(before.into(), &pair.inside, pair.host.mtu, *reach)
    }

    /// A container with an interface of its own right on the parent's network.
    pub fn direct(
        netns: PathBuf,
        inside: &inside::Interface,
        mtu: u32,
        reach: Reach,
        dns: Resolv,
    ) -> Network {
        Network::bare(Some(netns), dns).with(Vec::new(), inside, mtu, reach)
    }

    /// With the container's interface behind those of the host.
    fn with(
        self,
        mut interfaces: Vec<Interface>,
        inside: &inside::Interface,
        mtu: u32,
        reach: Reach,
    ) -> Network {
        let index = interfaces.len();
        let sandbox = self.netns.clone();
        interfaces.push(Interface { sandbox, ..Interface::new(&inside.name, &inside.mac, mtu) });
        let ip = |address: IpAddr, prefix: u8, gateway| Ip {
            address: format!("{address}/{prefix}"),
            gateway,
            interface: index,
        };
        let gateway = reach.subnet.gateway().into();
        let mut ips = vec![ip(inside.address.into(), reach.subnet.net().prefix_len(), gateway)];
        let mut routes = vec![Route { dst: "0.0.0.0/0", gw: gateway }];
        if let (Some(subnet6), Some(address)) = (reach.subnet6, inside.address6) {
            let gateway = subnet6.gateway().into();
            ips.push(ip(address.into(), subnet6.net().prefix_len(), gateway));
            routes.push(Route { dst: "::/0", gw: gateway });
        }
        if !reach.leads_out {
            routes.clear();
        }
        Network { interfaces, ips, routes, ..self }
    }
}

impl Interface {
    fn new(name: &str, mac: &[u8], mtu: u32) -> Interface {
        Interface { name: name.to_owned(), mac: mac_text(mac), mtu, sandbox: None }
    }
}
