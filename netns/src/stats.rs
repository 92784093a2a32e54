//! `netns stats`: what has passed through a container's interface.

use anyhow::{Result, bail};
use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, Stats64};
use serde::Serialize;
use stage::{Explain, Id};

use crate::rtnl::{Request, Rtnl};
use crate::veth::{self, INSIDE};

/// Counters as the container sees them: received is what came in to it. Bytes and packets since its start.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    id: Id,
    interface: &'static str,
    rx_bytes: u64,
    rx_packets: u64,
    rx_errors: u64,
    rx_dropped: u64,
    tx_bytes: u64,
    tx_packets: u64,
    tx_errors: u64,
    tx_dropped: u64,
}

/// What the host's end counts, from the other end's side.
pub fn of(id: &Id) -> Result<Stats> {
    let name = veth::name(id);
    let message = LinkUnspec::new_with_name(&name).build();
    let ask = Request::one(RouteNetlinkMessage::GetLink(message), format!("cannot look for link {name}"));
    let [answers] = Rtnl::open()?.all([ask]).hint("netns ls shows who has an interface")?;
    let found = answers.iter().find_map(|message| match message {
        RouteNetlinkMessage::NewLink(link) => link.attributes.iter().find_map(counters),
        _ => None,
    });
    let Some(host) = found else { bail!("cannot read the counters of link {name}: the kernel sent none") };
    Ok(Stats {
        id: id.clone(),
        interface: INSIDE,
        rx_bytes: host.tx_bytes,
        rx_packets: host.tx_packets,
        rx_errors: host.tx_errors,
        rx_dropped: host.tx_dropped,
        tx_bytes: host.rx_bytes,
        tx_packets: host.rx_packets,
        tx_errors: host.rx_errors,
        tx_dropped: host.rx_dropped,
    })
}

fn counters(attribute: &LinkAttribute) -> Option<&Stats64> {
    match attribute {
        LinkAttribute::Stats64(counters) => Some(counters),
        _ => None,
    }
}
