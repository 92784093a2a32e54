//! What the rules of others (docker's iptables, ufw, firewalld) do with packets that the host forwards from or to a
//! bridge of ours. Whatever our table accepts still meets their chains, and theirs are not ours to change.
//!
//! Pure. Rules are followed as far as they can be understood without a packet; what cannot be is taken for one that
//! lets it pass, so that nobody is refused for a guess.

use super::encode::{INET, IPV4, IPV6};
use super::ruleset::{TABLE, interface};
use super::table::find;

const NFT_JUMP: i32 = -3;
const NFT_GOTO: i32 = -4;
const NFT_RETURN: i32 = -5;
/// Chains that call chains: the kernel allows 16 (NFT_JUMP_STACK_SIZE).
const DEPTH: u32 = 16;
const NF_INET_FORWARD: [u8; 4] = [0, 0, 0, 2];

/// A chain of somebody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub family: u8,
    pub table: String,
    pub name: String,
    /// Whether it is hooked where packets are forwarded.
    pub forwards: bool,
    drops: bool,
}

/// A rule of somebody's, reduced to what it means for one of our packets.
pub struct Rule {
    family: u8,
    table: String,
    chain: String,
    conditions: Vec<Condition>,
    verdict: Verdict,
}

/// By which interface a packet comes, or goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    In,
    Out,
}

/// What a rule asks.
enum Condition {
    /// The interface's name begins with these bytes (with a NUL, it is the name), or not.
    Interface(Side, Vec<u8>, bool),
    /// Something about the connection.
    Connection,
    /// Addresses, and sets of whatever.
    Unknown,
    /// What a packet of no particular kind does not have: a protocol, a port, a mark.
    Special,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    None,
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
}

/// A packet of no particular kind.
#[derive(Clone, Copy)]
enum Packet {
    /// The first of a connection, from a container to the outside.
    Leaves,
    /// An answer to it.
    Answers,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fits {
    Never,
    Perhaps,
    Always,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passes,
    Drops,
    /// The chain came to its end.
    Undecided,
}

/// A chain of the kernel's answer, unless it is ours.
pub fn chain(family: u8, attributes: &[u8]) -> Option<Chain> {
    let (table, name) = (text(attributes, 1)?, text(attributes, 3)?);
    let hook = find(attributes, 4).and_then(|hook| find(hook, 1));
    let forwards = hook == Some(&NF_INET_FORWARD) && [INET, IPV4, IPV6].contains(&family);
    let drops = find(attributes, 5) == Some(&[0; 4]);
    (table != TABLE).then_some(Chain { family, table, name, forwards, drops })
}

/// A rule of the kernel's answer.
pub fn rule(family: u8, attributes: &[u8]) -> Option<Rule> {
    let (table, chain) = (text(attributes, 1)?, text(attributes, 2)?);
    let mut rule = Rule { family, table, chain, conditions: Vec::new(), verdict: Verdict::None };
    let mut loaded = Loaded::Nothing;
    for expression in list(find(attributes, 4).unwrap_or_default()) {
        let data = find(expression, 2).unwrap_or_default();
        rule.follow(text(expression, 1)?.as_str(), data, &mut loaded);
    }
    Some(rule)
}

/// What the register holds that the next comparison asks about.
enum Loaded {
    Nothing,
    Interface(Side),
    Connection,
    Family,
    Address,
    Other,
}

impl Rule {
    fn follow(&mut self, name: &str, data: &[u8], loaded: &mut Loaded) {
        match name {
            "meta" | "payload" | "ct" => *loaded = load(name, data),
            "bitwise" | "byteorder" | "counter" | "log" | "notrack" => {}
            "cmp" => self.conditions.extend(compared(data, loaded)),
            "lookup" => self.conditions.push(match loaded {
                Loaded::Connection => Condition::Connection,
                // What a map of verdicts says is not known.
                _ => Condition::Unknown,
            }),
            "immediate" => self.verdict = verdict(data),
            "reject" => self.verdict = Verdict::Drop,
            "target" if text(data, 1).is_some_and(|name| name == "REJECT") => self.verdict = Verdict::Drop,
            "match" => match text(data, 1).as_deref() {
                Some("comment") => {}
                Some("conntrack" | "state") => self.conditions.push(Condition::Connection),
                Some("set") => self.conditions.push(Condition::Unknown),
                _ => self.conditions.push(Condition::Special),
            },
            _ => self.conditions.push(Condition::Special),
        }
    }

