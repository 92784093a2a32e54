//! netns, from outside: checked with ip(8), nft(8), ping(8), nc(1) and sockets of our own in the namespaces.

mod addresses;
mod cni;
mod container;
mod documents;
mod engines;
mod faults;
mod foreign;
mod ground;
mod ipv6;
mod macvlan;
mod members;
mod networks;
mod ports;
mod resolver;
mod traffic;
mod upkeep;
mod verbs;
