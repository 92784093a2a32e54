//! The set-up of one container's network, and its way back.

use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Result, anyhow, bail};
use stage::{Explain, Id, Undo, say, undoable};

use crate::cli::{Network as Kind, Setup};
use crate::dirs::Dirs;
use crate::dns::Resolv;
use crate::ground::{Ground, Lan};
use crate::inside::Interface;
use crate::lock::Lock;
use crate::members::Members;
use crate::network::{Defined, Definition};
use crate::ports::{self, Families, Taken};
use crate::publish::Mapping;
use crate::record::Record;
use crate::rtnl::Rtnl;
use crate::section::Network;
use crate::veth::Pair;
use crate::{exec, forwarding, inside, macvlan, pin, record, veth};

/// Sets up, then hands the section to `publish`. If anything fails, that included, all is taken back.
pub fn run(id: &Id, wanted: &Setup, dirs: &Dirs, publish: impl FnOnce(&Network) -> Result<()>) -> Result<()> {
    match &wanted.network {
        Kind::Host => publish(&Network::bare(None, resolver(wanted)?)),
        Kind::Container(other) => publish(&Network::bare(Some(joined(other)?), resolver(wanted)?)),
        Kind::None => {
            let home = Lock::together()?;
            undoable(|undo| publish(&alone(id, wanted, dirs, &home, undo)?))
        }
        Kind::Named(name) => {
            let mut network = match dirs.networks.look(name)? {
                Defined::Bridge(network) => network,
                Defined::Macvlan(network) => return macvlan::attach(id, wanted, &network, dirs, publish),
            };
            network.subnet = network.subnet.or(wanted.subnet);
            network.ipv6 |= wanted.ipv6;
            network.subnet6 = network.subnet6.or(wanted.subnet6);
            attach(&Job { id, wanted, seat: None, dirs }, network, publish)
        }
    }
}

/// A namespace that somebody else made and will remove, and the name that the interface in it shall have.
pub struct Seat {
    pub netns: PathBuf,
    pub interface: String,
}

/// One container on a bridge.
pub struct Job<'a> {
    pub id: &'a Id,
    pub wanted: &'a Setup,
    /// `None`: a namespace is made.
    pub seat: Option<&'a Seat>,
    pub dirs: &'a Dirs,
}

/// Gives a container an interface on the network's bridge, then hands the section to `publish`.
pub fn attach(job: &Job, network: Definition, publish: impl FnOnce(&Network) -> Result<()>) -> Result<()> {
    // Outside of what is undone: nobody may use what was made here before it is certain to stay.
    let ground = enter(job.wanted, network)?;
    undoable(|undo| publish(&bridged(job, &ground, undo)?))
}

fn enter(wanted: &Setup, network: Definition) -> Result<Ground> {
    let publishes = wanted.publish.iter().any(|publish| !publish.0.is_empty());
    if publishes { Ground::enter_alone(network) } else { Ground::enter(network) }
}

/// The namespace of another container.
fn joined(other: &str) -> Result<PathBuf> {
    let path = exec::find(other);
    if !pin::is_namespace(&path) {
        return Err(anyhow!(
            "cannot join the network of container {other}: {} is no namespace",
            path.display()
        ))
        .hint("netns ls shows what there is");
    }
    Ok(path)
}

fn alone(id: &Id, wanted: &Setup, dirs: &Dirs, home: &Lock, undo: &mut Undo) -> Result<Network> {
    let dns = resolver(wanted)?;
    record::make(&dirs.records, id, &Record::default(), undo)?;
    let (_, inner) = pin::make(id, home, undo, within)?;
    inside::loopback(&inner, id)?;
    Ok(Network::bare(Some(pin::path(id)), dns).known(wanted.hostname.clone(), None))
}

