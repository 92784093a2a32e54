//! The command line: the set-up's options, and the verbs.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use stage::{Codes, Document, Explain, Id, RunRoot, Section, need_root, print_json, show_effects, signals};

use crate::lock::Lock;
use crate::publish::Publish;
use crate::subnet::Subnet;
use crate::{exec, gc, ls, record, setup};

const EXAMPLES: &str = "\
Examples:
  netns < /dev/null | jq .network                   a namespace with an address, on its own
  pull alpine | mount-overlay | netns | nsrun -- ip address
  netns -p 127.0.0.1:8080:80 < /dev/null            port 80 in there is port 8080 of this host, for this host
  netns --network none < /dev/null                  nothing but a loopback
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
    run: RunRoot,
    #[command(flatten)]
    setup: Setup,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What kind of network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Network {
    /// An address on the host's bridge, and what the host reaches behind NAT
    #[default]
    Bridge,
    /// Nothing but a loopback
    None,
    /// The caller's own: no namespace is made
    Host,
}

/// What the set-up is asked for.
#[derive(Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Setup {
    /// What kind of network
    #[arg(long, value_enum, default_value_t)]
    pub network: Network,
    /// Address of the container, of the bridge's subnet
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<Ipv4Addr>,
    /// Subnet of the bridge, when it is made [env: GOCKER_SUBNET] [default: 172.29.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub subnet: Option<Subnet>,
    /// Publish a port: [hostIP:][hostPort[-range]:]containerPort[-range][/tcp|udp|sctp], as docker's
    #[arg(short, long, value_name = "PORTS")]
    pub publish: Vec<Publish>,
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

#[derive(Subcommand)]
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
    /// Remove what killed set-ups left, and the bridge and its rules when no container needs them
    Gc,
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
    let records = cli.run.of("netns");
    match cli.verb {
        None => set_up(cli.setup, &records)?,
        Some(Verb::Ls) => print_json(&ls::entries(&records)?)?,
        Some(Verb::Undo { id }) => {
            need_root()?;
            signals::hold()?;
            // Nobody makes the table anew meanwhile, with the ports that go.
            let _together = Lock::together()?;
            record::undo(&records, &id)?;
        }
        Some(Verb::Gc) => {
            need_root()?;
            signals::hold()?;
            gc::run(&records)?;
        }
        Some(Verb::Exec { namespace, command }) => exec::run(&namespace, &command)?,
    }
    Ok(0)
}

fn set_up(mut wanted: Setup, records: &std::path::Path) -> Result<()> {
    complete(&mut wanted).code(Codes::USAGE)?;
    let mut document = Document::from_stdin()?;
    document.vacant(Section::Network)?;
    need_root()?;
    signals::hold()?;
    let id = document.identify(wanted.id.take())?;
    setup::run(&id, &wanted, records, |network| {
        document.add(Section::Network, network)?;
        document.write()
    })
}

/// Fills in what the environment says, and checks that the options go together.
fn complete(wanted: &mut Setup) -> Result<()> {
    if wanted.network != Network::Bridge {
        if wanted.ip.is_some() {
            bail!("cannot use --ip: only a container on the bridge has an address");
        }
        if wanted.subnet.is_some() {
            bail!("cannot use --subnet: only the bridge has a subnet");
        }
        if !wanted.publish.is_empty() {
            bail!("cannot use --publish: only a container on the bridge has ports of its own");
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
