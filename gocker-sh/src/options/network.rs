//! The container's network, as it was typed.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use clap::Args;
use serde::{Deserialize, Serialize};

/// The container's network.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Connect it to the bridge, to a network of `network create`, to nothing, share the host's or another container's
    #[arg(long, visible_alias = "net", value_name = "bridge|NAME|host|none|container:ID")]
    pub network: Option<Mode>,
    /// Another name of the container on its network
    #[arg(long, value_name = "NAME")]
    pub network_alias: Vec<String>,
    /// Publish a port: [ADDRESS:][HOST-PORT:]PORT[/tcp|udp|sctp], ranges with a dash
    #[arg(short, long, value_name = "PORTS")]
    pub publish: Vec<String>,
    /// Publish all ports that the image or --expose names, each on one that is free
    #[arg(short = 'P', long)]
    pub publish_all: bool,
    /// Name a port for --publish-all
    #[arg(long, value_name = "PORT[/tcp|udp|sctp]")]
    pub expose: Vec<String>,
    /// Its address on the bridge
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,
    /// Its address of IPv6
    #[arg(long, value_name = "ADDRESS")]
    pub ip6: Option<String>,
    /// Hardware address of its interface
    #[arg(long, value_name = "MAC")]
    pub mac_address: Option<String>,
    /// Add a line to /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub add_host: Vec<String>,
    /// Ask this name server
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<String>,
    /// Search names in this domain
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Set an option of resolv.conf
    #[arg(long, value_name = "OPTION")]
    pub dns_option: Vec<String>,
}

impl Network {
    pub fn mode(&self) -> Mode {
        self.network.clone().unwrap_or_default()
    }
}

/// What a container is connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Mode {
    #[default]
    Bridge,
    Host,
    None,
    /// A network of `network create`.
    Named(String),
    /// Another container's network: its id, or what was typed for it.
    Container(String),
}

impl From<String> for Mode {
    fn from(text: String) -> Mode {
        match text.as_str() {
            "bridge" | "default" => Mode::Bridge,
            "host" => Mode::Host,
            "none" => Mode::None,
            other => match other.strip_prefix("container:") {
                Some(container) => Mode::Container(container.to_owned()),
                None => Mode::Named(text),
            },
        }
    }
}

impl FromStr for Mode {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Mode, Infallible> {
        Ok(text.to_owned().into())
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Mode::Bridge => f.write_str("bridge"),
            Mode::Host => f.write_str("host"),
            Mode::None => f.write_str("none"),
            Mode::Named(name) => f.write_str(name),
            Mode::Container(container) => write!(f, "container:{container}"),
        }
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> String {
        mode.to_string()
    }
}
