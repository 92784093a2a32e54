//! `--log-opt`: how much is kept. Pure.

use anyhow::{Context, Result, bail};

use crate::record::LogLimits;

/// # Errors
/// docker's words for an option that there is not, or a value that is none.
pub fn limits(driver: Option<&str>, options: &[String]) -> Result<LogLimits> {
    match driver {
        None | Some("json-file" | "local") => {}
        Some(other) => bail!("logger: no log driver named '{other}' is registered: there is only json-file"),
    }
    let mut limits = LogLimits::default();
    for option in options {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "max-size" => {
                limits.max_size = size(value)
                    .filter(|size| *size > 0)
                    .with_context(|| format!("invalid value for max-size: {value}"))?
            }
            "max-file" => {
                limits.max_file = value
                    .parse()
                    .ok()
                    .filter(|count| *count > 0)
                    .with_context(|| format!("invalid value for max-file: {value}"))?;
            }
            _ => bail!("unknown log opt '{key}' for json-file log driver"),
        }
    }
    Ok(limits)
}

/// Bytes with docker's units: b, k, m, g.
fn size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match lower[digits.len()..].trim_end_matches('b') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_dockers_units_and_errors_its_words() {
        let of =
            |words: &[&str]| limits(None, &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["max-size=10k", "max-file=3"]).unwrap(), LogLimits { max_size: 10240, max_file: 3 });
        assert_eq!(of(&["max-file=0"]).unwrap_err().to_string(), "invalid value for max-file: 0");
        assert_eq!(
            of(&["frob=1"]).unwrap_err().to_string(),
            "unknown log opt 'frob' for json-file log driver"
        );
        assert_eq!(
            limits(Some("syslog"), &[]).unwrap_err().to_string(),
            "logger: no log driver named 'syslog' is registered: there is only json-file"
        );
    }
}
