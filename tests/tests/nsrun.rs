//! Tests of `nsrun`, alone: hand-written documents, and a root file system of busybox.

mod bundle;
mod cycles;
mod engines;
mod exec;
mod faults;
mod features;
mod hooks;
mod hostile;
mod image;
mod isolation;
mod joined;
mod killed;
mod life;
mod listener;
mod network;
mod oci;
mod streams;
mod terminal;
mod volumes;

// Against those who attack it, and beside crun and runc.
mod options;
mod refused;
mod security;
mod table;

use tests::{Host, Output, images, new_id};

/// Where the root file system is on the host.
const ROOTFS: &str = "/run/rootfs";

/// A host with a root file system on it.
fn host() -> Host {
    let host = Host::new();
    images::busybox_rootfs(&host.path(ROOTFS));
    host.settled()
}

/// The words of a run on that root file system, without a document.
fn words<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["nsrun", "--doc=/dev/null", "--rootfs", ROOTFS], more].concat()
}

/// Runs it to its end.
fn run(host: &Host, more: &[&str]) -> Output {
    host.run(&words(more))
}

/// Runs a shell script in a container.
fn sh(host: &Host, script: &str) -> Output {
    run(host, &["--", "sh", "-c", script])
}

/// A container that runs until its end is asked for, by closing its stdin.
struct Sleeper {
    id: String,
    running: tests::host::Running,
}

impl Sleeper {
    fn start(host: &Host, more: &[&str]) -> Sleeper {
        let id = new_id();
        let options = ["-i", "--id", &id];
        let script = ["--", "sh", "-c", "echo ready; cat; exit 0"];
        let mut running = host.start(&words(&[&options, more, &script].concat()));
        running.wait_for_line("ready");
        Sleeper { id, running }
    }

    fn exec(&self, host: &Host, more: &[&str]) -> Output {
        let mut words = vec!["nsrun", "exec"];
        let at = more.iter().position(|word| *word == "ID").map_or(0, |at| at + 1);
        words.extend(more[..at.saturating_sub(1)].iter().copied());
        words.push(&self.id);
        words.extend(more[at..].iter().copied());
        host.run(&words)
    }

    fn end(self) {
        let output = self.running.end();
        assert_eq!(output.code, 0, "{output}");
    }
}
