//! Which container a word on the command line means: a full id, a name, or the start of an id.

use anyhow::{Result, bail};
use stage::Id;

use crate::record::Record;
use crate::store::Store;

/// docker's order: the full id, then the name, then a prefix that only one id has.
///
/// # Errors
/// None is meant, or several could be.
pub fn container(store: &Store, word: &str) -> Result<Id> {
    if let Ok(id) = word.parse::<Id>()
        && store.has(&id)
    {
        return Ok(id);
    }
    if let Some(id) = store.named(word).filter(|id| store.has(id)) {
        return Ok(id);
    }
    by_prefix(word, all(store)?)
}

/// The record of a container whose process is there. `None` if there is none (any more).
pub fn started(store: &Store, id: &Id) -> Result<Option<Record>> {
    Ok(Record::read(store, id)?.filter(Record::is_alive))
}

/// Every container there is, each once.
pub fn all(store: &Store) -> Result<Vec<Id>> {
    let mut ids = store.kept()?;
    ids.extend(store.running()?);
    ids.sort();
    ids.dedup();
    Ok(ids)
}

fn by_prefix(word: &str, ids: Vec<Id>) -> Result<Id> {
    let mut matching = ids.into_iter().filter(|id| !word.is_empty() && id.as_str().starts_with(word));
    match (matching.next(), matching.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => bail!("multiple IDs found with provided prefix: {word}"),
        (None, _) => bail!("No such container: {word}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_must_be_of_one_id() {
        let ids = || vec!["ab".repeat(32).parse().unwrap(), "ac".repeat(32).parse::<Id>().unwrap()];
        assert_eq!(by_prefix("ab", ids()).unwrap().as_str(), "ab".repeat(32));
        assert_eq!(
            by_prefix("a", ids()).unwrap_err().to_string(),
            "multiple IDs found with provided prefix: a"
        );
        assert_eq!(by_prefix("b", ids()).unwrap_err().to_string(), "No such container: b");
        assert_eq!(by_prefix("", ids()).unwrap_err().to_string(), "No such container: ");
    }
}
