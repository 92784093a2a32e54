//! netns: gives a container its network.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "the pieces; the command line that puts them together comes next")]

mod bridge;
mod dns;
mod link;
mod netlink;
mod nft;
mod pin;
mod rtnl;
mod subnet;

fn main() {}
