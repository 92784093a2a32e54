//! Whether what a file of the kernel says is what was written to it. Pure.

use std::collections::BTreeSet;

/// Whether `text`, read from the file, means `written`: in whatever notation, in whichever of its lines.
pub fn says(text: &str, written: &str) -> bool {
    let wanted: Vec<&str> = written.split_whitespace().collect();
    let Some((first, rest)) = wanted.split_first() else { return text.trim().is_empty() };
    // v1, memory.oom_control: the one file that names what is written to it without a name.
    let text = text.strip_prefix("oom_kill_disable ").unwrap_or(text);
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_first = lines.find(|line| line.first().is_some_and(|word| same(word, first)));
    match of_first {
        Some(line) => rest.iter().all(|word| line[1..].iter().any(|one| same(one, word))),
        // A device without any limit has no line.
        None => first.contains(':') && rest.iter().all(|word| *word == "0" || word.ends_with("=max")),
    }
}

fn same(read: &str, written: &str) -> bool {
    if read == written {
        return true;
    }
    if let (Some(read), Some(written)) = (amount(read), amount(written)) {
        return read == written;
    }
    // v1 says "no limit" as the largest number of whole pages that it can count.
    if written == "-1" {
        return amount(read).is_some_and(|bytes| bytes >= 1 << 62);
    }
    matches!((set(read), set(written)), (Some(read), Some(written)) if read == written)
}

/// A number, with the units that the kernel takes (memparse in lib/cmdline.c).
fn amount(word: &str) -> Option<u64> {
    let (digits, shift) = match word.as_bytes().last()? {
        b'k' | b'K' => (&word[..word.len() - 1], 10),
        b'm' | b'M' => (&word[..word.len() - 1], 20),
        b'g' | b'G' => (&word[..word.len() - 1], 30),
        _ => (word, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A list such as `0-2,7`: cpus or memory nodes.
fn set(word: &str) -> Option<BTreeSet<u32>> {
    let mut all = BTreeSet::new();
    for part in word.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last.checked_sub(first)? > 0xffff {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notations_may_differ() {
        for (text, written) in [
            ("5\n", "5"),
            ("67108864\n", "64M"),
            ("9223372036854771712\n", "-1"),
            ("-1\n", "-1"),
            ("max\n", "max"),
            ("0-2\n", "0,1,2"),
            ("0\n", "0-0"),
            ("20000 100000\n", "20000"),
            ("20000 100000\n", "20000 100000"),
            ("default 100\n8:0 200\n", "default 100"),
            ("8:0 rbps=5 wbps=max riops=max wiops=max\n", "8:0 rbps=5"),
            ("254:0 7\n8:0 rbps=max wbps=3\n", "8:0 wbps=3 rbps=max"),
            ("", "8:0 0"),
            ("8:16 rbps=1 wbps=max\n", "8:0 rbps=max"),
            ("\n", ""),
            ("oom_kill_disable 1\nunder_oom 0\n", "1"),
        ] {
            assert!(says(text, written), "{text:?} {written:?}");
        }
    }

    #[test]
    fn values_may_not() {
        for (text, written) in [
            ("6\n", "5"),
            ("67108863\n", "64M"),
            ("67108864\n", "-1"),
            ("0-1\n", "0-2"),
            ("max 100000\n", "20000 100000"),
            ("default 100\n8:0 200\n", "8:0 100"),
            ("8:0 rbps=5 wbps=max\n", "8:0 rbps=6"),
            ("", "8:0 1"),
            ("", "5"),
            ("oom_kill_disable 0\nunder_oom 1\n", "1"),
            ("5\n", ""),
        ] {
            assert!(!says(text, written), "{text:?} {written:?}");
        }
    }
}
