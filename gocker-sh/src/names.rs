//! A container's name: taken by making a link, which only one can.

use std::io::ErrorKind;
use std::os::unix::fs::symlink;

use anyhow::{Context, Result, bail};
use stage::{Id, Lock};

use crate::store::{Store, make_dir};

/// Takes `wanted`, or else a random name, for the container `id`, whose run directory must be there already.
///
/// # Errors
/// docker's words for a name that is malformed or taken.
pub fn take(store: &Store, id: &Id, wanted: Option<&str>) -> Result<String> {
    if let Some(name) = wanted {
        let name = name.strip_prefix('/').unwrap_or(name);
        check(name)?;
        if let Some(owner) = link(store, id, name)? {
            bail!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". You have to \
                 remove (or rename) that container to be able to reuse that name."
            );
        }
        return Ok(name.to_owned());
    }
    let mut digits = Digits::of(id);
    let first = digits.name();
    let mut name = first.clone();
    while link(store, id, &name)?.is_some() {
        name = format!("{first}{}", digits.next(10));
        if digits.left() < 2 {
            return link_id(store, id);
        }
    }
    Ok(name)
}

/// Gives a name back, if it is this container's.
pub fn give_back(store: &Store, id: &Id, name: &str) -> Result<()> {
    if store.named(name).as_ref() != Some(id) {
        return Ok(());
    }
    let path = store.name_link(name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// docker's rule for names.
fn check(name: &str) -> Result<()> {
    let first = |c: char| c.is_ascii_alphanumeric();
    let other = |c: char| first(c) || "_.-".contains(c);
    if name.len() >= 2 && name.starts_with(first) && name.chars().all(other) {
        return Ok(());
    }
    bail!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
}

/// Makes the link; if somebody else has it, that is the answer.
fn link(store: &Store, id: &Id, name: &str) -> Result<Option<Id>> {
    let path = store.name_link(name);
    loop {
        match symlink(id.as_str(), &path) {
            Ok(()) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => make_dir(&store.kept_root())?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => match store.named(name) {
                Some(owner) if store.has(&owner) => return Ok(Some(owner)),
                _ => remove_stale(store, name)?,
            },
            Err(error) => return Err(error).with_context(|| format!("cannot link {}", path.display())),
        }
    }
}

/// Removes a name whose container is gone: the host went down while it ran. Under a lock, for otherwise two
/// that found the same stale link could remove the new one that one of them had made.
fn remove_stale(store: &Store, name: &str) -> Result<()> {
    let lock = Lock::take(&store.kept_root().join("names.lock"))?;
    if store.named(name).is_none_or(|owner| !store.has(&owner)) {
        std::fs::remove_file(store.name_link(name)).ok();
    }
    drop(lock);
    Ok(())
}

/// The name when all of the names drawn are taken.
fn link_id(store: &Store, id: &Id) -> Result<String> {
    let name = id.short().to_owned();
    link(store, id, &name)?;
    Ok(name)
}

/// The id is random already: its digits draw the name.
struct Digits(Vec<u8>);

impl Digits {
    fn of(id: &Id) -> Digits {
        let value = |digit: u8| if digit.is_ascii_digit() { digit - b'0' } else { digit - b'a' + 10 };
        Digits(id.as_str().bytes().rev().map(value).collect())
    }

    fn left(&self) -> usize {
        self.0.len()
    }

    fn next(&mut self, below: usize) -> usize {
        let (high, low) = (self.0.pop().unwrap_or(0), self.0.pop().unwrap_or(0));
        (usize::from(high) * 16 + usize::from(low)) % below
    }

    fn name(&mut self) -> String {
        loop {
            let adjective = ADJECTIVES[self.next(ADJECTIVES.len())];
            let surname = SURNAMES[self.next(SURNAMES.len())];
            // Steve Wozniak is not boring (moby, pkg/namesgenerator).
            if (adjective, surname) != ("boring", "wozniak") {
                return format!("{adjective}_{surname}");
            }
        }
    }
}

const ADJECTIVES: [&str; 96] = [
    "able", "agile", "amber", "ample", "apt", "avid", "awake", "blue", "bold", "boring", "brave", "breezy",
    "brisk", "calm", "candid", "canny", "chatty", "cheery", "civil", "clear", "clever", "cosy", "crisp",
    "curious", "dapper", "daring", "deft", "dreamy", "eager", "early", "earnest", "elated", "fair", "famous",
    "fleet", "fluent", "fond", "frank", "free", "fresh", "gentle", "gifted", "glad", "golden", "grand",
    "green", "handy", "happy", "hardy", "honest", "humble", "jolly", "jovial", "keen", "kind", "light",
    "lively", "loyal", "lucid", "lucky", "mellow", "merry", "mild", "modest", "neat", "nifty", "nimble",
    "noble", "patient", "plucky", "polite", "prompt", "proud", "quick", "quiet", "quirky", "ready", "robust",
    "rosy", "sage", "serene", "sharp", "silent", "silver", "smart", "snug", "steady", "stoic", "sunny",
    "swift", "tidy", "tranquil", "upbeat", "vivid", "witty", "zesty",
];

/// People who made computing and the sciences it stands on.
const SURNAMES: [&str; 96] = [
    "allen",
    "ampere",
    "archimedes",
    "babbage",
    "backus",
    "banach",
    "bardeen",
    "bartik",
    "bell",
    "berners",
    "bohr",
    "boole",
    "booth",
    "borg",
    "brooks",
    "burnell",
    "cantor",
    "carson",
    "cerf",
    "chandra",
    "chomsky",
    "church",
    "clarke",
    "codd",
    "conway",
    "cook",
    "cray",
    "curie",
    "darwin",
    "davies",
    "dijkstra",
    "dirac",
    "easley",
    "eckert",
    "edison",
    "einstein",
    "engelbart",
    "erdos",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "feynman",
    "floyd",
    "franklin",
    "galileo",
    "galois",
    "gauss",
    "germain",
    "goldberg",
    "goldstine",
    "goodall",
    "hamilton",
    "hamming",
    "hawking",
    "heisenberg",
    "hertz",
    "hoare",
    "hopper",
    "hypatia",
    "johnson",
    "joy",
    "kay",
    "kepler",
    "kernighan",
    "khorana",
    "kilby",
    "knuth",
    "kowalevski",
    "lamarr",
    "lamport",
    "leavitt",
    "liskov",
    "lovelace",
    "maxwell",
    "mccarthy",
    "mclean",
    "meitner",
    "mendel",
    "milner",
    "morse",
    "naur",
    "newton",
    "noether",
    "noyce",
    "perlman",
    "ritchie",
    "shannon",
    "sinoussi",
    "spence",
    "tesla",
    "thompson",
    "torvalds",
    "turing",
    "wilkes",
    "wozniak",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_checked_as_docker_does() {
        for good in ["ab", "a1_.-", "0web"] {
            check(good).unwrap();
        }
        for bad in ["a", "", "-ab", ".ab", "a b", "a/b", "\u{e9}a"] {
            let error = check(bad).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("Invalid container name ({bad}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
            );
        }
    }

    #[test]
    fn the_id_draws_the_name_and_wozniak_is_never_boring() {
        let id = format!("{:02x}{:02x}{}", 9, 95, "0".repeat(60)).parse().unwrap();
        assert_eq!((ADJECTIVES[9], SURNAMES[95]), ("boring", "wozniak"));
        assert_eq!(Digits::of(&id).name(), "able_allen");
    }
}
