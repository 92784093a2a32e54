//! What an engine asks: the environment and the configuration of CNI's specification, sections 1 and 2.

use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;
use stage::Id;

use super::failure::{Failure, Outcome};
use super::ranges::{RangeSet, Written};
use crate::publish::{HostPort, Protocol, Publish, Wish};
use crate::subnet::{Mac, Subnet};
use crate::subnet6::Subnet6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Add,
    Del,
    Check,
    Gc,
    Status,
    Version,
}

impl Command {
    pub fn from_environment() -> Outcome<Command> {
        match variable("CNI_COMMAND")?.as_str() {
            "ADD" => Ok(Command::Add),
            "DEL" => Ok(Command::Del),
            "CHECK" => Ok(Command::Check),
            "GC" => Ok(Command::Gc),
            "STATUS" => Ok(Command::Status),
            "VERSION" => Ok(Command::Version),
            other => Err(Failure::new(4, format!("unknown CNI_COMMAND: {other}"))),
        }
    }

    fn is_about_a_container(self) -> bool {
        matches!(self, Command::Add | Command::Del | Command::Check)
    }
}

fn variable(name: &str) -> Outcome<String> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(value),
        _ => Err(Failure::new(4, format!("required env variable {name} missing"))),
    }
}

/// The configuration of one plugin, as far as it is understood; other keys are other plugins'.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    #[serde(default = "oldest")]
    pub cni_version: String,
    #[serde(default)]
    pub name: String,
    pub bridge: Option<String>,
    pub mtu: Option<u32>,
    #[serde(default)]
    pub ipam: Ipam,
    pub dns: Option<Value>,
    #[serde(default)]
    pub runtime_config: RuntimeConfig,
    pub prev_result: Option<Value>,
    #[serde(rename = "cni.dev/valid-attachments")]
    pub valid_attachments: Option<Vec<AttachmentOf>>,
}

/// What a configuration without a version has, by the specification.
fn oldest() -> String {
    "0.1.0".to_owned()
}

/// How addresses are given: as `host-local` has it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ipam {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// A range that is written here, without a list, stands before those of `ranges`.
    subnet: Option<IpNet>,
    range_start: Option<IpAddr>,
    range_end: Option<IpAddr>,
    gateway: Option<IpAddr>,
    #[serde(default)]
    ranges: Vec<Vec<Written>>,
    #[serde(default)]
    pub routes: Vec<Value>,
    pub data_dir: Option<PathBuf>,
    pub resolv_conf: Option<PathBuf>,
}

impl Ipam {
    fn single(&self) -> Option<Written> {
        let Ipam { range_start, range_end, gateway, .. } = *self;
        Some(Written { subnet: self.subnet?, range_start, range_end, gateway })
    }

    /// What an address each is leased of.
    pub fn range_sets(&self) -> Outcome<Vec<RangeSet>> {
        let written = self.single().map(|range| vec![range]).into_iter().chain(self.ranges.clone());
        let sets = written.enumerate().map(|(index, ranges)| RangeSet::new(index, &ranges));
        let sets: Vec<RangeSet> = sets.collect::<Outcome<_>>()?;
        if sets.is_empty() {
            return Err(Failure::new(7, "no IP ranges specified"));
        }
        Ok(sets)
    }

    /// All ranges, of whatever set.
    fn all(&self) -> impl Iterator<Item = Written> {
        self.single().into_iter().chain(self.ranges.iter().flatten().cloned())
    }

    /// The subnet of IPv4, with the gateway that is set.
    pub fn subnet(&self) -> Outcome<Option<Subnet>> {
        let of_range = |range: Written| match range.subnet {
            IpNet::V4(net) => Some((net, range.gateway)),
            IpNet::V6(_) => None,
        };
        let Some((net, gateway)) = self.all().find_map(of_range) else { return Ok(None) };
        let subnet = Subnet::try_from(net).map_err(|error| configuration(&error))?;
        match gateway {
            Some(IpAddr::V4(gateway)) => {
                subnet.with_gateway(gateway).map(Some).map_err(|error| configuration(&error))
            }
            _ => Ok(Some(subnet)),
        }
    }

