//! Every figure that the kernel has of a group, by the names of its files, in JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::group::CgroupPath;
use crate::hierarchy::Hierarchy;

pub type Files = BTreeMap<String, Value>;

/// What cannot be read has no figure.
pub fn read(hierarchies: &[Hierarchy], group: &CgroupPath) -> Files {
    let mut all = Files::new();
    for hierarchy in hierarchies {
        let entries = std::fs::read_dir(group.below(&hierarchy.mount)).into_iter().flatten().flatten();
        for entry in entries {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if is_figure(&name)
                && let Ok(text) = std::fs::read_to_string(entry.path())
            {
                all.insert(name, value(&text));
            }
        }
    }
    all
}

/// Not the lists of processes, nor what only sets how the group behaves.
fn is_figure(name: &str) -> bool {
    match name.strip_prefix("cgroup.") {
        Some(own) => ["events", "stat", "pressure"].contains(&own),
        None => name.contains('.'),
    }
}

/// A number, a word, an object of `key value` lines, or one of `key name=value ...` lines; else the text as it is.
fn value(text: &str) -> Value {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    match &lines[..] {
        [line] if line.len() == 1 => return scalar(line[0]),
        // `cpu.max` and its like: two values, no name.
        [line] if line.first().is_some_and(|word| *word == "max" || word.parse::<u64>().is_ok()) => {
            return text.trim_end().into();
        }
        _ => {}
    }
    let mut object = Map::new();
    for line in &lines {
        match line[..] {
            [] => {}
            [key, value] if !value.contains('=') => drop(object.insert(key.to_owned(), scalar(value))),
            // `8:0 Read 4096`
            [key, name, value] if value.parse::<u64>().is_ok() => {
                if let Value::Object(inner) = object.entry(key).or_insert_with(|| Map::new().into()) {
                    inner.insert(name.to_owned(), scalar(value));
                }
            }
            [key, ref pairs @ ..] if pairs.iter().all(|pair| pair.contains('=')) => {
                let pairs = pairs.iter().filter_map(|pair| pair.split_once('='));
                let inner: Map<_, _> = pairs.map(|(name, value)| (name.to_owned(), scalar(value))).collect();
                object.insert(key.to_owned(), inner.into());
            }
            _ => return text.trim_end().into(),
        }
    }
    object.into()
}

/// The kernel's own text for what is no whole number (`max`, `0.25`): there are no floats.
fn scalar(word: &str) -> Value {
    word.parse::<i64>()
        .map_or_else(|_| word.parse::<u64>().map_or_else(|_| word.into(), Value::from), Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_file_has_its_form_of_value() {
        for (text, expected) in [
            ("67108864\n", "67108864"),
            ("-1\n", "-1"),
            ("18446744073709551615\n", "18446744073709551615"),
            ("max\n", r#""max""#),
            ("max 100000\n", r#""max 100000""#),
            ("0-1\n", r#""0-1""#),
            ("", "{}"),
            ("\n", "{}"),
            ("low 0\noom_kill 3\n", r#"{"low":0,"oom_kill":3}"#),
            (
                "some avg10=0.25 total=7\nfull avg10=0.00 total=0\n",
                r#"{"full":{"avg10":"0.00","total":0},"some":{"avg10":"0.25","total":7}}"#,
            ),
            ("8:0 rbytes=1 wbytes=2\n", r#"{"8:0":{"rbytes":1,"wbytes":2}}"#),
            ("8:0 Read 1\n8:0 Write 2\nTotal 3\n", r#"{"8:0":{"Read":1,"Write":2},"Total":3}"#),
            ("a *:* rwm\n", r#""a *:* rwm""#),
        ] {
            assert_eq!(value(text).to_string(), expected, "{text:?}");
        }
    }
}
