//! Whether the kernel passes packets on between interfaces, and the two settings of a container's namespace.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use stage::{Undo, shell};

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Whether the thread's network namespace forwards.
pub fn is_on() -> Result<bool> {
    let text = std::fs::read(FORWARD).with_context(|| format!("cannot read {FORWARD}"))?;
    Ok(text.first() != Some(&b'0'))
}

/// Turns it on, until `undo`.
pub fn turn_on(undo: &mut Undo) -> Result<()> {
    shell(&["sysctl", "-w", "net.ipv4.ip_forward=1"]);
    let context = || format!("cannot turn on forwarding: write {FORWARD}");
    // The open file stays with the namespace in which it was opened.
    let file = OpenOptions::new().write(true).open(FORWARD).with_context(context)?;
    let again = file.try_clone().with_context(context)?;
    undo.push(move || {
        write(&again, b"0").with_context(|| format!("cannot turn off forwarding: write {FORWARD}"))
    });
    write(&file, b"1").with_context(context)
}

/// Lets the interface have addresses of the loopback: answers to 127.0.0.1 come in on it, once its rules are in place.
pub fn admit_loopback(interface: &str) -> Result<()> {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/route_localnet");
    let is_on = std::fs::read(&path).with_context(|| format!("cannot read {path}"))?.first() == Some(&b'1');
    if !is_on {
        shell(&["sysctl", "-w", &format!("net.ipv4.conf.{interface}.route_localnet=1")]);
        std::fs::write(&path, "1").with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}

fn write(file: &File, value: &[u8]) -> Result<()> {
    Ok(file.write_all_at(value, 0)?)
}

/// What docker gives a container of its own network: any user may ping, and listen on any port. For the
/// thread's namespace.
const FOR_CONTAINERS: [(&str, &str); 2] = [
    ("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"),
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
];

/// Settings of a namespace that belongs to one container, for the thread's namespace.
pub fn relax() -> Result<()> {
    for (path, value) in FOR_CONTAINERS {
        match std::fs::write(path, value) {
            // A kernel without it.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            written => written.with_context(|| format!("cannot write {path}"))?,
        }
    }
    Ok(())
}
