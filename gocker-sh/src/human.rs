//! Times, sizes and command lines as docker shows them to people.

use jiff::{SignedDuration, Timestamp};

/// A span as docker rounds it (go-units, HumanDuration).
pub fn duration(span: SignedDuration) -> String {
    let seconds = span.as_secs();
    let minutes = seconds / 60;
    // Hours are rounded, not cut off.
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (..1, _, _) => "Less than a second".to_owned(),
        (1, _, _) => "1 second".to_owned(),
        (..60, _, _) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, ..48) => format!("{hours} hours"),
        (_, _, ..336) => format!("{} days", hours / 24),
        (_, _, ..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// How long ago a recorded time was; nothing for what is no time.
pub fn since(time: &str, now: Timestamp) -> String {
    time.parse::<Timestamp>().map(|time| duration(now.duration_since(time))).unwrap_or_default()
}

/// A recorded time as `docker ps` has it: `2006-01-02 15:04:05 +0000 UTC`.
pub fn date(time: &str) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        Err(_) => time.to_owned(),
    }
}

/// Bytes in decimal units with three significant digits (go-units, HumanSizeWithPrecision).
pub fn size(bytes: u64) -> String {
    scaled(bytes, 1000.0, ["B", "kB", "MB", "GB", "TB", "PB"])
}

/// Bytes in binary units (go-units, BytesSize).
pub fn binary_size(bytes: u64) -> String {
    scaled(bytes, 1024.0, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn scaled(bytes: u64, base: f64, units: [&str; 6]) -> String {
    let mut value = bytes as f64;
    let mut units = units.into_iter();
    let mut unit = units.next().unwrap_or_default();
    while value >= base {
        let Some(next) = units.next() else { break };
        value /= base;
        unit = next;
    }
    let digits = match value {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// A command as `docker ps` joins it: words with a space in them are quoted.
pub fn command(words: &[String]) -> String {
    let word = |word: &String| if word.contains(' ') { format!("'{word}'") } else { word.clone() };
    let mut parts: Vec<String> = words.iter().take(1).cloned().collect();
    parts.extend(words.iter().skip(1).map(word));
    parts.join(" ")
}

/// At most `width` characters; the last is an ellipsis when more were there.
pub fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['\u{2026}']).collect()
}

/// In double quotes, as Go writes it (strconv.Quote).
pub fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if u32::from(c) < 0x20 || c == '\x7f' => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_dockers() {
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (730 * 86400, "2 years"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(SignedDuration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (7_830_000, "7.83MB"),
            (124_400_000, "124MB"),
            (12_340, "12.3kB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_command_is_cut_before_it_is_quoted() {
        let words: Vec<String> = ["sh", "-c", "echo \"hello\" world"].map(str::to_owned).to_vec();
        assert_eq!(command(&words), "sh -c 'echo \"hello\" world'");
        assert_eq!(quote(&ellipsis(&command(&words), 20)), "\"sh -c 'echo \\\"hello\\\"\u{2026}\"");
        assert_eq!(quote("a\x1bb\n"), "\"a\\x1bb\\n\"");
    }

    #[test]
    fn a_date_is_dockers() {
        assert_eq!(date("2026-01-02T03:04:05.678Z"), "2026-01-02 03:04:05 +0000 UTC");
    }
}
