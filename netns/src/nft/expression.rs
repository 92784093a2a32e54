//! The expressions that our rules are made of (nft_*.c in the kernel's net/netfilter).
//!
//! Pure. A value passes through register 1 (16 bytes), whose four words have numbers of their own; a concatenation
//! through as many words, or, of interface names, through registers 1 and 2.

use super::encode::{Attributes, IPV4, IPV6};

/// NFT_REG_VERDICT, NFT_REG_1, NFT_REG_2
const VERDICT: u32 = 0;
pub const FIRST: u32 = 1;
pub const SECOND: u32 = 2;

/// Word `n` of register 1, and on into those behind it (NFT_REG32_00 is word 0).
pub const fn word(n: u32) -> u32 {
    8 + n
}

/// One expression: its name, and what it holds.
pub struct Expression {
    name: &'static str,
    data: Attributes,
}

impl Expression {
    /// As an element of a rule's NFTA_RULE_EXPRESSIONS.
    pub fn element(&self) -> Attributes {
        Attributes::default().text(1, self.name).nest(2, &self.data)
    }
}

fn new(name: &'static str, data: Attributes) -> Expression {
    Expression { name, data }
}

/// `meta KEY`, into a register.
fn meta(key: u32, register: u32) -> Expression {
    new("meta", Attributes::default().number(1, register).number(2, key))
}

/// `iifname`, into a register: NFT_META_IIFNAME.
pub fn iifname(register: u32) -> Expression {
    meta(6, register)
}

/// `oifname`, into a register: NFT_META_OIFNAME.
pub fn oifname(register: u32) -> Expression {
    meta(7, register)
}

/// `meta l4proto`, into a register: NFT_META_L4PROTO.
pub fn l4proto(register: u32) -> Expression {
    meta(16, register)
}

/// Which family a rule of an `inet` table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    fn number(self) -> u8 {
        match self {
            Family::V4 => IPV4,
            Family::V6 => IPV6,
        }
    }

    /// How many words an address takes.
    pub fn words(self) -> u32 {
        match self {
            Family::V4 => 1,
            Family::V6 => 4,
        }
    }
}

/// `meta nfproto`: only packets of this family go on. NFT_META_NFPROTO.
pub fn only(family: Family) -> [Expression; 2] {
    [meta(15, FIRST), compare(Comparison::Equal, &[family.number()])]
}

/// Where a payload expression counts from: NFT_PAYLOAD_NETWORK_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER.
#[derive(Clone, Copy)]
enum Header {
    Network = 1,
    Transport = 2,
}

fn payload(register: u32, header: Header, offset: u32, length: u32) -> Expression {
    let data = Attributes::default().number(1, register).number(2, header as u32);
    new("payload", data.number(3, offset).number(4, length))
}

/// `saddr`, into register 1.
pub fn saddr(family: Family) -> Expression {
    match family {
        Family::V4 => payload(FIRST, Header::Network, 12, 4),
        Family::V6 => payload(FIRST, Header::Network, 8, 16),
    }
}

/// `daddr`, into a register.
pub fn daddr(family: Family, register: u32) -> Expression {
    match family {
        Family::V4 => payload(register, Header::Network, 16, 4),
        Family::V6 => payload(register, Header::Network, 24, 16),
    }
}

/// `th dport`, into a register.
pub fn dport(register: u32) -> Expression {
    payload(register, Header::Transport, 2, 2)
}

/// `icmp type redirect`, `icmpv6 type nd-redirect`: IPPROTO_ICMP 1 and ICMP_REDIRECT 5, or 58 and NDISC_REDIRECT 137.
pub fn icmp_redirect(family: Family) -> [Expression; 4] {
    let (protocol, kind) = if family == Family::V4 { (1, 5) } else { (58, 137) };
    let is = |byte| compare(Comparison::Equal, &[byte]);
    [l4proto(FIRST), is(protocol), payload(FIRST, Header::Transport, 0, 1), is(kind)]
}

/// `ip saddr 127.0.0.0/8`: its first byte.
pub fn from_loopback() -> [Expression; 2] {
    [payload(FIRST, Header::Network, 12, 1), compare(Comparison::Equal, &[127])]
}

/// `ip daddr 127.0.0.0/8`: its first byte.
pub fn to_loopback() -> [Expression; 2] {
    [payload(FIRST, Header::Network, 16, 1), compare(Comparison::Equal, &[127])]
}

