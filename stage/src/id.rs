//! The container's id, and the name it gives to everything made for it.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// 32 random bytes as 64 lower-case hex digits, as docker's (moby, pkg/stringid).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    /// A new id. Its first 12 digits are never all decimal: such a short id would be read as a number
    /// (host names, YAML).
    pub fn mint() -> Result<Id> {
        loop {
            let mut bytes = [0u8; 32];
            rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
                .context("cannot mint an id: getrandom")?;
            let id = Id(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
            if !id.short().bytes().all(|digit| digit.is_ascii_digit()) {
                return Ok(id);
            }
        }
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits: what people type, and what fits into an interface's name.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Id {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Id> {
        let hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 64 || !text.bytes().all(hex) {
            bail!("an id is 64 lower-case hex digits, not {text:?}");
        }
        Ok(Id(text.to_owned()))
    }
}

impl TryFrom<String> for Id {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Id> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> String {
        id.0
    }
}
