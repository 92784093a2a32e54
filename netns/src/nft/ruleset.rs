//! What our table holds: sets that name the bridges and their subnets, maps of the published ports, and rules that
//! never change.
//!
//! Pure. Each object carries the nft(8) command that would make it, for `-v` and for errors.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::chain::{self, Chain, Rule};
use super::encode::{Attributes, INET, Message};
use super::port::{Port, map_of};

/// The table's name.
pub const TABLE: &str = "gocker";
/// Goes up when the rules change, so that a newer netns notices those of an older one.
pub const COMMENT: &str = "rules of gocker netns, version 2";

const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const NEWRULE: u16 = 6;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;

const NFT_SET_INTERVAL: u32 = 4;
const NFT_SET_MAP: u32 = 8;

/// A type of a set's keys or of a map's values: nft's number for it (its include/datatype.h; six bits for each part
/// of a concatenation) and its length in bytes, each part rounded up to four.
#[derive(Clone, Copy)]
struct Type(u32, u32);

impl Type {
    const IPV4: Type = Type(7, 4);
    const IPV6: Type = Type(8, 16);
    const PROTOCOL: Type = Type(12, 4);
    const PORT: Type = Type(13, 4);
    const IFNAME: Type = Type(41, 16);

    const fn then(self, next: Type) -> Type {
        Type(self.0 << 6 | next.0, self.1 + next.1)
    }
}

/// A named set or map.
struct Set {
    name: &'static str,
    /// As nft(8) writes it.
    text: &'static str,
    key: Type,
    value: Option<Type>,
    flags: u32,
}

const fn set(name: &'static str, text: &'static str, key: Type, flags: u32) -> Set {
    Set { name, text, key, value: None, flags }
}

const fn map(name: &'static str, text: &'static str, key: Type, value: Type) -> Set {
    Set { name, text, key, value: Some(value), flags: NFT_SET_MAP }
}

const SETS: [Set; 11] = [
    set("bridges", "type ifname;", Type::IFNAME, 0),
    set("pairs", "type ifname . ifname;", Type::IFNAME.then(Type::IFNAME), 0),
    set("internals", "type ifname;", Type::IFNAME, 0),
    set("subnets", "type ipv4_addr; flags interval;", Type::IPV4, NFT_SET_INTERVAL),
    set("subnets6", "type ipv6_addr; flags interval;", Type::IPV6, NFT_SET_INTERVAL),
    set("selves", "type ipv4_addr . ipv4_addr;", Type::IPV4.then(Type::IPV4), 0),
    set("selves6", "type ipv6_addr . ipv6_addr;", Type::IPV6.then(Type::IPV6), 0),
    map(
        "ports",
        "type inet_proto . inet_service : ipv4_addr . inet_service;",
        Type::PROTOCOL.then(Type::PORT),
        Type::IPV4.then(Type::PORT),
    ),
    map(
        "ports_at",
        "type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service;",
        Type::PROTOCOL.then(Type::IPV4).then(Type::PORT),
        Type::IPV4.then(Type::PORT),
    ),
    map(
        "ports6",
        "type inet_proto . inet_service : ipv6_addr . inet_service;",
        Type::PROTOCOL.then(Type::PORT),
        Type::IPV6.then(Type::PORT),
    ),
    map(
        "ports6_at",
        "type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service;",
        Type::PROTOCOL.then(Type::IPV6).then(Type::PORT),
        Type::IPV6.then(Type::PORT),
    ),
];

/// One of our networks as the rules know it: its bridge, and the subnets behind this host's own addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub bridge: String,
    pub hidden: Vec<IpNet>,
    /// Nothing leaves it.
    pub internal: bool,
}

