//! The veth pair: one end is a port of the bridge, the other is the container's `eth0`.
//!
//! The lease of the container's address is an alternative name of the host's end. The kernel gives a name once in
//! a namespace, so it gives an address once, to whoever asks first, without a file or a lock; and the lease
//! goes with the interface, so that no address is lost whatever happens to the container or the host.

use std::collections::HashMap;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, Prop};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth};
use stage::{Explain, Id, shell};

use crate::departure::Departure;
use crate::ground::Lan;
use crate::inside::Interface;
use crate::link::{self, Link};
use crate::pin;
use crate::rtnl::{Answer, Request, Rtnl};
use crate::subnet::{Mac, mac_of, mac_text};

/// The container's end.
pub const INSIDE: &str = "eth0";
/// The host's end is named this, and the first 12 digits of the id.
const PREFIX: &str = "gk";

/// Queues of each end and direction: the one that a veth uses. Without a word the kernel gives it one for each processor,
/// lays all but one to rest, and waits an RCU grace period for that, a millisecond for a pair.
const QUEUES: [&str; 4] = ["numtxqueues", "1", "numrxqueues", "1"];

/// The host's end of a container's pair.
pub fn name(id: &Id) -> String {
    format!("{PREFIX}{}", id.short())
}

/// The namespace's name that belongs to this interface, if it is the host's end of a container.
pub fn namespace_of(interface: &str) -> Option<String> {
    interface.strip_prefix(PREFIX).map(|short| format!("{}{short}", pin::PREFIX))
}

/// A pair as it was made.
pub struct Pair {
    pub host: Link,
    pub inside: Interface,
}

/// Where a pair goes, and which address it shall have.
pub struct Plan<'a> {
    pub id: &'a Id,
    pub lan: &'a Lan,
    /// What the container's end is called.
    pub inside: &'a str,
    /// `None`: any.
    pub address: Option<Ipv4Addr>,
    /// `None`: it follows from `address`.
    pub address6: Option<Ipv6Addr>,
    /// `None`: it follows from the address.
    pub mac: Option<Mac>,
    /// `None`: the kernel's default.
    pub mtu: Option<u32>,
}

impl Plan<'_> {
    fn candidates(&self) -> Box<dyn Iterator<Item = Ipv4Addr> + '_> {
        match self.address {
            Some(address) => Box::new(std::iter::once(address)),
            None => Box::new(self.lan.reach.subnet.candidates(self.id)),
        }
    }
}

/// Makes the pair in one message, its other end in the namespace. Nothing is to be undone: the pair dies with
/// the namespace.
pub fn make(rtnl: &Rtnl, plan: &Plan, namespace: &File) -> Result<Pair> {
    let name = name(plan.id);
    let first = plan.candidates().next().unwrap_or(plan.lan.reach.subnet.address(0));
    let (peer, netns) = (["type", "veth", "peer", "name", plan.inside], pin::name(plan.id));
    let mtu = plan.mtu.map(|mtu| mtu.to_string());
    let mtu = mtu.as_ref().map(|mtu| ["mtu", mtu.as_str()]);
    let mtu = mtu.as_ref().map_or(&[][..], |words| words);
    let add = ["ip", "link", "add", &name, "master", &plan.lan.bridge.name, "up"];
    shell(&[&add[..], &QUEUES, mtu, &peer, &QUEUES, mtu, &["netns", &netns]].concat());
    let departure = Departure::default();
    let (leased, host) = loop {
        let [made, leased, found] =
            rtnl.try_all([pair(plan, &name, namespace), lease(&name, first), link::get(&name)])?;
        match made {
            Ok(_) => break (leased, Link::found(found)?),
            // The one of the same container's last life, perhaps.
            Err(refused) if refused.exists() && departure.wait()? => {}
            Err(refused) => return refused.fail(),
        }
    };
    let Some(Link { peer: Some(inside), .. }) = host else { bail!("cannot make veth {name}: it vanished") };
    let address = match settle(leased)? {
        Taken::No => first,
        Taken::Yes => next(rtnl, plan, &name)?,
    };
    let show =
        |lease| shell(&["ip", "link", "property", "add", "dev", &name, "altname", &link::lease_name(lease)]);
    show(address.into());
    if let Some(address6) = plan.address6 {
        // One that does not follow from the other's lease needs its own.
        show(address6.into());
        rtnl.all([lease(&name, address6)])?;
    }
    let follows = || plan.lan.reach.subnet6.map(|subnet6| subnet6.address_of(address));
    let inside = Interface {
        name: plan.inside.to_owned(),
        index: inside,
        mac: plan.mac.map_or_else(|| mac_of(address), |mac| mac.0),
        address,
        address6: plan.address6.or_else(follows),
    };
    let host = host.unwrap_or_default();
    lock(rtnl, &host, inside.mac)?;
    Ok(Pair { host, inside })
}