    /// The subnet of IPv6. Its gateway is the first address: a container's address follows from that of IPv4.
    pub fn subnet6(&self) -> Outcome<Option<Subnet6>> {
        let of_range = |range: Written| match range.subnet {
            IpNet::V6(net) => Some((net, range.gateway)),
            IpNet::V4(_) => None,
        };
        let Some((net, gateway)) = self.all().find_map(of_range) else { return Ok(None) };
        let subnet = Subnet6::try_from(net).map_err(|error| configuration(&error))?;
        match gateway {
            Some(gateway) if gateway != subnet.gateway() => {
                Err(Failure::new(2, format!("gateway {gateway} is not supported"))
                    .details(format!("the gateway of {subnet} is {}", subnet.gateway())))
            }
            _ => Ok(Some(subnet)),
        }
    }
}

fn configuration(error: &anyhow::Error) -> Failure {
    Failure::new(7, format!("{error:#}"))
}

/// What the engine adds for one container (conventions for capabilities).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeConfig {
    #[serde(default)]
    port_mappings: Vec<PortMapping>,
    #[serde(default)]
    ips: Vec<String>,
    mac: Option<String>,
    bandwidth: Option<Value>,
}

/// As the conventions spell it, and as containerd does.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PortMapping {
    #[serde(alias = "HostPort")]
    host_port: u16,
    #[serde(alias = "ContainerPort")]
    container_port: u16,
    #[serde(alias = "Protocol")]
    protocol: String,
    #[serde(default, rename = "hostIP", alias = "HostIP", alias = "hostIp")]
    host_ip: String,
}

/// One attachment that is still wanted.
#[derive(Debug, Deserialize)]
pub struct AttachmentOf {
    #[serde(rename = "containerID")]
    pub container_id: String,
    pub ifname: String,
}

impl AttachmentOf {
    pub fn id(&self) -> Outcome<Id> {
        id_of(&self.container_id, &self.ifname)
    }
}

impl RuntimeConfig {
    /// The ports to publish.
    pub fn ports(&self) -> Outcome<Vec<Publish>> {
        let wish = |mapping: &PortMapping| -> Outcome<Wish> {
            let wrong = |what: String| Failure::new(7, format!("runtimeConfig.portMappings: {what}"));
            let protocol: Protocol = mapping.protocol.parse().map_err(|error| wrong(format!("{error}")))?;
            let host_ip = match mapping.host_ip.as_str() {
                "" => None,
                text => Some(text.parse().map_err(|error| wrong(format!("{text}: {error}")))?),
            };
            let host_port = HostPort::Exactly(mapping.host_port);
            Ok(Wish { host_ip, host_port, container_port: mapping.container_port, protocol })
        };
        // A port of 0 is one that is not published (containerd's).
        let published = self.port_mappings.iter().filter(|mapping| mapping.host_port != 0);
        Ok(vec![Publish(published.map(wish).collect::<Outcome<_>>()?)])
    }

    pub fn mac(&self) -> Outcome<Option<Mac>> {
        let wrong = |error: anyhow::Error| Failure::new(7, format!("runtimeConfig.mac: {error}"));
        self.mac.as_ref().map(|text| text.parse().map_err(wrong)).transpose()
    }
}

/// One call.
#[derive(Debug)]
pub struct Request {
    pub config: Config,
    /// Empty but for ADD, DEL, CHECK.
    pub container_id: String,
    ifname: String,
    pub netns: Option<PathBuf>,
}

impl Request {
    pub fn read(command: Command) -> Outcome<Request> {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map_err(|error| Failure::new(5, format!("cannot read the configuration: {error}")))?;
        if text.trim().is_empty() && command == Command::Version {
            text = format!("{{\"cniVersion\":\"{}\"}}", super::VERSIONS[super::VERSIONS.len() - 1]);
        }
        let config: Config = serde_json::from_str(&text)
            .map_err(|error| Failure::new(6, format!("cannot decode the configuration: {error}")))?;
        let mut request = Request { config, container_id: String::new(), ifname: String::new(), netns: None };
        if command.is_about_a_container() {
            request.container_id = variable("CNI_CONTAINERID")?;
            request.ifname = variable("CNI_IFNAME")?;
            request.netns = match variable("CNI_NETNS") {
                Ok(path) => Some(path.into()),
                // What is gone is taken back all the same.
                Err(_) if command == Command::Del => None,
                Err(failure) => return Err(failure),
            };
        }
        if request.config.runtime_config.bandwidth.as_ref().is_some_and(|limits| !limits.is_null()) {
            return Err(Failure::new(2, "runtimeConfig.bandwidth is not supported")
                .details("put the plugin bandwidth behind this one"));
        }
        Ok(request)
    }

