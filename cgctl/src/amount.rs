//! Amounts as docker's users type them. Pure.

use std::str::FromStr;

use anyhow::{Result, bail};

use crate::resources::Hugepages;

/// The period of the cpu quota, in microseconds: the kernel's default, and docker's.
pub const PERIOD: u64 = 100_000;
/// The smallest quota that the kernel takes, in microseconds.
const MIN_QUOTA: u64 = 1_000;
/// The smallest memory limit, as with docker: a process needs something to start with.
const MIN_MEMORY: u64 = 6 << 20;

/// `--memory`: bytes; none for 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(pub Option<u64>);

/// `--memory-swap`: memory and swap together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// 0: as if not given.
    Default,
    Unlimited,
    Bytes(u64),
}

/// `--cpus`: microseconds in each [`PERIOD`]; none for 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus(pub Option<u64>);

/// `--cpu-shares`, on the scale of cgroup v1; none for 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares(pub Option<u64>);

/// `--pids-limit`: none for 0 and -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pids(pub Option<u64>);

impl FromStr for Memory {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Memory> {
        match bytes(text)? {
            0 => Ok(Memory(None)),
            small if small < MIN_MEMORY => bail!("Minimum memory limit allowed is 6MB"),
            enough => Ok(Memory(Some(enough))),
        }
    }
}

impl FromStr for Swap {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Swap> {
        match text {
            "-1" => Ok(Swap::Unlimited),
            _ => Ok(match bytes(text)? {
                0 => Swap::Default,
                limit => Swap::Bytes(limit),
            }),
        }
    }
}

impl FromStr for Cpus {
    type Err = anyhow::Error;

    /// Exact: a fraction is never rounded by way of a float.
    fn from_str(text: &str) -> Result<Cpus> {
        const WRONG: &str = "a number of cpus is a decimal number such as 2 or 0.5";
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
            bail!(WRONG);
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > 5 {
            bail!("the quota is counted in 1/100000 of a cpu: at most 5 decimals");
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse()? };
        let fraction: u64 = format!("{fraction:0<5}").parse()?;
        match whole.checked_mul(PERIOD).and_then(|quota| quota.checked_add(fraction)) {
            None => bail!(WRONG),
            Some(0) => Ok(Cpus(None)),
            Some(quota) if quota < MIN_QUOTA => bail!("the smallest limit is 0.01 cpus"),
            Some(quota) => Ok(Cpus(Some(quota))),
        }
    }
}

impl FromStr for Shares {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Shares> {
        match text.parse() {
            Ok(0) => Ok(Shares(None)),
            Ok(shares @ 2..=262_144) => Ok(Shares(Some(shares))),
            _ => bail!("cpu shares are a number from 2 to 262144, or 0 for the default"),
        }
    }
}

impl FromStr for Pids {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Pids> {
        match text.parse::<i64>() {
            Ok(0 | -1) => Ok(Pids(None)),
            Ok(count @ 1..) => Ok(Pids(Some(count.unsigned_abs()))),
            _ => bail!("a number of processes is at least 1, or -1 for no limit"),
        }
    }
}

/// Bytes with docker's units, any number of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Bytes> {
        bytes(text).map(Bytes)
    }
}

/// `--blkio-weight`: none for 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoWeight(pub Option<u16>);

impl FromStr for IoWeight {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<IoWeight> {
        match text.parse() {
            Ok(0) => Ok(IoWeight(None)),
            Ok(weight @ 10..=1000) => Ok(IoWeight(Some(weight))),
            _ => bail!("an io weight is a number from 10 to 1000, or 0 for the default"),
        }
    }
}

/// `--hugetlb`: `2MB=64m`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Huge(pub Hugepages);

impl FromStr for Huge {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Huge> {
        match text.split_once('=') {
            Some((size, amount)) if ["KB", "MB", "GB"].iter().any(|unit| size.ends_with(unit)) => {
                Ok(Huge(Hugepages { page_size: size.to_owned(), limit: bytes(amount)? }))
            }
            _ => bail!(
                "this is no size of pages as in the kernel's file names (2MB, 1GB) with =BYTES behind it"
            ),
        }
    }
}

/// `--set`: a file and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw(pub String, pub String);

impl FromStr for Raw {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Raw> {
        match text.split_once('=') {
            Some((file, value)) if !file.is_empty() => Ok(Raw(file.to_owned(), value.to_owned())),
            _ => bail!("a raw value is FILE=VALUE"),
        }
    }
}

/// A number with docker's units: b, k, m, g, also as kb or kib.
fn bytes(text: &str) -> Result<u64> {
    const WRONG: &str = "an amount of memory is a number of bytes, or of k, m or g";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => bail!(WRONG),
    };
    // The kernel counts in signed numbers.
    let fits = |bytes: &u64| i64::try_from(*bytes).is_ok();
    match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).filter(fits) {
        Some(bytes) => Ok(bytes),
        None => bail!(WRONG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_dockers_units_and_dockers_minimum() {
        for (text, expected) in [
            ("0", None),
            ("6m", Some(6 << 20)),
            ("6291456", Some(6 << 20)),
            ("1G", Some(1 << 30)),
            ("64MiB", Some(64 << 20)),
        ] {
            assert_eq!(text.parse::<Memory>().unwrap(), Memory(expected), "{text}");
        }
        assert_eq!(
            "6291455".parse::<Memory>().unwrap_err().to_string(),
            "Minimum memory limit allowed is 6MB"
        );
        for text in ["", "m", "-1", "1.5g", "12q", "9223372036854775808", "99999999999g"] {
            assert!(text.parse::<Memory>().is_err(), "{text}");
        }
    }

    #[test]
    fn swap_may_be_unlimited() {
        assert_eq!("-1".parse::<Swap>().unwrap(), Swap::Unlimited);
        assert_eq!("0".parse::<Swap>().unwrap(), Swap::Default);
        assert_eq!("1k".parse::<Swap>().unwrap(), Swap::Bytes(1024));
        assert!("-2".parse::<Swap>().is_err());
    }

    #[test]
    fn cpus_are_exact() {
        for (text, expected) in [
            ("0.2", Some(20_000)),
            ("1.5", Some(150_000)),
            (".5", Some(50_000)),
            ("2.", Some(200_000)),
            ("0.29", Some(29_000)),
            ("0.01", Some(1_000)),
            ("0.12345000", Some(12_345)),
            ("64", Some(6_400_000)),
            ("0", None),
            ("0.0", None),
        ] {
            assert_eq!(text.parse::<Cpus>().unwrap(), Cpus(expected), "{text}");
        }
        for text in ["", ".", "-1", "+1", "1e3", "0.009", "0.123456", "1.2.3", "99999999999999999999"] {
            assert!(text.parse::<Cpus>().is_err(), "{text}");
        }
    }

    #[test]
    fn shares_and_pids_are_counts() {
        assert_eq!("1024".parse::<Shares>().unwrap(), Shares(Some(1024)));
        assert_eq!("0".parse::<Shares>().unwrap(), Shares(None));
        assert!("1".parse::<Shares>().is_err());
        assert!("262145".parse::<Shares>().is_err());
        assert_eq!("-1".parse::<Pids>().unwrap(), Pids(None));
        assert_eq!("20".parse::<Pids>().unwrap(), Pids(Some(20)));
        assert!("-2".parse::<Pids>().is_err());
        assert!("x".parse::<Pids>().is_err());
    }
}
