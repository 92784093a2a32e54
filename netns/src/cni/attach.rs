//! An interface on a bridge of ours, in a namespace of the engine's.

use std::net::IpAddr;

use serde_json::Value;
use stage::{Roots, RunRoot};

use super::answer;
use super::failure::{Failure, Outcome};
use super::request::Request;
use crate::cli::{Network as Kind, Setup};
use crate::dirs::Dirs;
use crate::lock::Lock;
use crate::network::{Defined, Definition, check_name, free_bridge};
use crate::nft::Firewall;
use crate::rtnl::Rtnl;
use crate::setup::{Job, Seat};
use crate::{link, manage, record, repair, setup};

/// The directories, which an engine sets in the environment, if at all.
pub fn dirs() -> Dirs {
    let of = |name: &str, default: &str| std::env::var_os(name).map_or_else(|| default.into(), Into::into);
    let run = RunRoot { run_root: of("GOCKER_RUN_ROOT", "/run/gocker") };
    Dirs::of(&Roots { root: of("GOCKER_ROOT", "/var/lib/gocker"), run })
}

pub fn add(request: &Request) -> Outcome<Value> {
    let (config, dirs) = (&request.config, dirs());
    let network = network(request, &dirs)?;
    let ips = request.wanted_ips()?;
    let wanted = Setup {
        network: Kind::Named(network.name.clone()),
        ip: ips.iter().find_map(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None }),
        ip6: ips.iter().find_map(|ip| if let IpAddr::V6(ip) = ip { Some(*ip) } else { None }),
        mac_address: config.runtime_config.mac()?,
        // Of a configuration it means the default.
        mtu: config.mtu.filter(|mtu| *mtu != 0),
        publish: config.runtime_config.ports()?,
        ..Setup::default()
    };
    let seat = Seat { netns: request.namespace()?.clone(), interface: request.interface().to_owned() };
    let mut result = Value::Null;
    let id = request.id()?;
    let job = Job { id: &id, wanted: &wanted, seat: Some(&seat), dirs: &dirs };
    setup::attach(&job, network, |network| {
        result = answer::result(network, &config.cni_version, config.dns.as_ref());
        Ok(())
    })?;
    Ok(result)
}

/// The network of the configuration's name; it is defined if it is not yet.
fn network(request: &Request, dirs: &Dirs) -> Outcome<Definition> {
    let config = &request.config;
    if let Some(kind) = config.ipam.kind.as_deref().filter(|kind| *kind != "host-local") {
        let msg = format!("ipam type {kind} is not supported");
        return Err(Failure::new(2, msg).details("addresses are given as host-local does"));
    }
    if let Ok(network) = dirs.networks.find(&config.name) {
        return Ok(network);
    }
    check_name(&config.name).map_err(|error| Failure::new(7, format!("{error:#}")))?;
    let (subnet, subnet6) = (config.ipam.subnet()?, config.ipam.subnet6()?);
    let _alone = Lock::alone()?;
    let (rtnl, all) = (Rtnl::open()?, dirs.networks.all()?);
    // Another one was quicker.
    if let Some(network) = all.iter().find(|network| network.name == config.name) {
        return Ok(network.clone());
    }
    let subnet = match subnet {
        Some(subnet) => subnet,
        None => manage::free_subnet(&rtnl, &all)?,
    };
    let [links] = rtnl.all([link::list()])?;
    let is_there = |name: &str| link::Link::all(&links).any(|link| link.name == name);
    let network = Definition {
        name: config.name.clone(),
        bridge: config.bridge.clone().unwrap_or_else(|| free_bridge(&all, is_there)),
        subnet: Some(subnet),
        subnet6,
        ipv6: subnet6.is_some(),
        internal: false,
    };
    dirs.networks.add(&Defined::Bridge(network.clone()))?;
    Ok(network)
}

/// Takes back what there is of it; nothing of it need be there.
pub fn del(request: &Request) -> Outcome<()> {
    let _together = Lock::together()?;
    Ok(record::undo(&dirs().records, &request.id()?)?)
}

/// Whether the attachment is as ADD left it.
pub fn check(request: &Request) -> Outcome<()> {
    let (id, dirs) = (request.id()?, dirs());
    if request.config.prev_result.is_none() {
        return Err(Failure::new(7, "prevResult is missing: CHECK needs the result of ADD"));
    }
    if record::read(&dirs.records, &id).is_none() {
        return Err(Failure::new(3, format!("unknown container {id}")));
    }
    let findings = repair::check(&dirs)?;
    let ours = findings.into_iter().filter(|finding| finding.concerns(&id));
    let faults: Vec<String> = ours.map(|finding| finding.what).collect();
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(101, faults.join("; ")).details("netns repair")),
    }
}

/// Takes back the attachments to this network that are not listed as wanted.
pub fn gc(request: &Request) -> Outcome<()> {
    let dirs = dirs();
    let valid = request
        .valid_attachments()?
        .iter()
        .map(super::request::AttachmentOf::id)
        .collect::<Outcome<Vec<_>>>()?;
    let _alone = Lock::alone()?;
    for id in record::ids(&dirs.records)? {
        let is_of_network = record::read(&dirs.records, &id).is_some_and(|record| {
            record.netns.is_some() && record.network.as_ref() == Some(&request.config.name)
        });
        if is_of_network && !valid.contains(&id) {
            record::undo(&dirs.records, &id)?;
        }
    }
    Ok(())
}

/// Whether ADD can do its work: the kernel has nf_tables and lets us change it.
pub fn status() -> Outcome<()> {
    let unavailable = |error: anyhow::Error| Failure::new(50, format!("{error:#}"));
    Firewall::open().and_then(|firewall| firewall.ports()).map(|_| ()).map_err(unavailable)
}
