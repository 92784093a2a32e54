//! A set-up as the tests see it, and code that runs in a network namespace of the host.

use std::fs::File;

use nix::sched::{CloneFlags, setns};
use serde_json::Value;
use tests::Host;

/// What one run of netns gave.
pub struct Container {
    pub id: String,
    pub network: Value,
}

impl Container {
    /// Sets one up; stdin is `/dev/null`.
    #[track_caller]
    pub fn new(host: &Host, options: &[&str]) -> Container {
        Container::of(&host.run(&[&["netns"], options].concat()).json())
    }

    pub fn of(document: &Value) -> Container {
        Container { id: document["id"].as_str().unwrap().to_owned(), network: document["network"].clone() }
    }

    /// Its namespace as `ip netns` calls it.
    pub fn name(&self) -> String {
        format!("gocker-{}", &self.id[..12])
    }

    /// Its interface on the host.
    pub fn interface(&self) -> String {
        format!("gk{}", &self.id[..12])
    }

    /// Its address, without the prefix's length.
    pub fn address(&self) -> &str {
        self.network["ips"][0]["address"].as_str().unwrap().split_once('/').unwrap().0
    }

    #[track_caller]
    pub fn undo(&self, host: &Host) {
        host.run(&["netns", "undo", &self.id]).prints("");
    }
}

/// A host without IPv6: no link-local addresses that appear some time after their interface.
pub fn quiet_host() -> Host {
    let host = Host::new();
    host.sh("for f in all default lo; do echo 1 > /proc/sys/net/ipv6/conf/$f/disable_ipv6; done").ok();
    host.settled()
}

/// A host on which ip-netns(8) has been at work: it mounts its directory on itself, and leaves it so.
pub fn host_with_ip_netns() -> Host {
    let host = Host::new();
    host.sh("ip netns add first && ip netns delete first").ok();
    host.settled()
}

/// Runs `act` in the host's own network namespace.
pub fn on_host<T: Send>(host: &Host, act: impl FnOnce() -> T + Send) -> T {
    within(&format!("/proc/{}/ns/net", host.pid), act)
}

/// Runs `act` in a named network namespace of the host.
pub fn in_namespace<T: Send>(host: &Host, name: &str, act: impl FnOnce() -> T + Send) -> T {
    within(host.path(&format!("/run/netns/{name}")).to_str().unwrap(), act)
}

fn within<T: Send>(namespace: &str, act: impl FnOnce() -> T + Send) -> T {
    let file = File::open(namespace).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).unwrap();
            act()
        });
        thread.join().unwrap()
    })
}