    fn fits(&self, packet: Packet, bridge: &str) -> Fits {
        let all = self.conditions.iter().map(|condition| condition.fits(packet, bridge));
        all.fold(Fits::Always, |worst, next| match (worst, next) {
            (Fits::Never, _) | (_, Fits::Never) => Fits::Never,
            (Fits::Perhaps, _) | (_, Fits::Perhaps) => Fits::Perhaps,
            _ => Fits::Always,
        })
    }
}

fn load(name: &str, data: &[u8]) -> Loaded {
    let number = |kind| find(data, kind).and_then(|value| value.try_into().ok()).map(u32::from_be_bytes);
    match (name, number(2)) {
        // NFT_META_IIFNAME, NFT_META_OIFNAME, NFT_META_NFPROTO.
        ("meta", Some(6)) => Loaded::Interface(Side::In),
        ("meta", Some(7)) => Loaded::Interface(Side::Out),
        ("meta", Some(15)) => Loaded::Family,
        ("ct", _) => Loaded::Connection,
        // NFT_PAYLOAD_NETWORK_HEADER: source and destination in either family.
        ("payload", Some(1)) if matches!(number(3), Some(8 | 12 | 16 | 24)) => Loaded::Address,
        _ => Loaded::Other,
    }
}

fn compared(data: &[u8], loaded: &Loaded) -> Option<Condition> {
    let is = find(data, 2) == Some(&[0; 4]);
    let bytes = find(data, 3).and_then(|data| find(data, 1)).unwrap_or_default();
    match loaded {
        Loaded::Interface(side) => Some(Condition::Interface(*side, bytes.to_vec(), is)),
        Loaded::Connection => Some(Condition::Connection),
        Loaded::Address => Some(Condition::Unknown),
        // A table of both families: the other one's rules are left out, and IPv4 is what everybody has.
        Loaded::Family if (bytes == [IPV4]) == is => None,
        _ => Some(Condition::Special),
    }
}

fn verdict(data: &[u8]) -> Verdict {
    let Some(verdict) = find(data, 2).and_then(|data| find(data, 2)) else { return Verdict::None };
    let code = find(verdict, 1).and_then(|code| code.try_into().ok()).map(i32::from_be_bytes);
    let chain = || text(verdict, 2).unwrap_or_default();
    match code {
        Some(0) => Verdict::Drop,
        Some(NFT_JUMP) => Verdict::Jump(chain()),
        Some(NFT_GOTO) => Verdict::Goto(chain()),
        Some(NFT_RETURN) => Verdict::Return,
        Some(1..) => Verdict::Accept,
        _ => Verdict::None,
    }
}

impl Condition {
    fn fits(&self, packet: Packet, bridge: &str) -> Fits {
        match (self, packet) {
            (Condition::Special, _) | (Condition::Connection, Packet::Leaves) => Fits::Never,
            (Condition::Unknown, _) | (Condition::Connection, Packet::Answers) => Fits::Perhaps,
            (Condition::Interface(side, bytes, is), _) => {
                let ours =
                    matches!((side, packet), (Side::In, Packet::Leaves) | (Side::Out, Packet::Answers));
                match interface(bridge).starts_with(bytes) == *is {
                    _ if !ours => Fits::Perhaps,
                    true => Fits::Always,
                    false => Fits::Never,
                }
            }
        }
    }
}

/// The chain that drops what comes from the bridge or goes there, if there is one.
pub fn dropping<'a>(chains: &'a [Chain], rules: &[Rule], bridge: &str, v6: bool) -> Option<&'a Chain> {
    let concerned = |chain: &&Chain| chain.forwards && (v6 || chain.family != IPV6);
    chains.iter().filter(concerned).find(|chain| {
        [Packet::Leaves, Packet::Answers].into_iter().any(|packet| {
            let walk = Walk { rules, family: chain.family, table: &chain.table, packet, bridge };
            match walk.through(&chain.name, DEPTH) {
                Fate::Undecided => chain.drops,
                fate => fate == Fate::Drops,
            }
        })
    })
}

