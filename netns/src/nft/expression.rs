//! The expressions that our rules are made of (nft_*.c in the kernel's net/netfilter).
//!
//! Pure. Every value passes through register 1 (16 bytes), concatenations through 1 and 2.

use super::encode::Attributes;

/// NFT_REG_VERDICT, NFT_REG_1, NFT_REG_2
const VERDICT: u32 = 0;
pub const FIRST: u32 = 1;
pub const SECOND: u32 = 2;

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

/// `meta KEY`: NFT_META_IIFNAME 6, NFT_META_OIFNAME 7.
fn meta(key: u32, register: u32) -> Expression {
    new("meta", Attributes::default().number(1, register).number(2, key))
}

/// `iifname`, into a register.
pub fn iifname(register: u32) -> Expression {
    meta(6, register)
}

/// `oifname`, into a register.
pub fn oifname(register: u32) -> Expression {
    meta(7, register)
}

/// `ip saddr`: four bytes, twelve into the network header (NFT_PAYLOAD_NETWORK_HEADER).
pub fn ip_saddr() -> Expression {
    let data = Attributes::default().number(1, FIRST).number(2, 1).number(3, 12).number(4, 4);
    new("payload", data)
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
    let value = |bytes: [u8; 4]| Attributes::default().bytes(1, &bytes);
    let load = Attributes::default().number(1, FIRST).number(2, key);
    let mask = Attributes::default()
        .number(1, FIRST)
        .number(2, FIRST)
        .number(3, 4)
        .nest(4, &value(bits.to_ne_bytes()))
        .nest(5, &value([0; 4]));
    // NFT_CMP_NEQ 1
    let compare = Attributes::default().number(1, FIRST).number(2, 1).nest(3, &value([0; 4]));
    [new("ct", load), new("bitwise", mask), new("cmp", compare)]
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

fn verdict(code: u32) -> Expression {
    let data = Attributes::default().nest(2, &Attributes::default().number(1, code));
    new("immediate", Attributes::default().number(1, VERDICT).nest(2, &data))
}