/// How [`compare`] does it: NFT_CMP_EQ, NFT_CMP_NEQ.
#[derive(Clone, Copy)]
pub enum Comparison {
    Equal = 0,
    NotEqual = 1,
}

/// What register 1 holds, with these bytes.
pub fn compare(how: Comparison, bytes: &[u8]) -> Expression {
    let data = Attributes::default().number(1, FIRST).number(2, how as u32);
    new("cmp", data.nest(3, &value(bytes)))
}

/// `fib daddr type local`, or `!=`: NFT_FIB_RESULT_ADDRTYPE 3, NFTA_FIB_F_DADDR 2, RTN_LOCAL 2 in the host's order.
pub fn fib_daddr_local(how: Comparison) -> [Expression; 2] {
    let data = Attributes::default().number(1, FIRST).number(2, 3).number(3, 2);
    [new("fib", data), compare(how, &2u32.to_ne_bytes())]
}

/// `fib saddr . iif oif missing`: there is no way back to the sender on the interface that this came in on.
/// NFT_FIB_RESULT_OIF 1; NFTA_FIB_F_SADDR 1, NFTA_FIB_F_IIF 8, NFTA_FIB_F_PRESENT 32.
pub fn fib_saddr_missing() -> [Expression; 2] {
    let data = Attributes::default().number(1, FIRST).number(2, 1).number(3, 1 | 8 | 32);
    [new("fib", data), compare(Comparison::Equal, &[0; 4])]
}

/// Whether what the registers from 1 on hold is in the set.
#[derive(Clone, Copy)]
pub enum Membership {
    In,
    NotIn,
}

/// `@set`, `!= @set`.
pub fn lookup(set: &str, wanted: Membership) -> Expression {
    let data = Attributes::default().text(1, set).number(2, FIRST);
    let inverted = match wanted {
        Membership::In => data,
        Membership::NotIn => data.number(5, 1),
    };
    new("lookup", inverted)
}

/// `map @map`: what the map has for the registers from 1 on, into the registers from 1 on.
pub fn map(map: &str) -> Expression {
    new("lookup", Attributes::default().text(1, map).number(2, FIRST).number(3, FIRST))
}

/// `dnat` to the address in register 1 and the port in the word behind it: NFT_NAT_DNAT, NF_NAT_RANGE_MAP_IPS and
/// NF_NAT_RANGE_PROTO_SPECIFIED.
pub fn dnat(family: Family) -> Expression {
    let port = word(family.words());
    let data = Attributes::default().number(1, 1).number(2, family.number().into());
    let data = data.number(3, FIRST).number(4, FIRST).number(5, port).number(6, port);
    new("nat", data.number(7, 3))
}

/// `ct state established,related`: NFT_CT_STATE 0; the bits are in the host's byte order.
pub fn ct_state_known() -> [Expression; 3] {
    const ESTABLISHED_RELATED: u32 = 2 | 4;
    any_bit(0, ESTABLISHED_RELATED)
}

/// `ct status dnat`: NFT_CT_STATUS 2, IPS_DST_NAT.
pub fn ct_status_dnat() -> [Expression; 3] {
    const DST_NAT: u32 = 1 << 5;
    any_bit(2, DST_NAT)
}

fn any_bit(key: u32, bits: u32) -> [Expression; 3] {
    let load = Attributes::default().number(1, FIRST).number(2, key);
    let mask = Attributes::default()
        .number(1, FIRST)
        .number(2, FIRST)
        .number(3, 4)
        .nest(4, &value(&bits.to_ne_bytes()))
        .nest(5, &value(&[0; 4]));
    [new("ct", load), new("bitwise", mask), compare(Comparison::NotEqual, &[0; 4])]
}

/// NFTA_DATA_VALUE
fn value(bytes: &[u8]) -> Attributes {
    Attributes::default().bytes(1, bytes)
}

/// `masquerade`
pub fn masquerade() -> Expression {
    new("masq", Attributes::default())
}

/// `accept`: NF_ACCEPT.
pub fn accept() -> Expression {
    verdict(1)
}

/// `drop`: NF_DROP.
pub fn drop() -> Expression {
    verdict(0)
}

/// `return`: NFT_RETURN.
pub fn return_() -> Expression {
    verdict((-5i32).cast_unsigned())
}

fn verdict(code: u32) -> Expression {
    let data = Attributes::default().nest(2, &Attributes::default().number(1, code));
    new("immediate", Attributes::default().number(1, VERDICT).nest(2, &data))
}