    /// Those that GC is to leave alone.
    pub fn valid_attachments(&self) -> Outcome<&[AttachmentOf]> {
        let missing = || Failure::new(7, "cni.dev/valid-attachments is missing");
        self.config.valid_attachments.as_deref().ok_or_else(missing)
    }

    /// All addresses that were asked for: of `runtimeConfig.ips`, and of the key IP of CNI_ARGS.
    pub fn wanted_ips(&self) -> Outcome<Vec<IpAddr>> {
        let args = std::env::var("CNI_ARGS").unwrap_or_default();
        let of_args =
            args.split(';').filter_map(|word| word.strip_prefix("IP=")).flat_map(|ips| ips.split(','));
        let texts = of_args.chain(self.config.runtime_config.ips.iter().map(String::as_str));
        let address = |text: &str| {
            let (address, _) = text.split_once('/').unwrap_or((text, ""));
            address.parse().map_err(|error| Failure::new(7, format!("invalid address {text}: {error}")))
        };
        texts.map(address).collect()
    }

    /// The container's end.
    pub fn interface(&self) -> &str {
        &self.ifname
    }

    /// The namespace, which must be given.
    pub fn namespace(&self) -> Outcome<&PathBuf> {
        self.netns.as_ref().ok_or_else(|| Failure::new(4, "required env variable CNI_NETNS missing"))
    }

    /// The id of this attachment among ours.
    pub fn id(&self) -> Outcome<Id> {
        id_of(&self.container_id, &self.ifname)
    }
}

/// A container's own id where it is one of ours' shape; for others, and for a container's further interfaces, one that
/// is made of both.
fn id_of(container_id: &str, ifname: &str) -> Outcome<Id> {
    if let (Ok(id), "eth0") = (container_id.parse(), ifname) {
        return Ok(id);
    }
    let text: String = (0u8..4).map(|n| format!("{:016x}", hash(n, container_id, ifname))).collect();
    text.parse().map_err(|error: anyhow::Error| Failure::own(&error))
}

/// FNV-1a (Fowler, Noll, Vo): names must differ, nobody need be deceived.
fn hash(seed: u8, container_id: &str, ifname: &str) -> u64 {
    let bytes = [seed].into_iter().chain(container_id.bytes()).chain([0]).chain(ifname.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_port_mappings() {
        let text = r#"{"portMappings":[
            {"hostPort":80,"containerPort":8080,"protocol":"tcp"},
            {"HostPort":81,"ContainerPort":8081,"Protocol":"UDP","HostIP":"127.0.0.1"},
            {"HostPort":0,"ContainerPort":1,"Protocol":"tcp","HostIP":""}]}"#;
        let config: RuntimeConfig = serde_json::from_str(text).unwrap();
        let ports = config.ports().unwrap();
        let [first, second] = &ports[0].0[..] else { panic!("{ports:?}") };
        assert_eq!((first.container_port, first.host_ip), (8080, None));
        assert_eq!((second.protocol, second.host_ip), (Protocol::Udp, Some([127, 0, 0, 1].into())));
    }

    #[test]
    fn a_containers_interfaces_have_ids_of_their_own() {
        let own = "a".repeat(64);
        assert_eq!(id_of(&own, "eth0").unwrap().as_str(), own);
        let ids = [id_of(&own, "eth1"), id_of("pod", "eth0"), id_of("pod", "eth1"), id_of("pode", "th1")];
        let ids: std::collections::BTreeSet<String> =
            ids.into_iter().map(|id| id.unwrap().to_string()).collect();
        assert_eq!(ids.len(), 4);
    }

    #[test]
    fn the_subnet_of_host_locals_two_forms() {
        for text in [
            r#"{"type":"host-local","subnet":"10.88.0.0/16","gateway":"10.88.0.1"}"#,
            r#"{"type":"host-local","ranges":[[{"subnet":"fd00::/64"}],[{"subnet":"10.88.0.0/16"}]]}"#,
        ] {
            let ipam: Ipam = serde_json::from_str(text).unwrap();
            assert_eq!(ipam.subnet().unwrap().unwrap(), "10.88.0.0/16".parse().unwrap());
        }
    }
}
