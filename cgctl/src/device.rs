//! Rules about devices: who may read, write and make which. Pure.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// One entry of `linux.resources.devices`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub allow: bool,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Any number where it is absent; engines also write -1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
    /// Of `r`, `w` and `m` (mknod), those that the rule is about; all where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Both kinds.
    #[serde(rename = "a", alias = "")]
    All,
    #[serde(rename = "c", alias = "u", alias = "p")]
    Character,
    #[serde(rename = "b")]
    Block,
}

impl Rule {
    pub const fn kind(&self) -> Kind {
        match self.kind {
            Some(kind) => kind,
            None => Kind::All,
        }
    }

    /// It is about every device and every access.
    pub fn is_whole(&self) -> bool {
        self.kind() == Kind::All
            && number(self.major).is_none()
            && number(self.minor).is_none()
            && ['r', 'w', 'm'].into_iter().all(|one| self.access().contains(one))
    }

    pub fn access(&self) -> &str {
        self.access.as_deref().filter(|access| !access.is_empty()).unwrap_or("rwm")
    }
}

/// `None` for any.
pub fn number(number: Option<i64>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

/// As devices.allow has it: `c 1:3 rwm`, `a` for all.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.is_whole() {
            return f.write_str("a");
        }
        let text = |n: Option<i64>| number(n).map_or_else(|| "*".to_owned(), |number| number.to_string());
        let kind = match self.kind() {
            Kind::All => 'a',
            Kind::Character => 'c',
            Kind::Block => 'b',
        };
        write!(f, "{kind} {}:{} {}", text(self.major), text(self.minor), self.access())
    }
}

/// docker's `--device-cgroup-rule`: what it names is allowed.
impl FromStr for Rule {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Rule> {
        const WRONG: &str =
            "a device rule is a kind (a, b, c), numbers (MAJOR:MINOR, * for any) and access (of r, w, m)";
        let words: Vec<&str> = text.split(' ').collect();
        let [kind, numbers, access] = words[..] else { bail!(WRONG) };
        let kind = match kind {
            "a" => Kind::All,
            "b" => Kind::Block,
            "c" => Kind::Character,
            _ => bail!(WRONG),
        };
        let Some((major, minor)) = numbers.split_once(':') else { bail!(WRONG) };
        let number = |text: &str| match text {
            "*" => Some(None),
            _ => text.parse::<u32>().ok().map(|number| Some(i64::from(number))),
        };
        let (Some(major), Some(minor)) = (number(major), number(minor)) else { bail!(WRONG) };
        if access.is_empty() || access.len() > 3 || !access.chars().all(|c| "rwm".contains(c)) {
            bail!(WRONG);
        }
        Ok(Rule { allow: true, kind: Some(kind), major, minor, access: Some(access.to_owned()) })
    }
}

/// What every container may use, whatever else it may not: the nodes that a runtime must supply (the OCI runtime
/// specification, "Default Devices"), terminals, and making nodes of any number, which gives no access to them.
pub fn defaults() -> Vec<Rule> {
    let rule = |kind, major, minor, access: &str| Rule {
        allow: true,
        kind: Some(kind),
        major,
        minor,
        access: Some(access.to_owned()),
    };
    let character = |major, minor| rule(Kind::Character, Some(major), minor, "rwm");
    vec![
        rule(Kind::Character, None, None, "m"),
        rule(Kind::Block, None, None, "m"),
        character(1, Some(3)),
        character(1, Some(5)),
        character(1, Some(7)),
        character(1, Some(8)),
        character(1, Some(9)),
        character(5, Some(0)),
        character(5, Some(2)),
        character(136, None),
    ]
}

/// A list that denies everything and then allows some means a container's devices, which include the default ones:
/// runc and crun add them, too.
pub fn with_defaults(mut rules: Vec<Rule>) -> Vec<Rule> {
    let last_whole = rules.iter().rposition(Rule::is_whole);
    if last_whole.is_some_and(|at| !rules[at].allow) {
        rules.extend(defaults());
    }
    rules
}

/// Nothing but the default devices.
pub fn only() -> Vec<Rule> {
    let nothing = Rule { allow: false, kind: None, major: None, minor: None, access: Some("rwm".to_owned()) };
    with_defaults(vec![nothing])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> Rule {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn rules_are_written_as_the_kernel_reads_them() {
        for (json, expected) in [
            (r#"{"allow":false,"access":"rwm"}"#, "a"),
            (r#"{"allow":true,"type":"a","major":-1,"minor":-1,"access":"mrw"}"#, "a"),
            (r#"{"allow":true,"type":"","access":""}"#, "a"),
            (r#"{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"}"#, "c 1:3 rw"),
            (r#"{"allow":true,"type":"b","major":8}"#, "b 8:* rwm"),
            (r#"{"allow":true,"access":"m"}"#, "a *:* m"),
        ] {
            assert_eq!(rule(json).to_string(), expected, "{json}");
        }
    }

    #[test]
    fn dockers_words_name_what_is_allowed() {
        assert_eq!("c 10:* r".parse::<Rule>().unwrap().to_string(), "c 10:* r");
        for wrong in ["", "c", "x 1:3 r", "c 1 r", "c 1:3 rx", "c 1:3", "c -1:3 r", "c 1:3 r r", "c 1:3 "] {
            assert!(wrong.parse::<Rule>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_default_devices_follow_a_denial_of_all() {
        let denied = rule(r#"{"allow":false,"access":"rwm"}"#);
        let allowed = rule(r#"{"allow":true,"access":"rwm"}"#);
        let one = rule(r#"{"allow":false,"type":"c","major":10,"minor":229,"access":"rwm"}"#);
        assert_eq!(with_defaults(vec![denied.clone(), one.clone()]).len(), 2 + defaults().len());
        assert_eq!(with_defaults(vec![denied, allowed.clone()]).len(), 2, "all is allowed again");
        assert_eq!(with_defaults(vec![one.clone()]), [one]);
        assert_eq!(only().len(), 1 + defaults().len());
    }
}
