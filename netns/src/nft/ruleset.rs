//! What our table holds: sets that name the bridges and their subnets, maps of the published ports, and rules that
//! never change.
//!
//! Pure. Each object carries the nft(8) command that would make it, for `-v` and for errors.

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

const SETS: [Set; 8] = [
    set("bridges", "type ifname;", Type::IFNAME, 0),
    set("pairs", "type ifname . ifname;", Type::IFNAME.then(Type::IFNAME), 0),
    set("subnets", "type ipv4_addr; flags interval;", Type::IPV4, NFT_SET_INTERVAL),
    set("subnets6", "type ipv6_addr; flags interval;", Type::IPV6, NFT_SET_INTERVAL),
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
}

/// The whole table, in the place of what is there of it.
pub fn install(networks: &[Network], ports: &[Port]) -> Vec<Message> {
    // Adding before deleting: a deletion of what is not there would fail.
    let mut messages = vec![table(), delete(), table()];
    messages.extend(SETS.iter().zip(1..).map(|(set, id)| new_set(set, id)));
    messages.extend(networks.iter().flat_map(add_network));
    messages.extend(ports.iter().map(add_port));
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
    elements_of(network, NEWSETELEM, "add")
}

fn elements_of(network: &Network, kind: u16, verb: &str) -> Vec<Message> {
    let bridge = &network.bridge;
    let ifname = interface(bridge);
    let change = |set: &str, elements: &Attributes, text: &str| {
        let attributes = Attributes::default().text(1, TABLE).text(2, set).nest(3, elements);
        message(kind, NLM_F_CREATE, attributes, format!("{verb} element inet {TABLE} {set} {{ {text} }}"))
    };
    let one = |key: &[u8]| Attributes::default().nest(1, &element(key));
    let mut messages = vec![
        change("bridges", &one(&ifname), &format!("\"{bridge}\"")),
        change("pairs", &one(&[ifname, ifname].concat()), &format!("\"{bridge}\" . \"{bridge}\"")),
    ];
    messages.extend(network.hidden.iter().map(|net| {
        let set = if matches!(net, IpNet::V4(_)) { "subnets" } else { "subnets6" };
        let (first, behind) = bounds(net);
        // An interval is its first key, and the first key behind it, marked NFT_SET_ELEM_INTERVAL_END.
        let interval =
            Attributes::default().nest(1, &element(&first)).nest(1, &element(&behind).number(3, 1));
        change(set, &interval, &net.to_string())
    }));
    messages
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

/// Publishes a port. Refused if the same port of the same address is published already.
pub fn add_port(port: &Port) -> Message {
    change_port(port, &port.element(), NEWSETELEM, "add")
}

/// Takes a port back. Refused if it is not published.
pub fn remove_port(port: &Port) -> Message {
    change_port(port, &element(&port.key()), DELSETELEM, "delete")
}

fn change_port(port: &Port, element: &Attributes, kind: u16, verb: &str) -> Message {
    let set = map_of(port.mapping.host_ip);
    let elements = Attributes::default().nest(1, element);
    let attributes = Attributes::default().text(1, TABLE).text(2, set).nest(3, &elements);
    let flags = if kind == NEWSETELEM { NLM_F_CREATE | NLM_F_EXCL } else { 0 };
    let text = if kind == NEWSETELEM { port.text() } else { port.key_text() };
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
