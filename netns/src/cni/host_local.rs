//! As the plugin `host-local`: addresses out of ranges, for another plugin that makes the interface.
//!
//! Its leases are files, and as those of the plugin of that name, in the same place: who changes from one to
//! the other, in the middle of a network's life, gives no address twice. `DATADIR/NETWORK/ADDRESS` holds the container's
//! id and the interface, `last_reserved_ip.N` where the search in range set N goes on, and `lock` has an flock(2).

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stage::Lock;

use super::answer;
use super::failure::{Failure, Outcome};
use super::ranges::RangeSet;
use super::request::Request;

const DATA_DIR: &str = "/var/lib/cni/networks";

/// The leases of one network, locked.
struct Leases<'a> {
    dir: PathBuf,
    /// What a lease of this attachment holds.
    holder: String,
    request: &'a Request,
    _lock: Lock,
}

/// Leases an address out of each set of ranges.
pub fn add(request: &Request) -> Outcome<Value> {
    let ipam = &request.config.ipam;
    let sets = ipam.range_sets()?;
    let dns = ipam.resolv_conf.as_deref().map(dns_of).transpose()?;
    let mut wanted = request.wanted_ips()?;
    let leases = Leases::open(request)?;
    let leased = leases.lease_all(&sets, &mut wanted)?;
    let ips: Vec<Value> = sets.iter().zip(leased).map(|(set, address)| set.as_ip(address)).collect();
    let mut result = json!({"ips": ips, "dns": dns.unwrap_or_else(|| json!({}))});
    if !ipam.routes.is_empty() {
        result["routes"] = ipam.routes.clone().into();
    }
    Ok(answer::in_version(result, &request.config.cni_version))
}

/// Frees what the attachment holds.
pub fn del(request: &Request) -> Outcome<()> {
    let leases = Leases::open(request)?;
    leases.free(&leases.held()?)
}

/// Frees what attachments hold that are not listed as wanted.
pub fn gc(request: &Request) -> Outcome<()> {
    let valid = request.valid_attachments()?;
    let valid: Vec<String> = valid.iter().map(|one| holder(&one.container_id, &one.ifname)).collect();
    let leases = Leases::open(request)?;
    leases.free(&leases.held_by(|holder| !valid.iter().any(|one| one == holder))?)
}

fn holder(container_id: &str, ifname: &str) -> String {
    format!("{container_id}\r\n{ifname}")
}

/// Whether the attachment holds an address.
pub fn check(request: &Request) -> Outcome<()> {
    match Leases::open(request)?.held()?.is_empty() {
        false => Ok(()),
        true => Err(Failure::new(
            100,
            format!("host-local: Failed to find address added by container {}", request.container_id),
        )),
    }
}

impl Leases<'_> {
    fn open(request: &Request) -> Outcome<Leases<'_>> {
        let config = &request.config;
        let dir = config.ipam.data_dir.as_deref().unwrap_or(Path::new(DATA_DIR)).join(&config.name);
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&dir);
        made.map_err(|error| unusable(&dir, &error))?;
        let _lock = Lock::take(&dir.join("lock"))?;
        let holder = holder(&request.container_id, request.interface());
        Ok(Leases { dir, holder, request, _lock })
    }

    /// An address of each set: one of those wanted, or any. All of those wanted, or none.
    fn lease_all(&self, sets: &[RangeSet], wanted: &mut Vec<IpAddr>) -> Outcome<Vec<IpAddr>> {
        let mut leased = Vec::new();
        let mut failure = None;
        for (index, set) in sets.iter().enumerate() {
            let position = wanted.iter().position(|address| set.has(*address));
            match self.lease(index, set, position.map(|position| wanted.remove(position))) {
                Ok(address) => leased.push(address),
                Err(why) => {
                    failure = Some(why.within(&format!("failed to allocate for range {index}")));
                    break;
                }
            }
        }
        let failure = failure.or_else(|| {
            let left: Vec<String> = wanted.iter().map(IpAddr::to_string).collect();
            (!left.is_empty()).then(|| {
                Failure::new(100, format!("failed to allocate all requested IPs: {}", left.join(" ")))
            })
        });
        match failure {
            None => Ok(leased),
            Some(failure) => {
                self.free(&leased)?;
                Err(failure)
            }
        }
    }

    /// Leases the wanted address, or the next one that is free.
    fn lease(&self, index: usize, set: &RangeSet, wish: Option<IpAddr>) -> Outcome<IpAddr> {
        let held = self.held()?;
        if let Some(address) = held.iter().find(|address| set.has(**address)) {
            let id = &self.request.container_id;
            return Err(Failure::new(
                100,
                format!("{address} has been allocated to {id}, duplicate allocation is not allowed"),
            ));
        }
        if let Some(address) = wish {
            if set.is_gateway(address) {
                return Err(Failure::new(100, format!("requested ip {address} is subnet's gateway")));
            }
            return match self.take(address)? {
                true => self.remember(index, address),
                false => Err(Failure::new(
                    100,
                    format!("requested IP address {address} is not available in range set {set}"),
                )),
            };
        }
        let last = std::fs::read_to_string(self.last(index)).ok();
        let last = last.and_then(|text| text.trim().parse::<IpAddr>().ok());
        for address in set.behind(last) {
            if self.take(address)? {
                return self.remember(index, address);
            }
        }
        Err(Failure::new(100, format!("no IP addresses available in range set: {set}")))
    }

    fn last(&self, index: usize) -> PathBuf {
        self.dir.join(format!("last_reserved_ip.{index}"))
    }

    fn remember(&self, index: usize, address: IpAddr) -> Outcome<IpAddr> {
        let path = self.last(index);
        std::fs::write(&path, address.to_string()).map_err(|error| unusable(&path, &error))?;
        Ok(address)
    }

    /// Whether the address was free, and is the attachment's now.
    fn take(&self, address: IpAddr) -> Outcome<bool> {
        let path = self.dir.join(address.to_string());
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                let written = file.write_all(self.holder.as_bytes());
                written.map(|()| true).map_err(|error| {
                    std::fs::remove_file(&path).ok();
                    unusable(&path, &error)
                })
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(unusable(&path, &error)),
        }
    }

    /// The addresses that the attachment holds.
    fn held(&self) -> Outcome<Vec<IpAddr>> {
        self.held_by(|holder| holder == self.holder)
    }

    /// The addresses whose holder is such a one.
    fn held_by(&self, is: impl Fn(&str) -> bool) -> Outcome<Vec<IpAddr>> {
        let listing = std::fs::read_dir(&self.dir).map_err(|error| unusable(&self.dir, &error))?;
        let address = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse::<IpAddr>().ok();
        let counts = |address: &IpAddr| {
            let text = std::fs::read_to_string(self.dir.join(address.to_string()));
            text.is_ok_and(|text| is(text.trim()))
        };
        Ok(listing.flatten().filter_map(address).filter(counts).collect())
    }

    fn free(&self, addresses: &[IpAddr]) -> Outcome<()> {
        for address in addresses {
            let path = self.dir.join(address.to_string());
            std::fs::remove_file(&path).map_err(|error| unusable(&path, &error))?;
        }
        Ok(())
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(5, format!("cannot use {}: {error}", path.display()))
}

/// The name servers, search domains and options of a resolv.conf(5).
fn dns_of(path: &Path) -> Outcome<Value> {
    let text = std::fs::read_to_string(path).map_err(|error| unusable(path, &error))?;
    let resolv = crate::dns::Resolv::parse(&text);
    Ok(serde_json::to_value(resolv).map_err(anyhow::Error::from)?)
}
