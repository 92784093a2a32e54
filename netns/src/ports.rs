//! The published ports of this host: which are taken, and by whom.
//!
//! An element of our maps is the lease of its port. Whoever publishes holds the namespace's lock alone, so that what
//! was found free stays free until it is taken; the kernel refuses a second element with the same key all the same.
//! An element whose container is gone, though nobody took it back, is no lease: the next one who wants the port has it.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::rc::Rc;

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use stage::{Explain, Id, Undo};

use crate::listening::try_port;
use crate::nft::{Firewall, Port, PortChange};
use crate::pin;
use crate::publish::{HostPort, Mapping, Publish, Wish};

/// How often the kernel is asked for any free port: those it gives away may be published, which it does not know.
const TRIES: u32 = 2000;

/// The ports that are published now.
#[derive(Default)]
pub struct Taken {
    /// Also those of containers that are gone.
    all: Vec<Port>,
}

impl Taken {
    pub fn look(firewall: &Firewall) -> Result<Taken> {
        Ok(Taken { all: firewall.ports()? })
    }

    /// Those of containers that are there.
    pub fn live(self) -> impl Iterator<Item = Port> {
        self.all.into_iter().filter(|port| is_live(&port.owner))
    }

    /// Chooses a port of the host's for each wish, for a container that has addresses of these families.
    pub fn choose(&self, wishes: &[Publish], families: Families) -> Result<Vec<Mapping>> {
        let mut chosen = Vec::new();
        for wish in wishes.iter().flat_map(|publish| &publish.0) {
            let addresses: Vec<IpAddr> = match wish.host_ip {
                Some(address) if !families.have(address) => {
                    let place = format!("cannot publish {} on {address}", named(wish));
                    return Err(anyhow!("the container has no address of that family")).context(place);
                }
                Some(address) if address.is_ipv6() && address.is_loopback() => {
                    return Err(anyhow!("the kernel takes no answer to ::1 from a container"))
                        .with_context(|| format!("cannot publish {} on ::1", named(wish)))
                        .hint("publish it on 127.0.0.1");
                }
                _ => wish.host_ips().into_iter().filter(|address| families.have(*address)).collect(),
            };
            let mappings = self.choose_one(wish, &addresses, &chosen)?;
            chosen.extend(mappings);
        }
        Ok(chosen)
    }

    fn choose_one(&self, wish: &Wish, addresses: &[IpAddr], chosen: &[Mapping]) -> Result<Vec<Mapping>> {
        let at = |port| -> Result<Vec<Mapping>> {
            addresses.iter().map(|address| self.free(&mapping(wish, *address, port), chosen)).collect()
        };
        match &wish.host_port {
            HostPort::Exactly(port) => at(*port),
            HostPort::OneOf(range) => {
                let found = range.clone().find_map(|port| at(port).ok());
                found.with_context(|| {
                    let (first, last) = (range.start(), range.end());
                    format!(
                        "cannot publish {} on one of {first}-{last}: all ports are allocated",
                        named(wish)
                    )
                })
            }
            HostPort::Any => {
                let mut last = at(0);
                for _ in 0..TRIES {
                    let offered = addresses.first().map(|address| try_port(wish.protocol, *address, 0));
                    let Some(Ok(port)) = offered else { break };
                    last = at(port);
                    if last.is_ok() {
                        break;
                    }
                }
                last
            }
        }
    }

    /// # Errors
    /// Somebody has the port; in docker's words.
    fn free(&self, wanted: &Mapping, chosen: &[Mapping]) -> Result<Mapping> {
        let place = wanted.place();
        let what = || format!("cannot publish {place}/{}", wanted.protocol);
        let has = |port: &&Port| port.mapping.excludes(wanted) && is_live(&port.owner);
        if let Some(port) = self.all.iter().find(has) {
            return Err(allocated(&place))
                .with_context(what)
                .hint(format!("container {} has it", port.owner));
        }
        if chosen.iter().any(|mapping| mapping.excludes(wanted)) {
            return Err(allocated(&place)).with_context(what).hint("it is published twice");
        }
        match try_port(wanted.protocol, wanted.host_ip, wanted.host_port) {
            Ok(_) => Ok(*wanted),
            Err(errno) => Err(anyhow!(in_use(wanted, errno))).with_context(what),
        }
    }
}