/// The whole table, in the place of what is there of it.
pub fn install(networks: &[Network], ports: &[Port]) -> Vec<Message> {
    // Adding before deleting: a deletion of what is not there would fail.
    let mut messages = vec![table(), delete(), table()];
    messages.extend(SETS.iter().zip(1..).map(|(set, id)| new_set(set, id)));
    messages.extend(networks.iter().flat_map(add_network));
    messages.extend(change_ports(&PortChange { added: ports.to_vec(), ..PortChange::default() }));
    for chain in chain::all() {
        messages.push(new_chain(&chain));
        messages.extend(chain.rules.iter().map(|rule| new_rule(chain.name, rule)));
    }
    messages
}

/// Removes the table. Refused if it is not there.
pub fn delete() -> Message {
    let attributes = Attributes::default().text(1, TABLE);
    message(DELTABLE, 0, attributes, format!("delete table inet {TABLE}"))
}

fn table() -> Message {
    // NFTNL_UDATA_TABLE_COMMENT 0, its length, its text.
    let length = u8::try_from(COMMENT.len() + 1).unwrap_or(u8::MAX);
    let comment = [&[0, length], COMMENT.as_bytes(), &[0]].concat();
    let attributes = Attributes::default().text(1, TABLE).bytes(6, &comment);
    let text = format!("add table inet {TABLE} {{ comment \"{COMMENT}\"; }}");
    message(NEWTABLE, NLM_F_CREATE, attributes, text)
}

fn new_set(set: &Set, id: u32) -> Message {
    let attributes = Attributes::default()
        .text(1, TABLE)
        .text(2, set.name)
        .number(3, set.flags)
        .number(4, set.key.0)
        .number(5, set.key.1);
    let (word, attributes) = match set.value {
        Some(Type(kind, length)) => ("map", attributes.number(6, kind).number(7, length)),
        None => ("set", attributes),
    };
    let attributes = attributes.number(10, id).bytes(13, &byte_order(set));
    let text = format!("add {word} inet {TABLE} {} {{ {} }}", set.name, set.text);
    message(NEWSET, NLM_F_CREATE, attributes, text)
}

/// For nft(8), which prints interface names wrongly without it: NFTNL_UDATA_SET_KEYBYTEORDER 0, its length, and
/// whether the key is in the host's byte order (1) or the network's (2).
fn byte_order(set: &Set) -> Vec<u8> {
    let order: u32 = if set.key.0 & 63 == Type::IFNAME.0 { 1 } else { 2 };
    [&[0, 4], &order.to_ne_bytes()[..]].concat()
}

/// Makes the rules treat this bridge and its subnets as ours.
pub fn add_network(network: &Network) -> Vec<Message> {
    let bridge = &network.bridge;
    let ifname = interface(bridge);
    let add =
        |set: &str, key: &[u8], text: &str| elements(NEWSETELEM, NLM_F_CREATE, set, &element(key), text);
    let mut messages = vec![
        add("bridges", &ifname, &format!("\"{bridge}\"")),
        add("pairs", &[ifname, ifname].concat(), &format!("\"{bridge}\" . \"{bridge}\"")),
    ];
    if network.internal {
        messages.push(add("internals", &ifname, &format!("\"{bridge}\"")));
    }
    messages.extend(network.hidden.iter().map(add_subnet));
    messages
}

fn add_subnet(net: &IpNet) -> Message {
    let set = if matches!(net, IpNet::V4(_)) { "subnets" } else { "subnets6" };
    let (first, behind) = bounds(net);
    // An interval is its first key, and the first key behind it, marked NFT_SET_ELEM_INTERVAL_END.
    let interval = Attributes::default().nest(1, &element(&first)).nest(1, &element(&behind).number(3, 1));
    let attributes = Attributes::default().text(1, TABLE).text(2, set).nest(3, &interval);
    message(NEWSETELEM, NLM_F_CREATE, attributes, format!("add element inet {TABLE} {set} {{ {net} }}"))
}

/// The first address of a network, and the first one behind it.
fn bounds(net: &IpNet) -> (Vec<u8>, Vec<u8>) {
    match (net.network(), net.broadcast()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            (first.octets().into(), u32::from(last).wrapping_add(1).to_be_bytes().into())
        }
        (first, IpAddr::V6(last)) => (octets(first), u128::from(last).wrapping_add(1).to_be_bytes().into()),
        (first, last) => (octets(first), octets(last)),
    }
}