fn bridged(job: &Job, ground: &Ground, undo: &mut Undo) -> Result<Network> {
    let Job { id, wanted, seat, dirs } = *job;
    let dns = resolver(wanted)?;
    // An engine has the plugin "firewall" for it, behind ours.
    if seat.is_none() && !wanted.no_firewall_check {
        ground.check_others()?;
    }
    let lan = ground.complete(dirs, undo)?;
    check_addresses(wanted, &lan, &ground.network.name)?;
    let (port_mappings, taken) = choose_ports(wanted, ground, &lan)?;
    let netns = seat.map(|seat| seat.netns.clone());
    let network = Some(ground.network.name.clone());
    // Whose namespace is another's has an `/etc/hosts` of that other's.
    let members = if seat.is_none() { Members::of(&dirs.records, &ground.network.name) } else { None };
    let names = members.as_ref().map_or_else(Vec::new, |_| names(wanted, id));
    let record = Record { network, netns, ip6: wanted.ip6, names, port_mappings, ..Record::default() };
    record::make(&dirs.records, id, &record, undo)?;
    let pair = connect(job, ground, &lan, undo)?;
    if !record.port_mappings.is_empty() {
        forwarding::admit_loopback(&lan.bridge.name)?;
        veth::hairpin(&ground.rtnl, &pair.host)?;
        let leading = ports::lead(&record.port_mappings, id.short(), &pair.inside.addresses());
        ports::publish(&ground.firewall, id, &taken, leading, undo)?;
    }
    let hosts = members.map(|members| join(&members, id, &pair.inside, &record, undo)).transpose()?;
    let path = seat.map_or_else(|| pin::path(id), |seat| seat.netns.clone());
    Ok(Network::bridged(path, &pair, &lan, dns)
        .publishing(record.port_mappings)
        .known(wanted.hostname.clone(), hosts))
}

/// Makes the namespace, or enters another's, and connects it to the bridge.
fn connect(job: &Job, ground: &Ground, lan: &Lan, undo: &mut Undo) -> Result<Pair> {
    let Job { id, wanted, seat, .. } = *job;
    let inside = seat.map_or(veth::INSIDE, |seat| &seat.interface);
    let plan = veth::Plan {
        id,
        lan,
        inside,
        address: wanted.ip,
        address6: wanted.ip6,
        mac: wanted.mac_address,
        mtu: wanted.mtu,
    };
    let (namespace, inner) = match seat {
        None => pin::make(id, &ground.home, undo, within)?,
        Some(seat) => pin::adopt(id, &seat.netns, &ground.home, undo, Rtnl::open)?,
    };
    if seat.is_some() {
        // The namespace will live on, and the pair with it.
        let (rtnl, mine) = (Rc::clone(&ground.rtnl), id.clone());
        undo.push(move || veth::remove(&rtnl, &mine));
    }
    let pair = veth::make(&ground.rtnl, &plan, &namespace)?;
    inside::connect(&inner, id, &pair.inside, lan.reach)?;
    Ok(pair)
}

/// Whether the addresses that were asked for are of the network's subnets.
fn check_addresses(wanted: &Setup, lan: &Lan, network: &str) -> Result<()> {
    if let Some(address) = wanted.ip {
        lan.reach.subnet.admits(address)?;
    }
    match (lan.reach.subnet6, wanted.ip6) {
        (Some(subnet6), Some(address)) => subnet6.admits(address),
        (None, Some(_)) => bail!("cannot use --ip6: network {network} has no IPv6"),
        _ => Ok(()),
    }
}

/// Makes the container's names known on its network. Returns its `/etc/hosts`.
pub fn join(
    members: &Members,
    id: &Id,
    inside: &Interface,
    record: &Record,
    undo: &mut Undo,
) -> Result<PathBuf> {
    let hosts = members.hosts(id);
    let (mine, before) = (id.clone(), members.clone());
    undo.push(move || before.leave(&mine));
    members.join(id, &inside.addresses(), &record.names)?;
    Ok(hosts)
}

/// What the others on its network call the container.
pub fn names(wanted: &Setup, id: &Id) -> Vec<String> {
    let given = wanted.hostname.iter().chain(&wanted.network_alias).cloned();
    given.chain([id.short().to_owned()]).collect()
}

/// The ports that will be published, and those that others have.
fn choose_ports(wanted: &Setup, ground: &Ground, lan: &Lan) -> Result<(Vec<Mapping>, Taken)> {
    if wanted.publish.is_empty() {
        return Ok((Vec::new(), Taken::default()));
    }
    let taken = Taken::look(&ground.firewall)?;
    let chosen = taken.choose(&wanted.publish, Families { v6: lan.reach.subnet6.is_some() })?;
    Ok((chosen, taken))
}

/// What can only be done by a thread that is in the namespace. The socket stays there when the thread leaves.
pub fn within() -> Result<Rtnl> {
    forwarding::relax()?;
    Rtnl::open()
}

pub fn resolver(wanted: &Setup) -> Result<Resolv> {
    let overridden = |resolv: Resolv| resolv.overridden(&wanted.dns, &wanted.dns_search, &wanted.dns_option);
    if wanted.network == Kind::Host {
        return Ok(overridden(Resolv::of_host()?));
    }
    let (resolv, is_public) = overridden(Resolv::upstream()?.for_container()).or_public();
    if is_public && matches!(wanted.network, Kind::Named(_)) {
        say("netns: the host has no name server that a container can reach: using 8.8.8.8 and 8.8.4.4");
    }
    Ok(resolv)
}