/// Has the bridge take from the container only what it sends from its own hardware address: else it could take on a
/// neighbour's, and have what is sent to that one.
fn lock(rtnl: &Rtnl, host: &Link, mac: [u8; 6]) -> Result<()> {
    let Link { index, name, .. } = host;
    shell(&["bridge", "fdb", "replace", &mac_text(&mac), "dev", name, "master", "static"]);
    shell(&["bridge", "link", "set", "dev", name, "learning", "off", "locked", "on"]);
    rtnl.all([link::place(*index, name, mac), link::lock(*index, name)]).map(|_| ())
}

/// Lets the container whose host's end this is reach itself through its published ports.
pub fn hairpin(rtnl: &Rtnl, host: &Link) -> Result<()> {
    let Link { index, name, .. } = host;
    shell(&["ip", "link", "set", name, "type", "bridge_slave", "hairpin", "on"]);
    rtnl.all([link::hairpin(*index, name)]).map(|_| ())
}

/// The host's end of a container's pair, which must be there.
pub fn host_end(rtnl: &Rtnl, id: &Id) -> Result<Link> {
    let name = name(id);
    let [found] = rtnl.try_all([link::get(&name)])?;
    Link::found(found)?.with_context(|| format!("cannot find link {name}"))
}

/// Removes a container's pair. That it is not there is no error.
pub fn remove(rtnl: &Rtnl, id: &Id) -> Result<()> {
    let name = name(id);
    shell(&["ip", "link", "delete", &name]);
    let [answer] = rtnl.try_all([link::delete(&name)])?;
    Link::found(answer).map(|_| ())
}

fn pair(plan: &Plan, name: &str, namespace: &File) -> Request {
    let queues = || [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];
    let mut peer = LinkUnspec::new_with_name(plan.inside).setns_by_fd(namespace.as_raw_fd());
    let mut message = LinkMessageBuilder::<LinkVeth>::new(name, plan.inside);
    for (ours, theirs) in queues().into_iter().zip(queues()) {
        (peer, message) = (peer.append_extra_attribute(theirs), message.append_extra_attribute(ours));
    }
    if let Some(mtu) = plan.mtu {
        (peer, message) = (peer.mtu(mtu), message.mtu(mtu));
    }
    let message = message
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build())))
        .controller(plan.lan.bridge.index)
        .up()
        .build();
    Request::create(RouteNetlinkMessage::NewLink(message), format!("cannot make veth {name}"))
}

fn lease(name: &str, address: impl Into<IpAddr>) -> Request {
    let address = address.into();
    let names = vec![Prop::AltIfName(link::lease_name(address))];
    let message =
        LinkUnspec::new_with_name(name).append_extra_attribute(LinkAttribute::PropList(names)).build();
    let what = format!("cannot lease address {address} to {name}");
    Request::create(RouteNetlinkMessage::NewLinkProp(message), what)
}

enum Taken {
    Yes,
    No,
}

fn settle(leased: Answer) -> Result<Taken> {
    match leased {
        Ok(_) => Ok(Taken::No),
        Err(refused) if refused.exists() => Ok(Taken::Yes),
        Err(refused) => refused.fail(),
    }
}

/// The first address that is free, now that the first choice was not: looks at all leases, and waits for those
/// whose container is gone already.
fn next(rtnl: &Rtnl, plan: &Plan, name: &str) -> Result<Ipv4Addr> {
    let departure = Departure::default();
    loop {
        departure.listen()?;
        let leases = leases(rtnl)?;
        for address in plan.candidates().filter(|address| !leases.contains_key(address)) {
            let [leased] = rtnl.try_all([lease(name, address)])?;
            if let Taken::No = settle(leased)? {
                return Ok(address);
            }
        }
        let leaving = plan.candidates().any(|address| leases.get(&address).is_some_and(is_leaving));
        if !(leaving && departure.wait()?) {
            return none_left(plan, &leases);
        }
    }
}

/// The host's ends by the addresses that they hold.
fn leases(rtnl: &Rtnl) -> Result<HashMap<Ipv4Addr, Link>> {
    let [links] = rtnl.all([link::list()])?;
    Ok(Link::all(&links).filter_map(|link| Some((link.lease()?, link))).collect())
}

/// Whether the container's namespace has lost its name: the interface is about to go, unless something still
/// runs in there.
pub fn is_leaving(link: &Link) -> bool {
    namespace_of(&link.name).is_some_and(|namespace| !pin::named(&namespace).exists())
}

fn none_left<T>(plan: &Plan, leases: &HashMap<Ipv4Addr, Link>) -> Result<T> {
    let Some(address) = plan.address else {
        return Err(anyhow::anyhow!(
            "cannot lease an address: all {} of {} are taken",
            plan.lan.reach.subnet.room(),
            plan.lan.reach.subnet
        ))
        .hint("netns ls shows who has them; --subnet sets a larger one when no container is left");
    };
    match leases.get(&address) {
        Some(link) => bail!("cannot lease address {address}: {} has it", link.name),
        None => bail!("cannot lease address {address}: it is taken"),
    }
}
