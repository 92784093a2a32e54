//! `netns`: gives a container its network: namespace, veth pair into the host's bridge, address, NAT, published ports.
//!
//! It knows links, addresses, routes and packet filter rules; it does not know what runs in the namespace.
#![forbid(unsafe_code)]

mod bridge;
mod cli;
mod cni;
mod conflict;
mod departure;
mod dirs;
mod dns;
mod exec;
mod foreign;
mod forwarding;
mod gc;
mod ground;
mod inside;
mod link;
mod listening;
mod lock;
mod ls;
mod macvlan;
mod manage;
mod members;
mod netlink;
mod network;
mod nft;
mod pin;
mod ports;
mod publish;
mod rebuild;
mod record;
mod repair;
mod rtnl;
mod section;
mod setup;
mod stats;
mod subnet;
mod subnet6;
mod veth;

use std::process::ExitCode;

fn main() -> ExitCode {
    if cni::is_called() { cni::main() } else { cli::main() }
}