/// Of which families a container has addresses.
#[derive(Clone, Copy)]
pub struct Families {
    pub v6: bool,
}

impl Families {
    fn have(self, address: IpAddr) -> bool {
        address.is_ipv4() || self.v6
    }
}

fn mapping(wish: &Wish, host_ip: IpAddr, host_port: u16) -> Mapping {
    Mapping { host_port, container_port: wish.container_port, protocol: wish.protocol, host_ip }
}

fn named(wish: &Wish) -> String {
    format!("port {}/{}", wish.container_port, wish.protocol)
}

/// docker's words where another container has the port.
fn allocated(place: &str) -> anyhow::Error {
    anyhow!("Bind for {place} failed: port is already allocated")
}

/// docker's words where a program has it, or the address is nobody's.
fn in_use(wanted: &Mapping, errno: Errno) -> String {
    let reason = errno.desc().to_lowercase();
    let family = if wanted.host_ip.is_ipv4() { 4 } else { 6 };
    format!("listen {}{family} {}: bind: {reason}", wanted.protocol, wanted.place())
}

fn is_live(owner: &str) -> bool {
    pin::named(&format!("{}{owner}", pin::PREFIX)).exists()
}

/// Publishes what was chosen, in the place of what dead containers have left. `undo` takes it back.
pub fn publish(
    firewall: &Rc<Firewall>,
    id: &Id,
    taken: &Taken,
    added: Vec<Port>,
    undo: &mut Undo,
) -> Result<()> {
    let (again, mine) = (Rc::clone(firewall), id.short().to_owned());
    undo.push(move || unpublish(&again, &mine));
    let is_in_the_way = |old: &Port| added.iter().any(|new| new.mapping.excludes(&old.mapping));
    // Of a container that is gone: else it would not have been chosen.
    let (removed, kept): (Vec<Port>, Vec<Port>) = taken.all.iter().cloned().partition(is_in_the_way);
    let left = left(&removed, [&kept, &added]);
    firewall.change_ports(&PortChange { removed, added, left })
}

/// Takes back all ports of a container, named by its short id.
pub fn unpublish(firewall: &Firewall, owner: &str) -> Result<()> {
    remove(firewall, firewall.ports()?, |port| port.owner == owner)
}

/// Takes back the ports of containers that are gone.
pub fn sweep(firewall: &Firewall) -> Result<()> {
    remove(firewall, firewall.ports()?, |port| !is_live(&port.owner))
}

fn remove(firewall: &Firewall, ports: Vec<Port>, which: impl Fn(&Port) -> bool) -> Result<()> {
    let (removed, kept): (Vec<Port>, Vec<Port>) = ports.into_iter().partition(which);
    if removed.is_empty() {
        return Ok(());
    }
    let left = left(&removed, [&kept, &Vec::new()]);
    firewall.change_ports(&PortChange { removed, added: Vec::new(), left })
}

/// The addresses that only removed ports led to.
fn left(removed: &[Port], others: [&Vec<Port>; 2]) -> Vec<IpAddr> {
    let to = |ports: &[Port]| -> BTreeSet<IpAddr> { ports.iter().map(|port| port.to).collect() };
    let others: BTreeSet<IpAddr> = others.into_iter().flat_map(|ports| to(ports)).collect();
    to(removed).difference(&others).copied().collect()
}

/// Where each mapping leads, given the container's addresses.
pub fn lead(mappings: &[Mapping], owner: &str, addresses: &[IpAddr]) -> Vec<Port> {
    let mut seen = HashSet::new();
    let to = |mapping: &Mapping| {
        addresses.iter().copied().find(|address| address.is_ipv4() == mapping.host_ip.is_ipv4())
    };
    let leads = mappings
        .iter()
        .filter_map(|mapping| Some(Port { mapping: *mapping, to: to(mapping)?, owner: owner.to_owned() }));
    leads.filter(|port| seen.insert((port.mapping.place(), port.mapping.protocol))).collect()
}
