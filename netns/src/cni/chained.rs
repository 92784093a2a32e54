//! The plugins that stand beside `bridge`: `portmap` behind it, `loopback` before it.

use std::net::IpAddr;

use serde_json::{Value, json};
use stage::undoable;

use super::answer::in_version;
use super::attach::dirs;
use super::failure::{Failure, Outcome};
use super::request::Request;
use crate::ground::Ground;
use crate::lock::Lock;
use crate::nft::Firewall;
use crate::ports::{self, Families, Taken};
use crate::rtnl::Rtnl;
use crate::{forwarding, link, pin, record, veth};

/// LOOPBACK_IFINDEX
const LOOPBACK: u32 = 1;

/// Publishes ports for what the plugin before this one made.
pub fn publish(request: &Request) -> Outcome<Value> {
    let Some(previous) = request.config.prev_result.clone() else {
        return Err(Failure::new(7, "must be called as chained plugin: prevResult is missing"));
    };
    let wishes = request.config.runtime_config.ports()?;
    if wishes.iter().any(|publish| !publish.0.is_empty()) {
        lead(request, &previous, &wishes)?;
    }
    Ok(in_version(previous, &request.config.cni_version))
}

fn lead(request: &Request, previous: &Value, wishes: &[crate::publish::Publish]) -> Outcome<()> {
    let (id, dirs) = (request.id()?, dirs());
    let behind = "this portmap stands behind this bridge: use the portmap that came with the other one";
    let Some(mut known) = record::read(&dirs.records, &id) else {
        return Err(Failure::new(7, "the plugin before this one is another's").details(behind));
    };
    let network = dirs.networks.find(known.network.as_deref().unwrap_or_default())?;
    let bridge = network.bridge.clone();
    let ground = Ground::enter_alone(network)?;
    undoable(|undo| {
        let taken = Taken::look(&ground.firewall)?;
        let to = addresses(previous);
        let v6 = to.iter().any(IpAddr::is_ipv6);
        known.port_mappings = taken.choose(wishes, Families { v6 })?;
        record::replace(&dirs.records, &id, &known)?;
        forwarding::admit_loopback(&bridge)?;
        veth::hairpin(&ground.rtnl, &veth::host_end(&ground.rtnl, &id)?)?;
        let leading = ports::lead(&known.port_mappings, id.short(), &to);
        ports::publish(&ground.firewall, &id, &taken, leading, undo)
    })?;
    Ok(())
}

/// The container's addresses in a result.
fn addresses(result: &Value) -> Vec<IpAddr> {
    let ips = result["ips"].as_array().into_iter().flatten();
    let address = |ip: &Value| ip["address"].as_str()?.split('/').next()?.parse().ok();
    ips.filter_map(address).collect()
}

/// Takes the ports back; none need be there.
pub fn unpublish(request: &Request) -> Outcome<()> {
    let (id, dirs) = (request.id()?, dirs());
    let _together = Lock::together()?;
    ports::unpublish(&Firewall::open()?, id.short())?;
    if let Some(mut known) = record::read(&dirs.records, &id) {
        known.port_mappings.clear();
        record::replace(&dirs.records, &id, &known)?;
    }
    Ok(())
}

/// Brings up the loopback of the namespace.
pub fn loopback(request: &Request) -> Outcome<Value> {
    let path = request.namespace()?;
    let home = Lock::together()?;
    let (_, inner) = pin::within(path, &home, Rtnl::open)?;
    inner.all([link::up(LOOPBACK, "lo")])?;
    let interface = json!({"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": path});
    let result = json!({
        "interfaces": [interface],
        "ips": [{"address": "127.0.0.1/8", "interface": 0}],
    });
    let previous = request.config.prev_result.clone();
    Ok(in_version(previous.unwrap_or(result), &request.config.cni_version))
}
