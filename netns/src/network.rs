//! The networks of this host by name: which bridge each has, and which subnet.
//!
//! A definition is a file that survives a reboot; its bridge is made when the first container comes. The network
//! `bridge` needs no definition.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use stage::{Durability, Explain, make_private_dir, replace_file};

use crate::macvlan::Macvlan;
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;

/// The network of those who name none.
pub const DEFAULT: &str = "bridge";
/// Bridges are named this and a number; the default network's is number 0, as the original's.
const BRIDGE: &str = "gocker";

/// A network as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    pub name: String,
    /// The bridge's interface.
    pub bridge: String,
    /// `None`: whatever the bridge has, or the default.
    #[serde(flatten)]
    pub subnet: Option<Subnet>,
    /// `None`: the bridge has none, or one already; see `ipv6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet6: Option<Subnet6>,
    /// Its containers have addresses of IPv6, too.
    #[serde(default)]
    pub ipv6: bool,
    /// Its containers reach each other and this host, and nothing else.
    #[serde(default)]
    pub internal: bool,
}

/// What a name can stand for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Defined {
    Macvlan(Macvlan),
    Bridge(Definition),
}

impl Defined {
    pub fn name(&self) -> &str {
        match self {
            Defined::Macvlan(network) => &network.name,
            Defined::Bridge(network) => &network.name,
        }
    }
}

impl Definition {
    /// The network `bridge`, with this subnet if it has none yet.
    pub fn default_with(subnet: Option<Subnet>) -> Definition {
        Definition {
            name: DEFAULT.to_owned(),
            bridge: bridge(0),
            subnet,
            subnet6: None,
            ipv6: false,
            internal: false,
        }
    }
}

fn bridge(number: u32) -> String {
    format!("{BRIDGE}{number}")
}

/// The first of [`BRIDGE`]'s numbers that neither a definition nor an interface of the host has.
pub fn free_bridge(all: &[Definition], is_there: impl Fn(&str) -> bool) -> String {
    let is_taken = |name: &String| all.iter().any(|one| one.bridge == *name) || is_there(name);
    (1..).map(bridge).find(|name| !is_taken(name)).unwrap_or_default()
}

/// A network's name, by docker's rule for names. Those that mean something else are no names.
pub fn check_name(name: &str) -> Result<()> {
    let mut letters = name.chars();
    let starts_well = letters.next().is_some_and(|first| first.is_ascii_alphanumeric());
    if !starts_well || !letters.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
        bail!("cannot use network name {name:?}: only [a-zA-Z0-9][a-zA-Z0-9_.-]* are allowed");
    }
    if [DEFAULT, "none", "host", "default"].contains(&name) {
        bail!("cannot use network name {name:?}: it is the name of a predefined network");
    }
    Ok(())
}

/// The definitions on disk.
pub struct Definitions {
    dir: PathBuf,
}

impl Definitions {
    /// Those below the directory of what survives a reboot.
    pub fn below(kept: &Path) -> Definitions {
        Definitions { dir: kept.join("networks") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }

    /// The network of this name, which must be one with a bridge.
    pub fn find(&self, name: &str) -> Result<Definition> {
        match self.look(name)? {
            Defined::Bridge(network) => Ok(network),
            Defined::Macvlan(_) => bail!("cannot use network {name} here: it is a macvlan and has no bridge"),
        }
    }

    /// Whatever has this name.
    pub fn look(&self, name: &str) -> Result<Defined> {
        if name == DEFAULT {
            return Ok(Defined::Bridge(Definition::default_with(None)));
        }
        check_name(name)?;
        let path = self.path(name);
        match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(anyhow!("cannot find network {name}: network {name} not found"))
                    .hint(format!("netns network create {name}"))
            }
            read => {
                let what = || format!("cannot read {}", path.display());
                serde_json::from_slice(&read.with_context(what)?).with_context(what)
            }
        }
    }

    /// All networks with a bridge.
    pub fn all(&self) -> Result<Vec<Definition>> {
        let bridge = |network| match network {
            Defined::Bridge(network) => Some(network),
            Defined::Macvlan(_) => None,
        };
        Ok(self.of_all_kinds()?.into_iter().filter_map(bridge).collect())
    }

    /// All networks, the default one first, then by name. A definition that cannot be read is left out.
    pub fn of_all_kinds(&self) -> Result<Vec<Defined>> {
        let listing = match std::fs::read_dir(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            listing => Some(listing.with_context(|| format!("cannot list {}", self.dir.display()))?),
        };
        let entries = listing.into_iter().flatten().flatten();
        let read = |entry: std::fs::DirEntry| {
            let name = entry.file_name();
            self.look(name.to_str()?.strip_suffix(".json")?).ok()
        };
        let mut named: Vec<Defined> = entries.filter_map(read).collect();
        named.sort_by(|one, other| one.name().cmp(other.name()));
        Ok([Defined::Bridge(Definition::default_with(None))].into_iter().chain(named).collect())
    }

    pub fn add(&self, definition: &Defined) -> Result<()> {
        make_private_dir(&self.dir)?;
        replace_file(&self.path(definition.name()), &serde_json::to_vec(definition)?, Durability::Durable)
    }

    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}: unlink", path.display()))?;
        // The last one's directory; with others in it, it stays.
        std::fs::remove_dir(&self.dir).ok();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dockers() {
        for name in ["web", "a", "my_net-1.2"] {
            check_name(name).unwrap();
        }
        for name in ["", "-a", "a b", "a/b", "..", "host", "none", "bridge"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_bridges_number_is_the_first_that_nobody_has() {
        let has = |number| Definition { bridge: bridge(number), ..Definition::default_with(None) };
        assert_eq!(free_bridge(&[has(0), has(1), has(3)], |name| name == "gocker2"), "gocker4");
    }
}
