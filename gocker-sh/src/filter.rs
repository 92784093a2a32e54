//! `--filter KEY=VALUE`, as every listing takes it.
//!
//! Values of one key are alternatives, different keys must all hold (labels too), as with docker.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

/// The values asked for, by key.
#[derive(Debug, Default)]
pub struct Filters(BTreeMap<String, Vec<String>>);

/// Where `before` and `since` cut a list, newest first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cut {
    /// Only those behind this place.
    pub before: Option<usize>,
    /// Only those in front of this place.
    pub since: Option<usize>,
}

impl Filters {
    /// # Errors
    /// docker's words for what is no filter, or none of `keys`.
    pub fn parse(words: &[String], keys: &[&str]) -> Result<Filters> {
        let mut filters = Filters::default();
        for word in words {
            let (key, value) = word.split_once('=').with_context(|| {
                format!("invalid argument \"{word}\" for \"-f, --filter\" flag: invalid filter '{word}': must be in KEY=VALUE form")
            })?;
            if !keys.contains(&key) {
                bail!("invalid filter '{key}'");
            }
            filters.0.entry(key.to_owned()).or_default().push(value.to_owned());
        }
        Ok(filters)
    }

    /// The values asked for under this key.
    pub fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// Every value of this key must pass the check.
    pub fn check(&self, key: &str, valid: impl Fn(&str) -> bool) -> Result<()> {
        match self.values(key).iter().find(|value| !valid(value)) {
            Some(value) => bail!("invalid filter '{key}={value}'"),
            None => Ok(()),
        }
    }

    /// Whether every key holds, by what `holds` says of one value of it.
    pub fn admit(&self, holds: impl Fn(&str, &str) -> bool) -> bool {
        self.0.iter().all(|(key, values)| match key.as_str() {
            "before" | "since" => true,
            "label" => values.iter().all(|value| holds(key, value)),
            _ => values.iter().any(|value| holds(key, value)),
        })
    }
}

impl Cut {
    /// Whether the place is on the side that was asked for.
    pub fn admits(self, place: usize) -> bool {
        self.before.is_none_or(|cut| place > cut) && self.since.is_none_or(|cut| place < cut)
    }
}

/// `KEY` or `KEY=VALUE` against `KEY=VALUE`.
pub fn has_label(label: &str, wanted: &str) -> bool {
    label == wanted || (!wanted.contains('=') && label.split('=').next() == Some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_filter_is_refused() {
        let error = |word: &str| Filters::parse(&[word.to_owned()], &["name"]).unwrap_err().to_string();
        assert_eq!(error("frob=1"), "invalid filter 'frob'");
        assert!(error("name").ends_with("invalid filter 'name': must be in KEY=VALUE form"));
    }

    #[test]
    fn a_label_is_asked_for_with_or_without_its_value() {
        assert!(
            has_label("a=b", "a")
                && has_label("a=b", "a=b")
                && !has_label("a=b", "a=c")
                && !has_label("ab=c", "a")
        );
    }

    #[test]
    fn a_cut_leaves_out_what_it_cuts_at() {
        let cut = Cut { before: Some(1), since: Some(3) };
        assert_eq!((0..5).filter(|place| cut.admits(*place)).collect::<Vec<_>>(), [2]);
    }
}
