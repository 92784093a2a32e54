//! Who the process is: names are looked up in the container's own files, by docker's rules (moby/sys/user).

use anyhow::{Result, anyhow};
use oci_spec::runtime::User;
use stage::Explain;

/// The text of the container's `/etc/passwd` and `/etc/group`; empty where there is none.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    pub passwd: String,
    pub group: String,
}

/// One line of passwd(5), as far as it matters.
#[derive(Clone, Copy)]
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// One line of group(5).
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl Accounts {
    /// The identity that `USER[:GROUP]` means; the empty text is root.
    ///
    /// Without a group: the user's own, and as supplementary ones those that list the user, the own one first
    /// (CVE-2022-36109: a process without its own group among them escapes negative group permissions).
    ///
    /// # Errors
    /// A name is not there.
    pub fn user(&self, text: &str) -> Result<User> {
        let (name, group) = text.split_once(':').unwrap_or((text, ""));
        let name = if name.is_empty() { "0" } else { name };
        let account = self.account(name);
        let uid = match (account, name.parse::<u32>()) {
            (Some(account), _) => account.uid,
            (None, Ok(uid)) => uid,
            (None, Err(_)) => return missing("user", name, "/etc/passwd"),
        };
        let gid = match group {
            "" => account.map_or(0, |account| account.gid),
            group => self.gid(group)?,
        };
        let mut groups = vec![gid];
        if let (Some(account), "") = (account, group) {
            groups.extend(self.groups_of(account.name).filter(|other| *other != gid));
        }
        let mut user = User::default();
        user.set_uid(uid).set_gid(gid).set_additional_gids(Some(groups));
        Ok(user)
    }

    /// The home directory of a user; `/` for one that is not listed.
    pub fn home(&self, uid: u32) -> &str {
        self.accounts().find(|account| account.uid == uid).map_or("/", |account| account.home)
    }

    /// A name is looked for before a number: a user may be called 1000.
    fn account(&self, name: &str) -> Option<Account<'_>> {
        let by_name = self.accounts().find(|account| account.name == name);
        let uid = name.parse::<u32>().ok();
        by_name.or_else(|| self.accounts().find(|account| Some(account.uid) == uid))
    }

    fn accounts(&self) -> impl Iterator<Item = Account<'_>> {
        self.passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            let home = fields.nth(1).filter(|home| !home.is_empty()).unwrap_or("/");
            Some(Account { name, uid, gid, home })
        })
    }

    fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            let gid = fields.nth(1)?.parse().ok()?;
            Some(Group { name, gid, members: fields.next().unwrap_or_default() })
        })
    }

    fn gid(&self, group: &str) -> Result<u32> {
        match (self.groups().find(|line| line.name == group), group.parse()) {
            (Some(line), _) => Ok(line.gid),
            (None, Ok(gid)) => Ok(gid),
            (None, Err(_)) => missing("group", group, "/etc/group"),
        }
    }

    fn groups_of<'a>(&'a self, user: &'a str) -> impl Iterator<Item = u32> + 'a {
        self.groups()
            .filter(move |line| line.members.split(',').any(|member| member == user))
            .map(|line| line.gid)
    }
}

fn missing<T>(what: &str, name: &str, file: &str) -> Result<T> {
    Err(anyhow!("cannot use {what} {name}: no such name in the container's {file}"))
        .hint("a number needs no entry there")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd:
                "root:x:0:0:root:/root:/bin/sh\nbroken\n#c:x:1\napp:x:1000:1000::/home/app:\n77:x:5:6::/n:\n"
                    .to_owned(),
            group: "root:x:0:\napp:x:1000:\nextra:x:2000:zed,app\nmore:x:3000:app\n".to_owned(),
        }
    }

    fn of(text: &str) -> String {
        match accounts().user(text) {
            Ok(user) => {
                let groups: Vec<String> =
                    user.additional_gids().iter().flatten().map(ToString::to_string).collect();
                format!("{}:{} {}", user.uid(), user.gid(), groups.join(","))
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn users_and_groups_by_name_and_number() {
        assert_eq!(of(""), "0:0 0");
        assert_eq!(of("root"), "0:0 0");
        assert_eq!(of("app"), "1000:1000 1000,2000,3000");
        assert_eq!(of("1000"), "1000:1000 1000,2000,3000");
        assert_eq!(of("1234"), "1234:0 0");
        assert_eq!(of("app:extra"), "1000:2000 2000");
        assert_eq!(of("1234:99"), "1234:99 99");
        assert_eq!(of(":extra"), "0:2000 2000");
        assert_eq!(of("77"), "5:6 6");
        assert_eq!(of("nobody"), "cannot use user nobody: no such name in the container's /etc/passwd");
        assert_eq!(of("app:nil"), "cannot use group nil: no such name in the container's /etc/group");
        assert_eq!(of("-1"), "cannot use user -1: no such name in the container's /etc/passwd");
        assert_eq!(
            of("4294967296"),
            "cannot use user 4294967296: no such name in the container's /etc/passwd"
        );
    }

    #[test]
    fn home_is_of_the_uid() {
        assert_eq!(accounts().home(0), "/root");
        assert_eq!(accounts().home(1000), "/home/app");
        assert_eq!(accounts().home(4242), "/");
        assert_eq!(Accounts::default().home(0), "/");
    }
}
