//! `network`: what netns knows of networks, in docker's words. The three that are always there have no set-up.

use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stage::{Codes, Id};

use super::{Inspected, say};
use crate::cli::Global;
use crate::filter::Filters;
use crate::listing::{Column, Format, Listing};
use crate::record::Record;
use crate::spawn::Tools;
use crate::store::Store;
use crate::{absent, ask};

/// Networks that containers are connected to
#[derive(clap::Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Verb {
    /// Create a network: a bridge and a subnet of its own
    Create(Create),
    /// List networks
    #[command(visible_alias = "list")]
    Ls {
        /// Only ids
        #[arg(short, long)]
        quiet: bool,
        /// Do not shorten ids
        #[arg(long)]
        no_trunc: bool,
        /// Only those with driver, id, name, scope or type as given
        #[arg(short, long, value_name = "KEY=VALUE")]
        filter: Vec<String>,
        #[command(flatten)]
        format: Format,
    },
    /// Show all that is known of networks
    Inspect {
        /// A Go template for each
        #[arg(short, long)]
        format: Option<String>,
        /// Names or ids
        #[arg(required = true)]
        networks: Vec<String>,
    },
    /// Remove networks that nobody is in
    #[command(visible_alias = "remove")]
    Rm {
        /// Do not mind if it is not there
        #[arg(short, long)]
        force: bool,
        /// Names or ids
        #[arg(required = true)]
        networks: Vec<String>,
    },
    /// Remove all networks that nobody is in
    Prune {
        /// Do not ask
        #[arg(short, long)]
        force: bool,
    },
    #[command(external_subcommand)]
    Other(Vec<String>),
}

#[derive(clap::Args, Clone, Debug)]
struct Create {
    /// bridge, or macvlan: interfaces on the network of one of the host's, --opt parent=INTERFACE
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge")]
    driver: String,
    /// What the driver must know: parent=INTERFACE
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// The part of the subnet that a macvlan's containers have addresses of
    #[arg(long, value_name = "CIDR")]
    ip_range: Option<String>,
    /// Its subnet (else one that is free)
    #[arg(long, value_name = "CIDR")]
    subnet: Option<String>,
    /// The bridge's address (else the first of the subnet)
    #[arg(long, value_name = "ADDRESS")]
    gateway: Option<String>,
    /// Addresses of IPv6, too
    #[arg(long)]
    ipv6: bool,
    /// Its containers reach each other and the host, and nothing else
    #[arg(long)]
    internal: bool,
    /// Its name
    name: String,
}

/// One network, as `netns network ls` and `inspect` tell of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Network {
    name: String,
    /// Only of one without a bridge.
    driver: Option<String>,
    bridge: String,
    parent: Option<String>,
    ip_range: Option<String>,
    subnet: Option<String>,
    gateway: Option<String>,
    subnet6: Option<String>,
    gateway6: Option<String>,
    ipv6: bool,
    internal: bool,
    containers: Vec<Member>,
}

#[derive(Clone, Debug, Deserialize)]
struct Member {
    id: Id,
    address: Option<String>,
}

/// docker's, which need no bridge.
const PREDEFINED: [(&str, &str); 2] = [("host", "host"), ("none", "null")];
const DEFAULT: &str = "bridge";

const COLUMNS: [Column; 7] = [
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
];

pub fn command(global: &Global, command: &Command) -> Result<u8> {
    stage::need_root()?;
    let tools = Tools::new(global)?;
    match &command.verb {
        Verb::Create(options) => create(&tools, options),
        Verb::Ls { quiet, no_trunc, filter, format } => list(&tools, *quiet, *no_trunc, filter, format),
        Verb::Inspect { format, networks } => {
            inspect(&tools, &Store::new(&global.roots), format.as_deref(), networks)
        }
        Verb::Rm { force, networks } => remove(&tools, networks, *force),
        Verb::Prune { force } => {
            if !force && !super::prune::asked("all custom networks not used by at least one container")? {
                return Ok(0);
            }
            prune(&tools)
        }
        Verb::Other(words) => absent::answer("network", words),
    }
}

