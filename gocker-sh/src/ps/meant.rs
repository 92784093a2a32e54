//! Which containers `ps --filter` means.

use anyhow::Result;
use stage::Id;

use super::state;
use crate::filter::{Cut, Filters, has_label};
use crate::lookup;
use crate::record::Record;
use crate::reference;
use crate::store::Store;

const KEYS: [&str; 9] = ["ancestor", "before", "exited", "id", "label", "name", "network", "since", "status"];
const STATES: [&str; 7] = ["created", "dead", "exited", "paused", "removing", "restarting", "running"];

pub fn parse(words: &[String]) -> Result<Filters> {
    let filters = Filters::parse(words, &KEYS)?;
    filters.check("status", |value| STATES.contains(&value))?;
    filters.check("exited", |value| value.parse::<u8>().is_ok())?;
    Ok(filters)
}

/// Whether containers that do not run are asked for, too.
pub fn ask_for_state(filters: &Filters) -> bool {
    ["status", "exited"].iter().any(|key| !filters.values(key).is_empty())
}

/// Whether the place among all containers matters.
pub fn cuts(filters: &Filters) -> bool {
    ["before", "since"].iter().any(|key| !filters.values(key).is_empty())
}

/// Where `before` and `since` cut; `ids` are all containers, newest first.
pub fn cut(filters: &Filters, store: &Store, ids: &[Id]) -> Result<Cut> {
    let place = |key: &str| -> Result<Option<usize>> {
        let Some(word) = filters.values(key).first() else { return Ok(None) };
        let id = lookup::container(store, word)?;
        Ok(ids.iter().position(|other| *other == id))
    };
    Ok(Cut { before: place("before")?, since: place("since")? })
}

/// Whether one value of a filter holds for the container.
pub fn holds(key: &str, value: &str, record: &Record) -> bool {
    match key {
        "id" => record.id.as_str().starts_with(value),
        "name" => matches(value.strip_prefix('/').unwrap_or(value), &record.name),
        "label" => record.labels.iter().any(|label| has_label(label, value)),
        "status" => state(record) == value,
        "exited" => record.end.as_ref().is_some_and(|end| Ok(end.exit_code) == value.parse()),
        "ancestor" => is_ancestor(value, record),
        "network" => record.network.to_string() == value,
        _ => false,
    }
}

/// The image by its id, or by a name that means the same.
fn is_ancestor(value: &str, record: &Record) -> bool {
    let hex = value.strip_prefix("sha256:").unwrap_or(value);
    let id = record.image_id.as_deref().and_then(|id| id.strip_prefix("sha256:"));
    reference::whole(value) == reference::whole(&record.image)
        || (hex.len() >= 12 && id.is_some_and(|id| id.starts_with(hex)))
}

/// A part of the name; `^` and `$` tie it to the ends.
fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('^'), pattern.strip_suffix('$')) {
        (Some(_), Some(_)) => pattern.get(1..pattern.len() - 1) == Some(name),
        (Some(start), None) => name.starts_with(start.strip_prefix('/').unwrap_or(start)),
        (None, Some(end)) => name.ends_with(end),
        (None, None) => name.contains(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_in_part_or_tied() {
        for (pattern, name, expected) in [
            ("we", "web1", true),
            ("^we", "aweb", false),
            ("^web1$", "web1", true),
            ("^web$", "web1", false),
            ("1$", "web1", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_no_container_can_be_is_refused() {
        let error = |word: &str| parse(&[word.to_owned()]).unwrap_err().to_string();
        assert_eq!(error("status=odd"), "invalid filter 'status=odd'");
        assert_eq!(error("exited=300"), "invalid filter 'exited=300'");
    }
}
