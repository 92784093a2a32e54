//! `--conf`: the network of a container by other people's CNI plugins. The namespace is ours, all else is theirs.
//!
//! No lock is held while a plugin runs: it may be this very program.

mod call;
mod configuration;

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use stage::{Id, Undo, undoable};

pub use configuration::Chain;
use configuration::Wanted;

use crate::cli::Setup;
use crate::dirs::Dirs;
use crate::lock::Lock;
use crate::publish::{HostPort, Mapping};
use crate::record::Record;
use crate::rtnl::Rtnl;
use crate::subnet::mac_text;
use crate::{inside, pin, record, setup};

/// Makes a namespace, has the plugins of the configuration connect it, then hands the section to `publish`.
pub fn run(
    id: &Id,
    wanted: &Setup,
    conf: &Path,
    dirs: &Dirs,
    publish: impl FnOnce(&Value) -> Result<()>,
) -> Result<()> {
    let ports = ports(wanted)?;
    let chain = Chain::read(conf, &wanted.plugin, &capabilities(wanted, &ports))?;
    let known = Record { port_mappings: ports, chain: Some(chain), ..Record::default() };
    undoable(|undo| publish(&attached(id, wanted, known, &dirs.records, undo)?))
}

fn attached(id: &Id, wanted: &Setup, mut known: Record, records: &Path, undo: &mut Undo) -> Result<Value> {
    let dns = setup::resolver(wanted)?;
    {
        let home = Lock::together()?;
        record::make(records, id, &known, undo)?;
        let (_, inner) = pin::make(id, &home, undo, Rtnl::open)?;
        inside::loopback(&inner, id)?;
    }
    let (place, mine) = (records.to_owned(), id.clone());
    undo.push(move || detach(&place, &mine));
    let mut result = None;
    if let Some(chain) = &mut known.chain {
        for plugin in &chain.plugins {
            result = plugin.call("ADD", id, result.as_ref())?.or(result);
        }
        chain.result.clone_from(&result);
    }
    record::replace(records, id, &known)?;
    let mut section = result.context("cannot read what the plugins say: they say nothing")?;
    complete(&mut section, wanted, &serde_json::to_value(dns)?);
    section["netns"] = serde_json::to_value(pin::path(id))?;
    if !known.port_mappings.is_empty() {
        section["portMappings"] = serde_json::to_value(known.port_mappings)?;
    }
    Ok(section)
}

/// Makes the plugins' result one of version 1.1, with the name servers of the host if they name none.
fn complete(section: &mut Value, wanted: &Setup, dns: &Value) {
    let asked_for = !(wanted.dns.is_empty() && wanted.dns_search.is_empty() && wanted.dns_option.is_empty());
    if asked_for || section.get("dns").is_none_or(|dns| *dns == json!({})) {
        section["dns"] = dns.clone();
    }
    section["cniVersion"] = "1.1.0".into();
    for ip in section.get_mut("ips").and_then(Value::as_array_mut).into_iter().flatten() {
        // A word of versions before 1.0.
        ip.as_object_mut().map(|ip| ip.remove("version"));
    }
    if let Some(hostname) = &wanted.hostname {
        section["hostname"] = hostname.clone().into();
    }
}

/// Has the plugins take back what they did for the container, the last one first. There need not be any.
///
/// # Errors
/// A plugin failed. The record stays, so that it can be tried again.
pub fn detach(records: &Path, id: &Id) -> Result<()> {
    let Some(chain) = record::read(records, id).and_then(|record| record.chain) else { return Ok(()) };
    for plugin in chain.plugins.iter().rev() {
        plugin.call("DEL", id, chain.result.as_ref())?;
    }
    Ok(())
}

/// The ports, which plugins take as they are: they choose none.
fn ports(wanted: &Setup) -> Result<Vec<Mapping>> {
    let mut ports = Vec::new();
    for wish in wanted.publish.iter().flat_map(|publish| &publish.0) {
        let HostPort::Exactly(host_port) = wish.host_port else {
            bail!("cannot publish port {}: with --conf the host's port must be given", wish.container_port);
        };
        // Plugins take no address for all of a family: 0.0.0.0 stands for those of both.
        let host_ip = wish.host_ips()[0];
        ports.push(Mapping {
            host_port,
            container_port: wish.container_port,
            protocol: wish.protocol,
            host_ip,
        });
    }
    Ok(ports)
}

fn capabilities(wanted: &Setup, ports: &[Mapping]) -> Wanted {
    let ports = (!ports.is_empty()).then(|| {
        let words = ports.iter().map(|port| {
            let mut mapping = json!(port);
            if port.host_ip.is_unspecified() {
                mapping["hostIP"] = "".into();
            }
            mapping
        });
        ("portMappings", "--publish", words.collect::<Value>())
    });
    let mac = wanted.mac_address.map(|mac| ("mac", "--mac-address", mac_text(&mac.0).into()));
    let ips = wanted.ip.map(|ip| ("ips", "--ip", json!([ip])));
    Wanted { capabilities: [ports, mac, ips].into_iter().flatten().collect() }
}