impl Network {
    /// docker names networks by 64 digits; netns by their names alone: these follow from the name.
    fn id(&self) -> String {
        use sha2::Digest;
        sha2::Sha256::digest(self.name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn driver(&self) -> &str {
        let own = self.driver.as_deref().unwrap_or("bridge");
        PREDEFINED.iter().find(|(name, _)| *name == self.name).map_or(own, |(_, driver)| driver)
    }

    /// Whether netns knows it.
    fn is_made(&self) -> bool {
        PREDEFINED.iter().all(|(name, _)| *name != self.name)
    }

    fn is_predefined(&self) -> bool {
        self.name == DEFAULT || !self.is_made()
    }

    fn is_called(&self, word: &str) -> bool {
        self.name == word || (word.len() > 2 && self.id().starts_with(word))
    }
}

/// Every network, sorted by name.
fn all(tools: &Tools) -> Result<Vec<Network>> {
    let mut networks: Vec<Network> = ask::json(tools, "netns", &["network", "ls"])?;
    let predefined = [DEFAULT].into_iter().chain(PREDEFINED.map(|(name, _)| name));
    for name in predefined {
        if !networks.iter().any(|network| network.name == name) {
            networks.push(Network { name: name.to_owned(), ..Network::default() });
        }
    }
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(networks)
}

fn find(networks: &[Network], word: &str) -> Result<Network> {
    let by_name = networks.iter().find(|network| network.name == word);
    match by_name.or_else(|| networks.iter().find(|network| network.is_called(word))) {
        Some(network) => Ok(network.clone()),
        None => bail!("network {word} not found"),
    }
}

fn create(tools: &Tools, options: &Create) -> Result<u8> {
    if !["bridge", "macvlan"].contains(&options.driver.as_str()) {
        bail!("could not find plugin {} in v1 plugin registry: plugin not found", options.driver);
    }
    if all(tools)?.iter().any(|network| network.name == options.name) {
        bail!("network with name {} already exists", options.name);
    }
    let mut words = vec!["network".to_owned(), "create".to_owned(), format!("--driver={}", options.driver)];
    for option in &options.opt {
        match option.split_once('=') {
            Some(("parent", parent)) => words.push(format!("--parent={parent}")),
            _ => bail!("cannot use option {option}: parent=INTERFACE of a macvlan is all that there is"),
        }
    }
    if options.driver == "macvlan" && options.opt.is_empty() {
        bail!("cannot make network {}: a macvlan needs --opt parent=INTERFACE", options.name);
    }
    words.extend(options.ip_range.iter().map(|range| format!("--ip-range={range}")));
    words.extend(options.subnet.iter().map(|subnet| format!("--subnet={subnet}")));
    words.extend(options.gateway.iter().map(|gateway| format!("--gateway={gateway}")));
    words.extend(options.ipv6.then(|| "--ipv6".to_owned()));
    words.extend(options.internal.then(|| "--internal".to_owned()));
    words.push(options.name.clone());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let made: Network = match ask::answer(tools, "netns", &words)? {
        Ok(made) => made,
        // It has said why.
        Err(_) => return Ok(Codes::FAILED),
    };
    stage::print(&format!("{}\n", made.id())).map(|()| 0)
}

fn list(tools: &Tools, quiet: bool, no_trunc: bool, words: &[String], format: &Format) -> Result<u8> {
    let filters = Filters::parse(words, &["driver", "id", "name", "scope", "type"])?;
    let holds = |network: &Network, key: &str, value: &str| match key {
        "driver" => network.driver() == value,
        "id" => network.id().starts_with(value),
        "name" => network.name.contains(value),
        "scope" => value == "local",
        _ => (value == "builtin") == network.is_predefined(),
    };
    let networks: Vec<Network> =
        all(tools)?.into_iter().filter(|one| filters.admit(|key, value| holds(one, key, value))).collect();
    let row = |network: &Network| {
        let id = network.id();
        json!({"ID": if no_trunc { &id } else { &id[..12] }, "Name": network.name, "Driver": network.driver(),
            "Scope": "local", "IPv6": network.ipv6.to_string(), "Internal": network.internal.to_string(), "Labels": ""})
    };
    let listing = Listing {
        columns: &COLUMNS,
        usual: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
        rows: networks.iter().map(row).collect(),
        array: networks.iter().map(|network| shape(network, &Map::new())).collect(),
    };
    if quiet && format.is_usual() {
        listing.lines("{{.ID}}")?
    } else {
        listing.print(format)?
    }
    Ok(0)
}

fn inspect(tools: &Tools, store: &Store, format: Option<&str>, words: &[String]) -> Result<u8> {
    let format = Inspected::parse(format)?;
    let networks = all(tools)?;
    let (mut found, mut code) = (Vec::new(), 0);
    for word in words {
        match find(&networks, word) {
            Ok(network) => found.push(shown(tools, store, network)?),
            Err(error) => {
                say(&error);
                code = Codes::FAILED;
            }
        }
    }
    format.print(&found)?;
    Ok(code)
}

/// With who is in it.
fn shown(tools: &Tools, store: &Store, network: Network) -> Result<Value> {
    let network = if network.is_made() {
        ask::json(tools, "netns", &["network", "inspect", &network.name])?
    } else {
        network
    };
    let prefix =
        network.subnet.as_deref().and_then(|subnet| subnet.split('/').nth(1)).unwrap_or("32").to_owned();
    let mut members = Map::new();
    for Member { id, address } in &network.containers {
        let name = Record::read(store, id).ok().flatten().map(|record| record.name).unwrap_or_default();
        let address = address.as_ref().map(|address| format!("{address}/{prefix}")).unwrap_or_default();
        members.insert(id.to_string(), json!({"Name": name, "IPv4Address": address}));
    }
    Ok(shape(&network, &members))
}

/// docker's.
fn shape(network: &Network, members: &Map<String, Value>) -> Value {
    let config = |subnet: &Option<String>, gateway: &Option<String>| {
        let subnet = subnet.as_ref()?;
        Some(json!({"Subnet": subnet, "Gateway": gateway}))
    };
    let v4 = config(&network.subnet, &network.gateway).map(|mut config| {
        network.ip_range.iter().for_each(|range| config["IPRange"] = range.as_str().into());
        config
    });
    let configs = [v4, config(&network.subnet6, &network.gateway6)];
    let configs: Vec<Value> = configs.into_iter().flatten().collect();
    let options = match (&network.parent, network.bridge.as_str()) {
        (Some(parent), _) => json!({"parent": parent}),
        (None, "") => json!({}),
        (None, bridge) => json!({"com.docker.network.bridge.name": bridge}),
    };
    json!({"Name": network.name, "Id": network.id(), "Scope": "local", "Driver": network.driver(),
        "EnableIPv6": network.ipv6, "IPAM": {"Driver": "default", "Options": null, "Config": configs},
        "Internal": network.internal, "Attachable": false, "Ingress": false, "Containers": members,
        "Options": options, "Labels": {}})
}

fn remove(tools: &Tools, words: &[String], force: bool) -> Result<u8> {
    let networks = all(tools)?;
    super::each_word(words, |word| match find(&networks, word) {
        Ok(network) => remove_one(tools, &network),
        Err(_) if force => Ok(()),
        Err(error) => Err(error),
    })
}

fn remove_one(tools: &Tools, network: &Network) -> Result<()> {
    let name = &network.name;
    if network.is_predefined() {
        bail!("{name} is a pre-defined network and cannot be removed");
    }
    let look: Network = ask::json(tools, "netns", &["network", "inspect", name])?;
    if !look.containers.is_empty() {
        bail!("error while removing network: network {name} id {} has active endpoints", network.id());
    }
    match ask::code(tools, "netns", &["network", "rm", name])? {
        0 => Ok(()),
        _ => bail!("cannot remove network {name}: netns failed"),
    }
}

/// Removes the networks that nobody is in, and says which those were.
pub fn prune(tools: &Tools) -> Result<u8> {
    let mut removed = Vec::new();
    for network in all(tools)?.iter().filter(|network| !network.is_predefined()) {
        // One that is in use stays, and that is what was asked for.
        if remove_one(tools, network).is_ok() {
            removed.push(network.name.clone());
        }
    }
    if !removed.is_empty() {
        stage::print(&format!("Deleted Networks:\n{}\n\n", removed.join("\n")))?;
    }
    Ok(0)
}
