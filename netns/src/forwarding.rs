//! Whether the kernel passes packets on between interfaces, and the two settings of a container's namespace.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use stage::{Explain, Undo, shell};

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

/// Has the interface keep its addresses of IPv6 when it is brought down: the kernel would forget them. A kernel without
/// that setting does.
pub fn keep_addresses6(interface: &str) -> Result<()> {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/keep_addr_on_down");
    shell(&["sysctl", "-w", &format!("net.ipv6.conf.{interface}.keep_addr_on_down=1")]);
    match std::fs::write(&path, "1") {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        written => written.with_context(|| format!("cannot write {path}")),
    }
}

const FORWARD6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
const INTERFACES6: &str = "/proc/sys/net/ipv6/conf";

/// Whether the thread's network namespace forwards IPv6.
pub fn is_on6() -> Result<bool> {
    let text = std::fs::read(FORWARD6)
        .with_context(|| format!("cannot read {FORWARD6}"))
        .hint("IPv6 is not to be had on this host")?;
    Ok(text.first() != Some(&b'0'))
}

/// Turns it on, until `undo`. An interface that takes its address and route from its router's advertisements would
/// stop doing so (`accept_ra` 1 in the kernel's ip-sysctl); 2 is "also when forwarding".
pub fn turn_on6(undo: &mut Undo) -> Result<()> {
    let interfaces = std::fs::read_dir(INTERFACES6).with_context(|| format!("cannot list {INTERFACES6}"))?;
    for interface in interfaces.flatten().filter(|entry| entry.file_name() != "all") {
        let path = interface.path().join("accept_ra");
        if std::fs::read(&path).is_ok_and(|value| value.first() == Some(&b'1')) {
            let name = interface.file_name();
            shell(&["sysctl", "-w", &format!("net/ipv6/conf/{}/accept_ra=2", name.display())]);
            set(&path, "2", "1", undo)?;
        }
    }
    shell(&["sysctl", "-w", "net.ipv6.conf.all.forwarding=1"]);
    set(Path::new(FORWARD6), "1", "0", undo)
}

fn set(path: &Path, value: &str, before: &'static str, undo: &mut Undo) -> Result<()> {
    let context = |path: &Path| format!("cannot write {}", path.display());
    // The open file stays with the namespace in which it was opened.
    let file = OpenOptions::new().write(true).open(path).with_context(|| context(path))?;
    let (again, known) = (file.try_clone()?, path.to_owned());
    undo.push(move || write(&again, before.as_bytes()).with_context(|| context(&known)));
    write(&file, value.as_bytes()).with_context(|| context(path))
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
