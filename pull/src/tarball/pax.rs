//! The records of a PAX extended header: `LENGTH KEY=VALUE\n`, values being any bytes.

use anyhow::{Context, Result, bail};

/// The records of one header, in order.
#[derive(Default)]
pub struct Pax {
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Pax {
    /// # Errors
    /// A length is wrong.
    pub fn parse(mut bytes: &[u8]) -> Result<Pax> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).context("malformed tar: PAX header")?;
            records.push((key.to_vec(), value.to_vec()));
            bytes = rest;
        }
        Ok(Pax { records })
    }

    /// The last value of `key`; an empty one takes back those before.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        let last = self.records.iter().rev().find(|(name, _)| name == key.as_bytes());
        last.map(|(_, value)| value.as_slice()).filter(|value| !value.is_empty())
    }

    /// The last value of `key` as a decimal number.
    pub fn number(&self, key: &str) -> Result<Option<u64>> {
        self.get(key)
            .map(|value| number(value).with_context(|| format!("malformed tar: PAX {key}")))
            .transpose()
    }

    /// All records, in order.
    pub fn records(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.records.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// # Errors
    /// A global header says something about every entry: tar programs differ in whom they believe.
    pub fn only_comments(&self) -> Result<()> {
        match self.records.iter().find(|(key, _)| key != b"comment") {
            Some((key, _)) => {
                bail!("global PAX header with {:?} is not supported", String::from_utf8_lossy(key))
            }
            None => Ok(()),
        }
    }
}

fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(number(&bytes[..space]).ok()?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=').filter(|position| *position > 0)?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

/// A decimal number without sign.
pub fn number(digits: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(digits)?;
    if !text.bytes().all(|c| c.is_ascii_digit()) {
        bail!("{text:?} is not a number");
    }
    Ok(text.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_any_bytes() {
        let pax = Pax::parse(b"9 a=b\nc=\n12 b=\0\xff\n\n 1\n").unwrap();
        assert_eq!(pax.get("a"), Some(&b"b\nc="[..]));
        assert_eq!(pax.get("b"), Some(&b"\0\xff\n\n 1"[..]));
    }

    #[test]
    fn lengths_must_be_right() {
        for bad in
            [&b"5 a=b\n"[..], b"7 a=b\n", b"6 =b\n\n", b"x a=b\n", b"99999999999999999999 a=b\n", b"6 a=bc"]
        {
            assert!(Pax::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_global_header_may_only_comment() {
        assert!(Pax::parse(b"13 comment=x\n").unwrap().only_comments().is_ok());
        assert!(Pax::parse(b"10 path=x\n").unwrap().only_comments().is_err());
    }
}
