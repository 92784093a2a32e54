//! What our table holds: sets that name the bridges and their subnets, and rules that never change.
//!
//! Pure. Each object carries the nft(8) command that would make it, for `-v` and for errors.

use super::encode::{Attributes, Message};
use super::expression::{self as e, Expression, Membership};
use crate::subnet::Subnet;

/// The table's name, in every family.
pub const TABLE: &str = "gocker";
/// Goes up when the rules change, so that a newer netns notices those of an older one.
pub const COMMENT: &str = "rules of gocker netns, version 1";

const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const NEWRULE: u16 = 6;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;

/// nft's numbers for the types of keys (its include/datatype.h), six bits each in a concatenation.
const IPV4_ADDR: u32 = 7;
const IFNAME: u32 = 41;

/// A named set: its key in nft's words, type, bytes, and NFT_SET_… flags.
struct Set {
    name: &'static str,
    key: &'static str,
    kind: u32,
    length: u32,
    flags: u32,
}

const NFT_SET_INTERVAL: u32 = 4;

const SETS: [Set; 3] = [
    Set { name: "bridges", key: "type ifname;", kind: IFNAME, length: 16, flags: 0 },
    Set { name: "pairs", key: "type ifname . ifname;", kind: IFNAME << 6 | IFNAME, length: 32, flags: 0 },
    Set {
        name: "subnets",
        key: "type ipv4_addr; flags interval;",
        kind: IPV4_ADDR,
        length: 4,
        flags: NFT_SET_INTERVAL,
    },
];

/// A base chain, its hook, and its rules.
pub struct Chain {
    pub name: &'static str,
    kind: &'static str,
    hook: (&'static str, u32),
    priority: i32,
    pub rules: Vec<Rule>,
}

/// A rule in nft's words and in the kernel's.
pub struct Rule {
    text: &'static str,
    expressions: Vec<Expression>,
}

/// The chains. Replies come in; containers of one bridge reach each other (the bridge's own traffic passes here
/// when br_netfilter is on), those of two do not; what leaves is allowed; from outside comes in only what a
/// published port has turned to a container.
pub fn chains() -> [Chain; 2] {
    [
        Chain { name: "forward", kind: "filter", hook: ("forward", 2), priority: 0, rules: forward() },
        Chain {
            name: "postrouting",
            kind: "nat",
            hook: ("postrouting", 4),
            priority: 100,
            rules: vec![Rule {
                text: "ip saddr @subnets oifname != @bridges masquerade",
                expressions: vec![
                    e::ip_saddr(),
                    e::lookup("subnets", Membership::In),
                    e::oifname(e::FIRST),
                    e::lookup("bridges", Membership::NotIn),
                    e::masquerade(),
                ],
            }],
        },
    ]
}

fn forward() -> Vec<Rule> {
    let to_bridge = || vec![e::oifname(e::FIRST), e::lookup("bridges", Membership::In)];
    let from_bridge = || vec![e::iifname(e::FIRST), e::lookup("bridges", Membership::In)];
    let pair = vec![e::iifname(e::FIRST), e::oifname(e::SECOND), e::lookup("pairs", Membership::In)];
    let rule =
        |text, parts: Vec<Vec<Expression>>| Rule { text, expressions: parts.into_iter().flatten().collect() };
    vec![
        rule(
            "oifname @bridges ct state established,related accept",
            vec![to_bridge(), e::ct_state_known().into(), vec![e::accept()]],
        ),
        rule("iifname . oifname @pairs accept", vec![pair, vec![e::accept()]]),
        rule(
            "oifname @bridges ct status dnat accept",
            vec![to_bridge(), e::ct_status_dnat().into(), vec![e::accept()]],
        ),
        rule("oifname @bridges drop", vec![to_bridge(), vec![e::drop()]]),
        rule("iifname @bridges accept", vec![from_bridge(), vec![e::accept()]]),
    ]
}

/// The whole table, in the place of what is there of it.
pub fn install(networks: &[(&str, Subnet)]) -> Vec<Message> {
    // Adding before deleting: a deletion of what is not there would fail.
    let mut messages = vec![table(), delete(), table()];
    messages.extend(SETS.iter().zip(1..).map(|(set, id)| new_set(set, id)));
    for (bridge, subnet) in networks {
        messages.extend(add_network(bridge, *subnet));
    }
    for chain in chains() {
        messages.push(new_chain(&chain));
        messages.extend(chain.rules.iter().map(|rule| new_rule(chain.name, rule)));
    }
    messages
}

/// Removes the table. Refused if it is not there.
pub fn delete() -> Message {
    let attributes = Attributes::default().text(1, TABLE);
    message(DELTABLE, 0, attributes, format!("delete table ip {TABLE}"))
}

fn table() -> Message {
    // NFTNL_UDATA_TABLE_COMMENT 0, its length, its text.
    let length = u8::try_from(COMMENT.len() + 1).unwrap_or(u8::MAX);
    let comment = [&[0, length], COMMENT.as_bytes(), &[0]].concat();
    let attributes = Attributes::default().text(1, TABLE).bytes(6, &comment);
    let text = format!("add table ip {TABLE} {{ comment \"{COMMENT}\"; }}");
    message(NEWTABLE, NLM_F_CREATE, attributes, text)
}

fn new_set(set: &Set, id: u32) -> Message {
    let attributes = Attributes::default()
        .text(1, TABLE)
        .text(2, set.name)
        .number(3, set.flags)
        .number(4, set.kind)
        .number(5, set.length)
        .number(10, id)
        .bytes(13, &byte_order(set));
    message(NEWSET, NLM_F_CREATE, attributes, format!("add set ip {TABLE} {} {{ {} }}", set.name, set.key))
}

/// For nft(8), which prints interface names wrongly without it: NFTNL_UDATA_SET_KEYBYTEORDER 0, its length, and
/// whether the key is in the host's byte order (1) or the network's (2).
fn byte_order(set: &Set) -> Vec<u8> {
    let order: u32 = if set.kind == IPV4_ADDR { 2 } else { 1 };
    [&[0, 4], &order.to_ne_bytes()[..]].concat()
}

/// Makes the rules treat this bridge and subnet as one of ours.
fn add_network(bridge: &str, subnet: Subnet) -> [Message; 3] {
    let ifname = interface(bridge);
    let net = subnet.net();
    let behind = u32::from(net.broadcast()).wrapping_add(1);
    // An interval is its first key, and the first key behind it, marked NFT_SET_ELEM_INTERVAL_END.
    let interval = Attributes::default()
        .nest(1, &element(&net.network().octets()))
        .nest(1, &element(&behind.to_be_bytes()).number(3, 1));
    let one = |key: &[u8]| Attributes::default().nest(1, &element(key));
    [
        add_elements("bridges", &one(&ifname), &format!("\"{bridge}\"")),
        add_elements("pairs", &one(&[ifname, ifname].concat()), &format!("\"{bridge}\" . \"{bridge}\"")),
        add_elements("subnets", &interval, &net.to_string()),
    ]
}

fn add_elements(set: &str, elements: &Attributes, text: &str) -> Message {
    let attributes = Attributes::default().text(1, TABLE).text(2, set).nest(3, elements);
    message(NEWSETELEM, NLM_F_CREATE, attributes, format!("add element ip {TABLE} {set} {{ {text} }}"))
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
    let text = format!("add chain ip {TABLE} {} {{ {definition} }}", chain.name);
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
        format!("add rule ip {TABLE} {chain} {}", rule.text),
    )
}

fn message(kind: u16, flags: u16, attributes: Attributes, what: String) -> Message {
    Message { kind, flags, attributes, what }
}
