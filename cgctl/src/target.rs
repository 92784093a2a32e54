//! Which group a verb is about: a container's, by its id, or any, by its path.

use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use stage::{Codes, Explain, Id};

use crate::group::CgroupPath;
use crate::hierarchy;

/// `linux.cgroupsPath` of the OCI runtime specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CgroupsPath {
    /// Below the root of each hierarchy as it is mounted.
    Absolute(CgroupPath),
    /// Below the group that cgctl itself is in.
    Relative(CgroupPath),
}

impl FromStr for CgroupsPath {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<CgroupsPath> {
        let absolute = text.starts_with('/');
        let path: CgroupPath = if absolute { text.parse()? } else { format!("/{text}").parse()? };
        if path.as_str() == "/" {
            return Err(anyhow!("this is a group that cgctl did not make, with everything in it"));
        }
        Ok(if absolute { CgroupsPath::Absolute(path) } else { CgroupsPath::Relative(path) })
    }
}

impl CgroupsPath {
    /// The path from the root of each hierarchy: one for all of them, although a process may be in different groups
    /// in different hierarchies of cgroup v1, so that a group has one name. Relative is what is below our group where
    /// memory is limited.
    pub fn resolve(&self) -> Result<CgroupPath> {
        match self {
            CgroupsPath::Absolute(path) => Ok(path.clone()),
            CgroupsPath::Relative(path) => {
                let (_, hierarchies) = hierarchy::ours()?;
                let memory = hierarchies.iter().find(|one| one.has("memory")).unwrap_or(&hierarchies[0]);
                let own = memory.group_of("self").with_context(|| {
                    format!("cannot find {path} below our own cgroup: it is not mounted here")
                })?;
                Ok(own.join(path))
            }
        }
    }
}

// The group of a verb.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// Id of the container
    pub id: Option<Id>,
    /// The group, without an id: as linux.cgroupsPath of the OCI runtime specification
    #[arg(long, value_name = "PATH")]
    pub cgroups_path: Option<CgroupsPath>,
}

impl Target {
    pub fn is_given(&self) -> bool {
        self.id.is_some() || self.cgroups_path.is_some()
    }
}

/// A word of a verb that takes process ids behind its group.
#[derive(Clone, Debug)]
pub enum Word {
    Id(Id),
    Pid(i32),
}

impl FromStr for Word {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Word> {
        match (text.parse::<Id>(), text.parse::<i32>()) {
            (Ok(id), _) => Ok(Word::Id(id)),
            (Err(_), Ok(pid @ 1..)) => Ok(Word::Pid(pid)),
            (Err(_), _) => Err(anyhow!("neither an id, 64 hex digits, nor a process id")),
        }
    }
}

/// Tells the group and the processes of such a verb apart.
pub fn split(words: Vec<Word>, cgroups_path: Option<CgroupsPath>) -> Result<(Target, Vec<i32>)> {
    let mut words = words.into_iter().peekable();
    let id = match (words.peek(), &cgroups_path) {
        (Some(Word::Id(id)), None) => Some(id.clone()),
        (Some(Word::Pid(_)), Some(_)) => None,
        _ => return Err(anyhow!("cannot tell which group: give an id or --cgroups-path")).code(Codes::USAGE),
    };
    let pids: Option<Vec<i32>> = words
        .skip(usize::from(id.is_some()))
        .map(|word| match word {
            Word::Pid(pid) => Some(pid),
            Word::Id(_) => None,
        })
        .collect();
    match pids.filter(|pids| !pids.is_empty()) {
        Some(pids) => Ok((Target { id, cgroups_path }, pids)),
        None => Err(anyhow!("cannot attach: give process ids behind the group")).code(Codes::USAGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_absolute_or_relative_but_not_the_root() {
        assert!(matches!("/docker/x".parse(), Ok(CgroupsPath::Absolute(_))));
        assert!(matches!("x/y".parse(), Ok(CgroupsPath::Relative(path)) if path.as_str() == "/x/y"));
        for wrong in ["/", "", "//", "../x", "/a/../b"] {
            assert!(wrong.parse::<CgroupsPath>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn processes_stand_behind_the_group() {
        let words = |text: &str| text.split(' ').map(|word| word.parse().unwrap()).collect::<Vec<Word>>();
        let id = "a".repeat(64);
        let path = || Some("/x".parse().unwrap());
        let (target, pids) = split(words(&format!("{id} 1 2")), None).unwrap();
        assert_eq!((target.id.unwrap().as_str(), pids), (id.as_str(), vec![1, 2]));
        assert_eq!(split(words("1"), path()).unwrap().1, [1]);
        assert!(split(words("1"), None).is_err());
        assert!(split(words(&id), None).is_err());
        assert!(split(words(&format!("{id} 1")), path()).is_err());
        assert!(split(words(&format!("1 {id}")), path()).is_err());
    }
}