/// An address as the kernel has it.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().into(),
        IpAddr::V6(address) => address.octets().into(),
    }
}

/// A change of the published ports.
#[derive(Default)]
pub struct PortChange {
    pub removed: Vec<Port>,
    pub added: Vec<Port>,
    /// Addresses of containers that no port leads to any more.
    pub left: Vec<IpAddr>,
}

/// What comes from and goes to one of the added ports' containers, itself, is known as such from now on.
///
/// Refused if a removed port is not there, or the same port of the same address as an added one's is.
pub fn change_ports(change: &PortChange) -> Vec<Message> {
    let mut messages: Vec<Message> = change.removed.iter().map(remove_port).collect();
    // Adding before deleting: somebody may have flushed the set.
    messages.extend(change.left.iter().flat_map(|to| [itself(*to, NEWSETELEM), itself(*to, DELSETELEM)]));
    let to: BTreeSet<IpAddr> = change.added.iter().map(|port| port.to).collect();
    messages.extend(to.into_iter().map(|to| itself(to, NEWSETELEM)));
    messages.extend(change.added.iter().map(add_port));
    messages
}

fn add_port(port: &Port) -> Message {
    let set = map_of(port.mapping.host_ip);
    elements(NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL, set, &port.element(), &port.text())
}

fn remove_port(port: &Port) -> Message {
    elements(DELSETELEM, 0, map_of(port.mapping.host_ip), &element(&port.key()), &port.key_text())
}

fn itself(address: IpAddr, kind: u16) -> Message {
    let set = if address.is_ipv4() { "selves" } else { "selves6" };
    let key = [octets(address), octets(address)].concat();
    elements(kind, NLM_F_CREATE, set, &element(&key), &format!("{address} . {address}"))
}

fn elements(kind: u16, flags: u16, set: &str, element: &Attributes, text: &str) -> Message {
    let verb = if kind == NEWSETELEM { "add" } else { "delete" };
    let list = Attributes::default().nest(1, element);
    let attributes = Attributes::default().text(1, TABLE).text(2, set).nest(3, &list);
    message(kind, flags, attributes, format!("{verb} element inet {TABLE} {set} {{ {text} }}"))
}

/// An element's key.
pub fn element(key: &[u8]) -> Attributes {
    Attributes::default().nest(1, &Attributes::default().bytes(1, key))
}

/// An interface's name as the key of a set.
pub fn interface(name: &str) -> [u8; 16] {
    let mut key = [0; 16];
    key.iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place = byte);
    key
}

fn new_chain(chain: &Chain) -> Message {
    let (hook_name, hook_number) = chain.hook;
    let hook = Attributes::default().number(1, hook_number).number(2, chain.priority.cast_unsigned());
    let attributes =
        Attributes::default().text(1, TABLE).text(3, chain.name).nest(4, &hook).text(7, chain.kind);
    let definition = format!("type {} hook {hook_name} priority {};", chain.kind, chain.priority);
    let text = format!("add chain inet {TABLE} {} {{ {definition} }}", chain.name);
    message(NEWCHAIN, NLM_F_CREATE, attributes, text)
}

fn new_rule(chain: &str, rule: &Rule) -> Message {
    let expressions = rule
        .expressions
        .iter()
        .fold(Attributes::default(), |list, expression| list.nest(1, &expression.element()));
    let attributes = Attributes::default().text(1, TABLE).text(2, chain).nest(4, &expressions);
    message(
        NEWRULE,
        NLM_F_CREATE | NLM_F_APPEND,
        attributes,
        format!("add rule inet {TABLE} {chain} {}", rule.text),
    )
}

fn message(kind: u16, flags: u16, attributes: Attributes, what: String) -> Message {
    Message { family: INET, kind, flags, attributes, what }
}
