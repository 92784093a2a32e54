//! The name servers a container gets: the host's, as far as a container can reach them, as docker computes it.
//!
//! Pure, but for [`Resolv::of_host`].

use std::net::IpAddr;

use anyhow::{Context, Result};
use serde::Serialize;

const HOST: &str = "/etc/resolv.conf";
/// systemd-resolved's stub, and where it keeps the servers that it asks itself.
const STUB: &str = "127.0.0.53";
const UPSTREAM: &str = "/run/systemd/resolve/resolv.conf";
/// For a host whose servers are all its own.
const PUBLIC: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// resolv.conf(5), as CNI's `dns`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Resolv {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Resolv {
    /// What the host's programs are told.
    pub fn of_host() -> Result<Resolv> {
        Resolv::read(HOST)
    }

    /// Whom the host itself asks.
    pub fn upstream() -> Result<Resolv> {
        let host = Resolv::of_host()?;
        if host.nameservers == [STUB] {
            return Resolv::read(UPSTREAM);
        }
        Ok(host)
    }

    fn read(path: &str) -> Result<Resolv> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Resolv::parse(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Resolv::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {path}")),
        }
    }

    /// resolv.conf(5): of several `search` lines the last one counts, and `domain` is an older word for it.
    pub fn parse(text: &str) -> Resolv {
        let mut resolv = Resolv::default();
        for line in text.lines() {
            let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
            let keyword = words.next();
            let words = words.map(str::to_owned);
            match keyword {
                Some("nameserver") => resolv.nameservers.extend(words.take(1)),
                Some("search" | "domain") => resolv.search = words.collect(),
                Some("options") => resolv.options.extend(words),
                _ => {}
            }
        }
        resolv
    }

    /// For a container without IPv6, in its own network namespace: servers on the loopback are the host's own.
    pub fn for_container(mut self) -> Resolv {
        self.nameservers.retain(|server| {
            server.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4() && !address.is_loopback())
        });
        self
    }

    /// What was asked for replaces what the host has, list by list. `.` as a search domain means none.
    pub fn overridden(mut self, nameservers: &[IpAddr], search: &[String], options: &[String]) -> Resolv {
        if !nameservers.is_empty() {
            self.nameservers = nameservers.iter().map(IpAddr::to_string).collect();
        }
        if !search.is_empty() {
            self.search = search.iter().filter(|domain| *domain != ".").cloned().collect();
        }
        if !options.is_empty() {
            self.options = options.to_vec();
        }
        self
    }

    /// With docker's choice where no server is left; `true` if that was so.
    pub fn or_public(mut self) -> (Resolv, bool) {
        let none = self.nameservers.is_empty();
        if none {
            self.nameservers = PUBLIC.map(str::to_owned).to_vec();
        }
        (self, none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Resolv {
        Resolv::parse(text)
    }

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn servers_of_the_host_alone_are_left_out() {
        let text = "nameserver 127.0.0.1\nnameserver ::1\nnameserver 2001:db8::1\nnameserver 10.0.0.53\n";
        assert_eq!(parse(text).for_container().nameservers, ["10.0.0.53"]);
    }

    #[test]
    fn the_last_search_line_counts_and_options_add_up() {
        let resolv = parse(
            "domain a\nsearch b c\noptions ndots:2\noptions  rotate\n# x\n;y\nnameserver\t1.1.1.1 # z\n",
        );
        assert_eq!(resolv.search, ["b", "c"]);
        assert_eq!(resolv.options, ["ndots:2", "rotate"]);
        assert_eq!(resolv.nameservers, ["1.1.1.1"]);
    }

    #[test]
    fn without_a_server_it_is_dockers_choice() {
        assert_eq!(parse("nameserver 127.0.0.1").for_container().or_public().0.nameservers, PUBLIC);
        assert!(!parse("nameserver 10.0.0.1").or_public().1);
    }

    #[test]
    fn what_was_asked_for_wins_list_by_list() {
        let host = parse("nameserver 10.0.0.1\nsearch a b\noptions ndots:1");
        let resolv = host.clone().overridden(&["9.9.9.9".parse().unwrap()], &[], &words(&["edns0"]));
        assert_eq!(resolv.nameservers, ["9.9.9.9"]);
        assert_eq!((resolv.search, resolv.options), (words(&["a", "b"]), words(&["edns0"])));
        assert!(host.overridden(&[], &words(&["."]), &[]).search.is_empty());
    }
}
