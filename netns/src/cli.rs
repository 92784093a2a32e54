//! The command line: the set-up's options, and the verbs.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use stage::{Codes, Document, Explain, Id, Roots, Section, need_root, print_json, show_effects, signals};

use crate::dirs::Dirs;
use crate::lock::Lock;
use crate::publish::Publish;
use crate::subnet::{Mac, Subnet};
use crate::subnet6::Subnet6;
use crate::{exec, foreign, gc, ls, manage, members, network, record, repair, setup, stats};

const EXAMPLES: &str = "\
Examples:
  netns < /dev/null | jq .network                   a namespace with an address, on its own
  pull alpine | mount-overlay | netns | nsrun -- ip address
  netns -p 127.0.0.1:8080:80 < /dev/null            port 80 in there is port 8080 of this host, for this host
  netns --network none < /dev/null                  nothing but a loopback
  netns network create web; netns --network web     a network of one's own
  netns --conf /etc/cni/net.d/10-web.conflist       by the plugins of others
  netns exec 3f2a77c0d1e4 -- ping -c 1 172.29.0.1   run a program of the host in there
  netns ls | jq -r '.[].address'
  netns undo ID                                     take it back";

/// Give a container its network: namespace, veth, bridge, address, NAT, ports
#[derive(Parser)]
#[command(name = "netns", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    /// Show each effect on the host as the shell command that would have it
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(flatten)]
    roots: Roots,
    #[command(flatten)]
    setup: Setup,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What kind of network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// An address on a network's bridge, and what the host reaches behind NAT
    Named(String),
    /// Nothing but a loopback
    None,
    /// The caller's own: no namespace is made
    Host,
    /// Another container's
    Container(String),
}

impl Default for Network {
    fn default() -> Network {
        Network::Named(network::DEFAULT.to_owned())
    }
}

impl Network {
    /// Made with `netns network create`.
    fn is_user_made(&self) -> bool {
        matches!(self, Network::Named(name) if name != network::DEFAULT)
    }
}

impl FromStr for Network {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Network> {
        Ok(match text {
            "none" => Network::None,
            "host" => Network::Host,
            "default" => Network::default(),
            name => match name.strip_prefix("container:") {
                Some(other) => Network::Container(other.to_owned()),
                None => Network::Named(name.to_owned()),
            },
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Network::Named(name) => f.write_str(name),
            Network::None => f.write_str("none"),
            Network::Host => f.write_str("host"),
            Network::Container(other) => write!(f, "container:{other}"),
        }
    }
}

// What the set-up is asked for.
#[derive(Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Setup {
    /// bridge, a network's name, none, host, or container:ID
    #[arg(long, alias = "net", value_name = "NETWORK", default_value_t)]
    pub network: Network,
    /// A network configuration of CNI, or a list of them, for others' plugins
    #[arg(long, value_name = "FILE", conflicts_with_all = ["network", "subnet", "ip6", "ipv6", "mtu", "network_alias"])]
    pub conf: Option<PathBuf>,
    /// A plugin for it, or a directory of plugins [default: CNI_PATH, or /opt/cni/bin and /usr/lib/cni]
    #[arg(long, value_name = "PATH", requires = "conf")]
    pub plugin: Vec<PathBuf>,
    /// Address of the container, of the bridge's subnet
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<Ipv4Addr>,
    /// Subnet of the bridge, when it is made [env: GOCKER_SUBNET] [default: 172.29.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub subnet: Option<Subnet>,
    /// Address of IPv6, of the bridge's subnet
    #[arg(long, value_name = "ADDRESS")]
    pub ip6: Option<Ipv6Addr>,
    /// Addresses of IPv6 on the network "bridge", too
    #[arg(long)]
    pub ipv6: bool,
    /// Its subnet of IPv6, when it gets one [default: a random one below fd00::/8]
    #[arg(long, value_name = "CIDR", requires = "ipv6")]
    pub subnet6: Option<Subnet6>,
    /// Hardware address of the container's interface
    #[arg(long, value_name = "MAC")]
    pub mac_address: Option<Mac>,
    /// Largest packet of the container's interface, in bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(68..=65535))]
    pub mtu: Option<u32>,
    /// Host name of the container, and a name of it on its network
    #[arg(long, value_name = "NAME", value_parser = members::name)]
    pub hostname: Option<String>,
    /// A name of the container for the others on its network, if that is not "bridge"
    #[arg(long, value_name = "NAME", value_parser = members::name)]
    pub network_alias: Vec<String>,
    /// Publish a port: [hostIP:][hostPort[-range]:]containerPort[-range][/tcp|udp|sctp], as docker's
    #[arg(short, long, value_name = "PORTS")]
    pub publish: Vec<Publish>,
    /// Set up though a firewall drops what is forwarded [env: GOCKER_NO_FIREWALL_CHECK]
    #[arg(long)]
    pub no_firewall_check: bool,
    /// Name server of the container, in place of the host's
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<IpAddr>,
    /// Search domain, in place of the host's ("." for none)
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Resolver option, in place of the host's
    #[arg(long, value_name = "OPTION")]
    pub dns_option: Vec<String>,
    /// Id of the container, 64 hex digits
    #[arg(long)]
    pub id: Option<Id>,
}

