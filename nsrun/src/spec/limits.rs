//! `--ulimit`, `--sysctl` and `--shm-size`.

use anyhow::{Context, Result, ensure};
use oci_spec::runtime::{PosixRlimit, PosixRlimitType};

/// docker's `NAME=SOFT[:HARD]`; -1 is no limit. The last of a name wins.
///
/// # Errors
/// It is not of that form.
pub fn ulimits(words: &[String]) -> Result<Option<Vec<PosixRlimit>>> {
    let mut all: Vec<PosixRlimit> = Vec::new();
    for word in words {
        let limit = ulimit(word).with_context(|| format!("cannot use --ulimit={word}"))?;
        all.retain(|known| known.typ() != limit.typ());
        all.push(limit);
    }
    Ok((!all.is_empty()).then_some(all))
}

fn ulimit(word: &str) -> Result<PosixRlimit> {
    let (name, values) = word.split_once('=').context("it is not NAME=SOFT[:HARD]")?;
    let typ: PosixRlimitType = format!("RLIMIT_{}", name.to_ascii_uppercase())
        .parse()
        .ok()
        .with_context(|| format!("there is no limit {name}"))?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |text: &str| match text {
        "-1" => Ok(u64::MAX),
        text => text.parse().with_context(|| format!("{text:?} is not a number")),
    };
    let (soft, hard) = (number(soft)?, number(hard)?);
    ensure!(soft <= hard, "the soft limit is above the hard one");
    let mut limit = PosixRlimit::default();
    limit = oci_spec::runtime::PosixRlimitBuilder::default()
        .typ(typ)
        .soft(soft)
        .hard(hard)
        .build()
        .unwrap_or(limit);
    Ok(limit)
}

/// `KEY=VALUE`.
pub fn sysctls(words: &[String]) -> Result<Vec<(String, String)>> {
    let one = |word: &String| {
        let pair = word
            .split_once('=')
            .with_context(|| format!("cannot use --sysctl={word}: it is not KEY=VALUE"))?;
        Ok((pair.0.trim().to_owned(), pair.1.trim().to_owned()))
    };
    words.iter().map(one).collect()
}

/// A number of bytes, with docker's units b, k, m and g.
pub fn bytes(option: &str, text: &str) -> Result<u64> {
    let lower = text.to_ascii_lowercase();
    let number = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match lower[number.len()..].trim_end_matches("ib").trim_end_matches('b') {
        "" => 1u64,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => 0,
    };
    let size =
        number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).filter(|size| *size > 0);
    size.with_context(|| {
        format!("cannot use {option}={text}: it is not a number of bytes (units: b, k, m, g)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits_of_docker() {
        let of = |word: &str| match ulimits(&[word.to_owned()]) {
            Ok(all) => all
                .unwrap()
                .iter()
                .map(|one| format!("{} {} {}", one.typ(), one.soft(), one.hard()))
                .collect(),
            Err(error) => format!("{error:#}"),
        };
        assert_eq!(of("nofile=1024"), "RLIMIT_NOFILE 1024 1024");
        assert_eq!(of("core=0:-1"), format!("RLIMIT_CORE 0 {}", u64::MAX));
        assert_eq!(of("nofile"), "cannot use --ulimit=nofile: it is not NAME=SOFT[:HARD]");
        assert_eq!(of("nofiles=1"), "cannot use --ulimit=nofiles=1: there is no limit nofiles");
        assert_eq!(of("nofile=2:1"), "cannot use --ulimit=nofile=2:1: the soft limit is above the hard one");
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes("--shm-size", "64m").unwrap(), 64 << 20);
        assert_eq!(bytes("--shm-size", "1GiB").unwrap(), 1 << 30);
        assert_eq!(bytes("--shm-size", "100").unwrap(), 100);
        for text in ["", "0", "x", "1x", "-1", "99999999999g"] {
            assert!(bytes("--shm-size", text).is_err(), "{text}");
        }
    }

    #[test]
    fn sysctls_are_pairs() {
        assert_eq!(sysctls(&["a.b=1 2".to_owned()]).unwrap(), [("a.b".to_owned(), "1 2".to_owned())]);
        assert_eq!(
            sysctls(&["a.b".to_owned()]).unwrap_err().to_string(),
            "cannot use --sysctl=a.b: it is not KEY=VALUE"
        );
    }
}
