//! The chains of our table and their rules.
//!
//! Pure. What a rule asks about bridges, subnets and ports it asks the sets, so that the rules never change.

use super::expression::{self as e, Comparison, Expression, Family, Membership};

/// A base chain, its hook, and its rules.
pub struct Chain {
    pub name: &'static str,
    pub kind: &'static str,
    /// Its name, and the number of the kernel's NF_INET_….
    pub hook: (&'static str, u32),
    pub priority: i32,
    pub rules: Vec<Rule>,
}

/// A rule in nft's words and in the kernel's.
pub struct Rule {
    pub text: &'static str,
    pub expressions: Vec<Expression>,
}

const PREROUTING: (&str, u32) = ("prerouting", 0);
const FORWARD: (&str, u32) = ("forward", 2);
const OUTPUT: (&str, u32) = ("output", 3);
const POSTROUTING: (&str, u32) = ("postrouting", 4);

pub fn all() -> [Chain; 6] {
    let chain = |name, kind, hook, priority, rules| Chain { name, kind, hook, priority, rules };
    [
        chain("martians", "filter", PREROUTING, -300, martians()),
        chain("prerouting", "nat", PREROUTING, -100, published()),
        chain(
            "output",
            "nat",
            OUTPUT,
            -100,
            [not_from_loopback6(), published()].into_iter().flatten().collect(),
        ),
        chain("redirects", "filter", OUTPUT, 0, redirects()),
        chain("forward", "filter", FORWARD, 0, forward()),
        chain("postrouting", "nat", POSTROUTING, 100, postrouting()),
    ]
}

fn rule<const N: usize>(text: &'static str, parts: [Vec<Expression>; N]) -> Rule {
    Rule { text, expressions: parts.into_iter().flatten().collect() }
}

fn to_bridge() -> Vec<Expression> {
    vec![e::oifname(e::FIRST), e::lookup("bridges", Membership::In)]
}

fn from_bridge() -> Vec<Expression> {
    vec![e::iifname(e::FIRST), e::lookup("bridges", Membership::In)]
}

fn from_internal() -> Vec<Expression> {
    vec![e::iifname(e::FIRST), e::lookup("internals", Membership::In)]
}

fn to_internal() -> Vec<Expression> {
    vec![e::oifname(e::FIRST), e::lookup("internals", Membership::In)]
}

fn pair() -> Vec<Expression> {
    vec![e::iifname(e::FIRST), e::oifname(e::SECOND), e::lookup("pairs", Membership::In)]
}

/// The bridges accept addresses of the loopback (`route_localnet`), or answers to 127.0.0.1 would be lost: so it must
/// be seen to here that nobody but this host talks to them. And a container has no business with a sender's address
/// that is not of its network (`::` has who looks whether its address is free). Ahead of conntrack, which turns the
/// answers.
fn martians() -> Vec<Rule> {
    let elsewhere =
        vec![e::iifname(e::FIRST), e::compare(Comparison::NotEqual, b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0")];
    let v6 = vec![e::saddr(Family::V6), e::compare(Comparison::NotEqual, &[0; 16])];
    let drop = || vec![e::drop()];
    vec![
        rule(
            "iifname != \"lo\" ip daddr 127.0.0.0/8 drop",
            [elsewhere, e::only(Family::V4).into(), e::to_loopback().into(), drop()],
        ),
        rule(
            "iifname @bridges meta nfproto ipv4 fib saddr . iif oif missing drop",
            [from_bridge(), e::only(Family::V4).into(), e::fib_saddr_missing().into(), drop()],
        ),
        rule(
            "iifname @bridges ip6 saddr != :: fib saddr . iif oif missing drop",
            [from_bridge(), e::only(Family::V6).into(), v6, e::fib_saddr_missing().into(), drop()],
        ),
    ]
}

/// The kernel delivers nothing to ::1 that comes in on another interface than the loopback, so the answers would be lost:
/// better that ::1 refuses at once, and who asked for `localhost` tries 127.0.0.1.
fn not_from_loopback6() -> Vec<Rule> {
    let loopback = std::net::Ipv6Addr::LOCALHOST.octets();
    let to = vec![e::daddr(Family::V6, e::FIRST), e::compare(Comparison::Equal, &loopback), e::return_()];
    vec![rule("ip6 daddr ::1 return", [e::only(Family::V6).into(), to])]
}

/// A port of one address of the host's, then a port of all.
fn published() -> Vec<Rule> {
    let at = |family, map| {
        let key = vec![e::l4proto(e::word(0)), e::daddr(family, e::word(1))];
        let port = e::word(1 + family.words());
        [e::only(family).into(), key, vec![e::dport(port), e::map(map), e::dnat(family)]]
    };
    let any =
        |family, map| [vec![e::l4proto(e::word(0)), e::dport(e::word(1)), e::map(map), e::dnat(family)]];
    vec![
        rule(
            "fib daddr type != local return",
            [e::fib_daddr_local(Comparison::NotEqual).into(), vec![e::return_()]],
        ),
        rule("dnat ip to meta l4proto . ip daddr . th dport map @ports_at", at(Family::V4, "ports_at")),
        rule("dnat ip to meta l4proto . th dport map @ports", any(Family::V4, "ports")),
        rule("dnat ip6 to meta l4proto . ip6 daddr . th dport map @ports6_at", at(Family::V6, "ports6_at")),
        rule("dnat ip6 to meta l4proto . th dport map @ports6", any(Family::V6, "ports6")),
    ]
}

/// A container that reaches its neighbour through a published port must not learn the short way: it would go there
/// with an address that the neighbour does not have.
fn redirects() -> Vec<Rule> {
    vec![
        rule(
            "oifname @bridges icmp type redirect drop",
            [to_bridge(), e::icmp_redirect(Family::V4).into(), vec![e::drop()]],
        ),
        rule(
            "oifname @bridges icmpv6 type nd-redirect drop",
            [to_bridge(), e::icmp_redirect(Family::V6).into(), vec![e::drop()]],
        ),
    ]
}

/// Replies come in; containers of one bridge reach each other (the bridge's own traffic passes here when br_netfilter
/// is on), those of two do not; what leaves is allowed, but from an internal network; from outside comes in only what
/// a published port has turned to a container, and nothing to an internal network.
fn forward() -> Vec<Rule> {
    vec![
        rule(
            "oifname @bridges ct state established,related accept",
            [to_bridge(), e::ct_state_known().into(), vec![e::accept()]],
        ),
        rule("iifname . oifname @pairs accept", [pair(), vec![e::accept()]]),
        rule("iifname @internals drop", [from_internal(), vec![e::drop()]]),
        rule("oifname @internals drop", [to_internal(), vec![e::drop()]]),
        rule(
            "oifname @bridges ct status dnat accept",
            [to_bridge(), e::ct_status_dnat().into(), vec![e::accept()]],
        ),
        rule("oifname @bridges drop", [to_bridge(), vec![e::drop()]]),
        rule("iifname @bridges accept", [from_bridge(), vec![e::accept()]]),
    ]
}

/// What leaves has this host's address. So has what comes through a published port where the answer would miss us
/// otherwise: from 127.0.0.1, from a container of the same bridge, and from the container itself. (With br_netfilter
/// the bridge turns its ports' packets itself, and they come here from no interface: then a neighbour is seen as who
/// it is, and only the container itself is not.)
fn postrouting() -> Vec<Rule> {
    let outward = |family, set| {
        [
            e::only(family).into(),
            vec![e::saddr(family), e::lookup(set, Membership::In)],
            vec![e::oifname(e::FIRST), e::lookup("bridges", Membership::NotIn), e::masquerade()],
        ]
    };
    let itself = |family, set| {
        let addresses = vec![e::saddr(family), e::daddr(family, e::word(family.words()))];
        [e::only(family).into(), addresses, vec![e::lookup(set, Membership::In), e::masquerade()]]
    };
    vec![
        rule("ip saddr @subnets oifname != @bridges masquerade", outward(Family::V4, "subnets")),
        rule("ip6 saddr @subnets6 oifname != @bridges masquerade", outward(Family::V6, "subnets6")),
        rule(
            "ip saddr 127.0.0.0/8 oifname @bridges masquerade",
            [e::only(Family::V4).into(), e::from_loopback().into(), to_bridge(), vec![e::masquerade()]],
        ),
        rule(
            "iifname . oifname @pairs ct status dnat masquerade",
            [pair(), e::ct_status_dnat().into(), vec![e::masquerade()]],
        ),
        rule("ip saddr . ip daddr @selves masquerade", itself(Family::V4, "selves")),
        rule("ip6 saddr . ip6 daddr @selves6 masquerade", itself(Family::V6, "selves6")),
    ]
}
