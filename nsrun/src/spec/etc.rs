//! Contents of `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf`, as docker writes them.

use std::fmt::Write;
use std::fs::Permissions;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use oci_spec::runtime::Mount;
use stage::{Explain, Hosts};

use super::{Facts, Net};
use crate::document::{Dns, Sections};
use crate::options::ContainerOptions;

const HOSTS: &str = "127.0.0.1\tlocalhost\n";
const HOSTS_V6: &str = "\
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";
/// When the host's own resolvers are out of the container's reach.
const PUBLIC_DNS: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// A file that the container finds in `/etc`, kept outside of its root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcFile {
    pub name: &'static str,
    pub text: String,
    /// The file of netns that it is a part of; `None`: one of nsrun's own.
    pub shared: Option<PathBuf>,
}

impl EtcFile {
    pub fn destination(&self) -> PathBuf {
        Path::new("/etc").join(self.name)
    }

    /// Where it is, if the container's own files are in this directory.
    fn source(&self, dir: &Path) -> PathBuf {
        self.shared.clone().unwrap_or_else(|| dir.join(self.name))
    }

    /// # Errors
    /// It cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        if let Some(shared) = &self.shared {
            let hosts = Hosts::lock(shared.parent().unwrap_or(dir))?;
            let gone = || format!("cannot write {}: its network is gone", shared.display());
            return hosts.with_context(gone)?.change(shared, |parts| parts.own.clone_from(&self.text));
        }
        let path = self.source(dir);
        let write = || {
            std::fs::write(&path, &self.text)?;
            // Readable for any user of the container, whatever the umask is.
            std::fs::set_permissions(&path, Permissions::from_mode(0o644))
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    pub fn mount(&self, dir: &Path) -> Mount {
        let mut mount = Mount::default();
        mount
            .set_destination(self.destination())
            .set_typ(Some("bind".to_owned()))
            .set_source(Some(self.source(dir)))
            .set_options(Some(vec!["rbind".to_owned(), "rprivate".to_owned()]));
        mount
    }
}

/// # Errors
/// An `--add-host` is malformed.
pub fn files(
    options: &ContainerOptions,
    sections: &Sections,
    facts: &Facts,
    net: &Net,
    hostname: &str,
) -> Result<Vec<EtcFile>> {
    if hostname.is_empty()
        || hostname.len() > 64
        || hostname.contains(|c: char| c.is_whitespace() || c == '\0')
    {
        bail!("cannot use host name {hostname:?}: it must have 1 to 64 bytes and no white space");
    }
    let shared = sections.network.as_ref().and_then(|network| network.hosts.clone());
    let own = |name, text| EtcFile { name, text, shared: None };
    Ok(vec![
        own("hostname", format!("{hostname}\n")),
        EtcFile { shared, ..own("hosts", hosts(options, sections, facts, net, hostname)?) },
        own("resolv.conf", resolv_conf(sections, facts, net)),
    ])
}

fn hosts(
    options: &ContainerOptions,
    sections: &Sections,
    facts: &Facts,
    net: &Net,
    hostname: &str,
) -> Result<String> {
    let network = sections.network.as_ref();
    let ips = network.map_or(&[][..], |network| &network.ips);
    let gateway = ips.iter().find_map(|ip| ip.gateway);
    let mut text = match net {
        Net::Host => facts.host.hosts.clone(),
        _ if facts.host.ipv6 => format!("{HOSTS}{HOSTS_V6}"),
        _ => HOSTS.to_owned(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for entry in &options.add_host {
        let (address, name) = added_host(entry, gateway)?;
        writeln!(text, "{address}\t{name}")?;
    }
    for ip in ips {
        let short = hostname.split_once('.').map_or(String::new(), |(short, _)| format!(" {short}"));
        writeln!(text, "{}\t{hostname}{short}", ip.address())?;
    }
    Ok(text)
}

fn added_host(entry: &str, gateway: Option<IpAddr>) -> Result<(String, &str)> {
    // docker's newer form is NAME=ADDRESS; brackets may be around an IPv6 address.
    let Some((name, address)) = entry.split_once('=').or_else(|| entry.split_once(':')) else {
        bail!("cannot add host {entry}: it is not NAME:ADDRESS");
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        bail!("cannot add host {entry}: {name:?} is not a host name");
    }
    if address == "host-gateway" {
        return match gateway {
            Some(gateway) => Ok((gateway.to_string(), name)),
            None => Err(anyhow!("cannot add host {entry}: the container's network has no gateway"))
                .hint("netns makes one: netns | nsrun --add-host=NAME:host-gateway"),
        };
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    match bare.parse::<IpAddr>() {
        Ok(_) => Ok((bare.to_owned(), name)),
        Err(_) => bail!("cannot add host {entry}: {address:?} is not an address"),
    }
}

/// What the network's own facts say; else the host's file, and in a network of its own without the resolvers that
/// only the host can reach.
fn resolv_conf(sections: &Sections, facts: &Facts, net: &Net) -> String {
    let dns = sections.network.as_ref().map(|network| network.dns.clone()).unwrap_or_default();
    let host = &facts.host.resolv_conf;
    if *net == Net::Host && dns.nameservers.is_empty() && dns.search.is_empty() && dns.options.is_empty() {
        return host.clone();
    }
    let words = |key: &str| -> Vec<String> {
        let last = host.lines().rev().find_map(|line| words_behind(line, key));
        last.into_iter().flatten().map(str::to_owned).collect()
    };
    let or_host = |own: Vec<String>, key: &str| if own.is_empty() { words(key) } else { own };
    let nameservers = if dns.nameservers.is_empty() {
        host_nameservers(host, net, facts.host.ipv6)
    } else {
        dns.nameservers
    };
    let search = or_host(dns.search, "search");
    let options = or_host(dns.options, "options");
    render(&Dns { nameservers, search, options })
}

fn words_behind<'a>(line: &'a str, key: &str) -> Option<impl Iterator<Item = &'a str>> {
    let mut words = line.split_whitespace();
    (words.next() == Some(key)).then_some(words)
}

fn host_nameservers(host: &str, net: &Net, ipv6: bool) -> Vec<String> {
    let all = host.lines().filter_map(|line| words_behind(line, "nameserver")?.next());
    if *net == Net::Host {
        return all.map(str::to_owned).collect();
    }
    let reachable = |server: &&str| {
        // A link-local address carries its interface behind a %.
        let address = server.split('%').next().unwrap_or_default().parse::<IpAddr>();
        address.is_ok_and(|address| !address.is_loopback() && (ipv6 || address.is_ipv4()))
    };
    let kept: Vec<String> = all.filter(reachable).map(str::to_owned).collect();
    if kept.is_empty() { PUBLIC_DNS.map(str::to_owned).to_vec() } else { kept }
}

fn render(dns: &Dns) -> String {
    let mut text: String = dns.nameservers.iter().map(|server| format!("nameserver {server}\n")).collect();
    for (key, words) in [("search", &dns.search), ("options", &dns.options)] {
        if !words.is_empty() {
            text.push_str(&format!("{key} {}\n", words.join(" ")));
        }
    }
    text
}
