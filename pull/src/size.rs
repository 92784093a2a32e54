//! Sizes as people type them: `64m`, `2G`, docker's units (powers of 1024).

use anyhow::{Context, Result, bail};

/// Bytes.
///
/// # Errors
/// It is no whole number with at most one of the letters b, k, m, g, t behind it (and a `b` behind that).
pub fn parse(text: &str) -> Result<u64> {
    let lower = text.to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let (digits, unit) = lower.split_at(end);
    let shift = match unit.strip_suffix('b').unwrap_or(unit) {
        "" => 0,
        "k" | "ki" => 10,
        "m" | "mi" => 20,
        "g" | "gi" => 30,
        "t" | "ti" => 40,
        _ => bail!("{text:?} is not a size: a number with k, m, g or t"),
    };
    let number: u64 = digits.parse().with_context(|| format!("{text:?} is not a size"))?;
    number.checked_mul(1 << shift).with_context(|| format!("{text:?} is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_1024() {
        assert_eq!(parse("5").unwrap(), 5);
        assert_eq!(parse("64m").unwrap(), 64 << 20);
        assert_eq!(parse("2GiB").unwrap(), 2 << 30);
        for bad in ["", "m", "-1", "1.5g", "1x", "99999999999t"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
