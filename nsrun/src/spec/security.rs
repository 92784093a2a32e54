//! What the container may do: capabilities and `--security-opt`, by docker's rules.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use oci_spec::runtime::Capability;
use stage::Explain;

use super::defaults;
use crate::options::SecurityOptions;

/// What the options mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// What a process of it can have at all.
    pub bounding: HashSet<Capability>,
    pub seccomp: Seccomp,
    /// `None`: what the host gives to everybody.
    pub apparmor: Option<String>,
    pub selinux: Option<String>,
    pub no_new_privileges: bool,
    /// Whether /proc and /sys are whole, and writable.
    pub whole_system: bool,
    pub privileged: bool,
}

/// Which filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seccomp {
    Default,
    Unconfined,
    Profile(PathBuf),
}

impl Security {
    /// `all` are the capabilities that this host can give.
    ///
    /// # Errors
    /// A name is not known.
    pub fn of(options: &SecurityOptions, all: &HashSet<Capability>) -> Result<Security> {
        let seccomp = if options.privileged { Seccomp::Unconfined } else { Seccomp::Default };
        let mut security = Security {
            bounding: bounding(options, all)?,
            seccomp,
            apparmor: None,
            selinux: None,
            no_new_privileges: false,
            whole_system: options.privileged,
            privileged: options.privileged,
        };
        for text in &options.security_opt {
            security.take(text)?;
        }
        Ok(security)
    }

    fn take(&mut self, text: &str) -> Result<()> {
        // docker's old separator is a colon.
        let (key, value) = text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((text, ""));
        match (key, value) {
            ("no-new-privileges", "" | "true") => self.no_new_privileges = true,
            ("no-new-privileges", "false") => self.no_new_privileges = false,
            ("seccomp", "unconfined") => self.seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin") => self.seccomp = Seccomp::Default,
            ("seccomp", path) if !path.is_empty() => self.seccomp = Seccomp::Profile(path.into()),
            ("apparmor", "unconfined") | ("label", "disable") => {}
            ("apparmor", profile) if !profile.is_empty() => self.apparmor = Some(profile.to_owned()),
            ("label", _) => {
                return Err(anyhow!("cannot use --security-opt={text}: parts of a label are not supported"))
                    .hint("a whole one is: --security-opt=selinux=LABEL");
            }
            ("selinux", label) if !label.is_empty() => self.selinux = Some(label.to_owned()),
            ("systempaths", "unconfined") => self.whole_system = true,
            _ => {
                return Err(anyhow!("cannot use --security-opt={text}: not known"))
                    .hint("no-new-privileges, seccomp=, apparmor=, selinux= and systempaths=unconfined are");
            }
        }
        Ok(())
    }
}

/// docker's order: dropping all leaves what is added; adding all leaves out what is dropped.
fn bounding(options: &SecurityOptions, all: &HashSet<Capability>) -> Result<HashSet<Capability>> {
    let add = Names::of("--cap-add", &options.cap_add)?;
    let drop = Names::of("--cap-drop", &options.cap_drop)?;
    if options.privileged || (add.all && drop.all) {
        return Ok(all.clone());
    }
    Ok(match (add.all, drop.all) {
        (_, true) => add.names,
        (true, false) => all.difference(&drop.names).copied().collect(),
        (false, false) => {
            let defaults: HashSet<_> = defaults::CAPABILITIES.into_iter().collect();
            &(&defaults - &drop.names) | &add.names
        }
    })
}

/// Names of capabilities, or the word ALL.
struct Names {
    all: bool,
    names: HashSet<Capability>,
}

impl Names {
    fn of(option: &str, words: &[String]) -> Result<Names> {
        let mut found = Names { all: false, names: HashSet::new() };
        for word in words.iter().flat_map(|word| word.split(',')) {
            let upper = word.to_ascii_uppercase();
            let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
            match (name, name.parse()) {
                ("ALL", _) => found.all = true,
                (_, Ok(capability)) => {
                    found.names.insert(capability);
                }
                (_, Err(_)) => bail!("cannot use {option}={word}: there is no such capability"),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(add: &[&str], drop: &[&str]) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let options =
            SecurityOptions { cap_add: words(add), cap_drop: words(drop), ..SecurityOptions::default() };
        let all = HashSet::from([Capability::Chown, Capability::Kill, Capability::SysAdmin]);
        match Security::of(&options, &all) {
            Ok(security) => {
                let mut names: Vec<_> = security.bounding.iter().map(ToString::to_string).collect();
                names.sort();
                names
            }
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn capabilities_are_added_and_dropped_as_docker_does() {
        assert_eq!(of(&[], &[]).len(), 14);
        assert_eq!(of(&["SYS_ADMIN"], &["chown", "CAP_KILL"]).len(), 13);
        assert_eq!(of(&["net_admin"], &["ALL"]), ["NET_ADMIN"]);
        assert_eq!(of(&["all"], &["KILL"]), ["CHOWN", "SYS_ADMIN"]);
        assert_eq!(of(&["ALL"], &["ALL"]), ["CHOWN", "KILL", "SYS_ADMIN"]);
        assert_eq!(of(&["NIL"], &[]), ["cannot use --cap-add=NIL: there is no such capability"]);
    }

    #[test]
    fn security_options_in_dockers_spellings() {
        let of = |words: &[&str]| {
            let options = SecurityOptions {
                security_opt: words.iter().map(|word| (*word).to_owned()).collect(),
                ..SecurityOptions::default()
            };
            Security::of(&options, &HashSet::new())
        };
        assert!(of(&["no-new-privileges"]).unwrap().no_new_privileges);
        assert!(of(&["no-new-privileges:true"]).unwrap().no_new_privileges);
        assert!(!of(&["no-new-privileges=true", "no-new-privileges=false"]).unwrap().no_new_privileges);
        assert_eq!(of(&["seccomp=unconfined"]).unwrap().seccomp, Seccomp::Unconfined);
        assert_eq!(of(&["seccomp=/p.json"]).unwrap().seccomp, Seccomp::Profile("/p.json".into()));
        assert_eq!(of(&["apparmor=docker-default"]).unwrap().apparmor.as_deref(), Some("docker-default"));
        assert!(of(&["systempaths=unconfined"]).unwrap().whole_system);
        assert_eq!(
            of(&["sekkomp=x"]).unwrap_err().to_string(),
            "cannot use --security-opt=sekkomp=x: not known"
        );
    }
}