struct Walk<'a> {
    rules: &'a [Rule],
    family: u8,
    table: &'a str,
    packet: Packet,
    bridge: &'a str,
}

impl Walk<'_> {
    fn through(&self, chain: &str, depth: u32) -> Fate {
        let here =
            |rule: &&Rule| rule.family == self.family && rule.table == self.table && rule.chain == chain;
        for rule in self.rules.iter().filter(here) {
            let fits = rule.fits(self.packet, self.bridge);
            let certain = fits == Fits::Always;
            let fate = match &rule.verdict {
                _ if fits == Fits::Never => continue,
                Verdict::None => continue,
                Verdict::Accept => return Fate::Passes,
                Verdict::Drop => Fate::Drops,
                Verdict::Return if certain => return Fate::Undecided,
                Verdict::Return => continue,
                Verdict::Jump(to) | Verdict::Goto(to) if depth > 0 => self.through(to, depth - 1),
                Verdict::Jump(_) | Verdict::Goto(_) => Fate::Passes,
            };
            match fate {
                Fate::Passes => return Fate::Passes,
                Fate::Drops if certain => return Fate::Drops,
                Fate::Undecided if certain && matches!(rule.verdict, Verdict::Goto(_)) => return fate,
                Fate::Drops | Fate::Undecided => {}
            }
        }
        Fate::Undecided
    }
}

/// The command that lets the bridge's packets pass, in the words of whoever's chain this is.
pub fn remedy(chain: &Chain, chains: &[Chain], bridge: &str) -> String {
    let (family, table) = (chain.family, &chain.table);
    let has = |name: &str| {
        chains.iter().any(|other| other.family == family && &other.table == table && other.name == name)
    };
    if table == "firewalld" {
        return format!(
            "firewall-cmd --permanent --zone=trusted --add-interface={bridge} && firewall-cmd --reload"
        );
    }
    if has("ufw-before-forward") || has("ufw6-before-forward") {
        return format!("ufw route allow in on {bridge}; ufw route allow out on {bridge}");
    }
    if table == "filter" && family != INET && chain.name == "FORWARD" {
        let program = if family == IPV4 { "iptables" } else { "ip6tables" };
        // What docker leaves alone when it starts anew.
        let into = if has("DOCKER-USER") { "DOCKER-USER" } else { "FORWARD" };
        return format!(
            "{program} -I {into} -i {bridge} -j ACCEPT; {program} -I {into} -o {bridge} -j ACCEPT"
        );
    }
    let place = chain.place();
    format!(
        "nft insert rule {place} iifname {bridge} accept; nft insert rule {place} oifname {bridge} accept"
    )
}

impl Chain {
    /// As nft(8) names it.
    pub fn place(&self) -> String {
        let family = match self.family {
            IPV4 => "ip",
            IPV6 => "ip6",
            _ => "inet",
        };
        format!("{family} {} {}", self.table, self.name)
    }
}

fn text(attributes: &[u8], kind: u16) -> Option<String> {
    let bytes = find(attributes, kind)?;
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..end]).ok().map(str::to_owned)
}

/// The elements of a list.
fn list(attributes: &[u8]) -> Vec<&[u8]> {
    let elements = rtnetlink::packet_core::NlasIterator::new(attributes).flatten();
    elements
        .filter_map(|element| {
            let end = usize::from(element.length());
            element.into_inner().get(4..end)
        })
        .collect()
}
