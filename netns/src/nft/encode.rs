//! Netlink attributes and messages of nf_tables (linux/netfilter/nf_tables.h, nfnetlink.h).
//!
//! Pure: bytes in the making.

/// NFNL_SUBSYS_NFTABLES
const SUBSYSTEM: u16 = 10;
/// NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NLA_F_NESTED: u16 = 0x8000;
const NLM_F_REQUEST: u16 = 1;

/// NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6
pub const INET: u8 = 1;
pub const IPV4: u8 = 2;
pub const IPV6: u8 = 10;

/// A growing list of attributes. Integers are in network byte order, as everywhere in nf_tables.
#[derive(Default, Clone)]
pub struct Attributes(pub Vec<u8>);

impl Attributes {
    pub fn bytes(mut self, kind: u16, value: &[u8]) -> Attributes {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub fn text(self, kind: u16, value: &str) -> Attributes {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    pub fn number(self, kind: u16, value: u32) -> Attributes {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub fn nest(self, kind: u16, inner: &Attributes) -> Attributes {
        self.bytes(kind | NLA_F_NESTED, &inner.0)
    }
}

/// One message: in which family, what to do (an `NFT_MSG_…`), with which flags, and the words for it in an error.
pub struct Message {
    pub family: u8,
    pub kind: u16,
    pub flags: u16,
    pub attributes: Attributes,
    pub what: String,
}

/// The messages as one datagram.
pub fn datagram(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        append(
            &mut bytes,
            SUBSYSTEM << 8 | message.kind,
            message.flags,
            [message.family, 0, 0, 0],
            &message.attributes.0,
        );
    }
    bytes
}

/// The messages as one transaction: all of them, or none. Two messages more than `messages`.
pub fn transaction(messages: &[Message]) -> Vec<u8> {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    let mut bytes = Vec::new();
    append(&mut bytes, BATCH_BEGIN, 0, [0, 0, high, low], &[]);
    bytes.extend(datagram(messages));
    append(&mut bytes, BATCH_END, 0, [0, 0, high, low], &[]);
    bytes
}

/// `nfgenmsg`: family, version, and the subsystem where it is a batch's.
fn append(bytes: &mut Vec<u8>, kind: u16, flags: u16, nfgenmsg: [u8; 4], attributes: &[u8]) {
    let length = u32::try_from(16 + 4 + attributes.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    // Sequence number and port: the socket's business.
    bytes.extend([0; 8]);
    bytes.extend(nfgenmsg);
    bytes.extend(attributes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_not_counted_as_such() {
        let name = Attributes::default().text(1, "ab");
        assert_eq!(name.0, [7, 0, 1, 0, b'a', b'b', 0, 0]);
        let nested = Attributes::default().nest(2, &name);
        assert_eq!(nested.0[..4], [12, 0, 2, 0x80]);
    }

    #[test]
    fn a_transaction_begins_and_ends_with_the_subsystem() {
        let bytes = transaction(&[]);
        assert_eq!(bytes.len(), 40);
        assert_eq!((bytes[4], &bytes[16..20]), (0x10, &[0, 0, 0, 10][..]));
        assert_eq!(bytes[24], 0x11);
    }
}