// Deferred: a verb's options are looked at only if it is the one. A doc comment of theirs would head its help, so
// they have none.
#[derive(Subcommand)]
#[command(defer = true)]
enum Verb {
    /// Take back what was made for a container
    Undo {
        /// Its id
        id: Id,
    },
    /// List what there is, as JSON
    Ls,
    /// Run a program in a container's network namespace
    Exec {
        /// Its id, the first 12 digits of that, or a name that ip netns lists
        #[arg(value_name = "ID|NAME")]
        namespace: String,
        /// The program and its arguments
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Remove what killed set-ups left, and the bridges and rules that no container needs
    Gc,
    /// Say what is not as it should be, as JSON
    Check,
    /// Put right what can be: rules that were flushed, forwarding, bridges that are down
    Repair,
    /// Bytes, packets, errors and drops of a container's interface, as JSON
    Stats {
        /// Its id
        id: Id,
    },
    /// Make, list, show and remove networks
    #[command(subcommand)]
    Network(NetworkVerb),
}

#[derive(Subcommand)]
#[command(defer = true)]
enum NetworkVerb {
    /// Make a network: a bridge and a subnet of its own
    Create(manage::Wanted),
    /// List the networks, as JSON
    Ls,
    /// Remove a network that nobody is in
    Rm {
        /// Its name
        name: String,
    },
    /// Show a network and who is in it, as JSON
    Inspect {
        /// Its name
        name: String,
    },
}

/// `main` of netns.
pub fn main() -> ExitCode {
    stage::main(Codes::STAGE, run)
}

fn run(cli: Cli) -> Result<u8> {
    show_effects(cli.verbose);
    if cli.verb.is_some() && cli.setup != Setup::default() {
        return Err(anyhow::anyhow!("cannot use the set-up's options: they do not go with a verb"))
            .code(Codes::USAGE);
    }
    let dirs = Dirs::of(&cli.roots);
    match cli.verb {
        None => set_up(cli.setup, &dirs)?,
        Some(Verb::Ls) => print_json(&ls::entries(&dirs.records)?)?,
        Some(Verb::Exec { namespace, command }) => exec::run(&namespace, &command)?,
        Some(Verb::Stats { id }) => print_json(&stats::of(&id)?)?,
        Some(Verb::Network(NetworkVerb::Ls)) => print_json(&manage::list(&dirs)?)?,
        Some(Verb::Network(NetworkVerb::Inspect { name })) => print_json(&manage::inspect(&dirs, &name)?)?,
        Some(Verb::Check) => return check(&dirs),
        Some(verb) => change(verb, &dirs)?,
    }
    Ok(0)
}

/// The verbs that change the host.
fn change(verb: Verb, dirs: &Dirs) -> Result<()> {
    need_root()?;
    signals::hold()?;
    match verb {
        Verb::Undo { id } => {
            foreign::detach(&dirs.records, &id)?;
            // Nobody makes the table anew meanwhile, with the ports that go.
            let _together = Lock::together()?;
            record::undo(&dirs.records, &id)
        }
        Verb::Gc => gc::run(dirs),
        Verb::Repair => repair::run(dirs),
        Verb::Network(NetworkVerb::Create(wanted)) => print_json(&manage::create(dirs, &wanted)?),
        Verb::Network(NetworkVerb::Rm { name }) => manage::remove(dirs, &name),
        _ => Ok(()),
    }
}

fn check(dirs: &Dirs) -> Result<u8> {
    let findings = repair::check(dirs)?;
    print_json(&findings)?;
    Ok(if findings.is_empty() { 0 } else { Codes::FAILED })
}

fn set_up(mut wanted: Setup, dirs: &Dirs) -> Result<()> {
    complete(&mut wanted).code(Codes::USAGE)?;
    let mut document = Document::from_stdin()?;
    document.vacant(Section::Network)?;
    need_root()?;
    signals::hold()?;
    let id = document.identify(wanted.id.take())?;
    if let Some(conf) = &wanted.conf {
        return foreign::run(&id, &wanted, conf, dirs, |network| {
            document.add(Section::Network, network)?;
            document.write()
        });
    }
    setup::run(&id, &wanted, dirs, |network| {
        document.add(Section::Network, network)?;
        document.write()
    })
}

/// Fills in what the environment says, and checks that the options go together.
fn complete(wanted: &mut Setup) -> Result<()> {
    wanted.no_firewall_check |=
        std::env::var_os("GOCKER_NO_FIREWALL_CHECK").is_some_and(|text| !text.is_empty());
    if wanted.hostname.is_some() && matches!(wanted.network, Network::Host | Network::Container(_)) {
        bail!("cannot use --hostname: with --network={} the host name is another's", wanted.network);
    }
    if !wanted.network_alias.is_empty() && !wanted.network.is_user_made() {
        bail!(
            "cannot use --network-alias: network-scoped aliases are only supported for user-defined networks"
        );
    }
    let Network::Named(name) = &wanted.network else {
        let options = [
            (wanted.ip.is_some(), "--ip", "has an address"),
            (wanted.ip6.is_some(), "--ip6", "has an address"),
            (wanted.ipv6, "--ipv6", "has an address"),
            (wanted.mac_address.is_some(), "--mac-address", "has an interface"),
            (wanted.mtu.is_some(), "--mtu", "has an interface"),
            (!wanted.publish.is_empty(), "--publish", "has ports of its own"),
        ];
        if let Some((_, option, has)) = options.into_iter().find(|(is_given, _, _)| *is_given) {
            bail!("cannot use {option}: only a container on the bridge {has}");
        }
        if wanted.subnet.is_some() {
            bail!("cannot use --subnet: only the bridge has a subnet");
        }
        return Ok(());
    };
    if name != network::DEFAULT {
        if wanted.subnet.is_some() {
            bail!("cannot use --subnet: network {name} has its own");
        }
        if wanted.ipv6 {
            bail!("cannot use --ipv6: it is for netns network create {name}");
        }
        return Ok(());
    }
    if let (None, Ok(text)) = (wanted.subnet, std::env::var("GOCKER_SUBNET"))
        && !text.is_empty()
    {
        wanted.subnet = Some(text.parse().context("cannot use GOCKER_SUBNET")?);
    }
    Ok(())
}
