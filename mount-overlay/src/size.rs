//! A number of bytes as people type it. Pure.

use std::str::FromStr;

use anyhow::{Result, bail};

/// Bytes, more than none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Size> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" => 1 << 10,
            "m" => 1 << 20,
            "g" => 1 << 30,
            _ => bail!("a size is a number of bytes, or of k, m or g"),
        };
        match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)) {
            // The kernel takes 0 for "no limit", which nobody means who types it.
            Some(0) => bail!("a size of 0 holds nothing"),
            Some(bytes) => Ok(Size(bytes)),
            None => bail!("a size is a number of bytes, or of k, m or g"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_binary() {
        for (text, bytes) in [("4096", 4096), ("1b", 1), ("2k", 2048), ("3M", 3 << 20), ("1g", 1 << 30)] {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "m", "0", "-1", "1.5g", "1t", "1mb", "99999999999g", "é"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
