//! Refuses, before anything is done, what a configuration asks for and cannot be had: by the name of its field. What is
//! never looked at would be ignored, and an option that is ignored is a promise that is broken.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use oci_spec::runtime::{Linux, LinuxNamespaceType, Mount, Process, Spec};

use super::affinity::Affinity;
use super::flags::Flags;
use super::namespaces::Namespaces;

/// # Errors
/// The first field that cannot be honoured.
pub fn check(spec: &Spec) -> Result<()> {
    let foreign = [
        ("solaris", spec.solaris().is_some()),
        ("windows", spec.windows().is_some()),
        ("vm", spec.vm().is_some()),
        ("zos", spec.zos().is_some()),
        ("root", spec.root().is_none()),
        ("linux", spec.linux().is_none()),
    ];
    for (field, wrong) in foreign {
        let why = if matches!(field, "root" | "linux") { "it is missing" } else { "this is Linux" };
        ensure!(!wrong, "cannot use {field}: {why}");
    }
    let Some(linux) = spec.linux() else { return Ok(()) };
    let namespaces = Namespaces::of(linux)?;
    names(spec, &namespaces)?;
    linux_fields(linux, &namespaces)?;
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        check_mount(mount).map_err(|error| error.context(format!("cannot use mounts[{index}]")))?;
    }
    spec.process().as_ref().map_or(Ok(()), check_process)
}

fn names(spec: &Spec, namespaces: &Namespaces) -> Result<()> {
    for (field, value) in [("hostname", spec.hostname()), ("domainname", spec.domainname())] {
        let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else { continue };
        ensure!(namespaces.is_own(LinuxNamespaceType::Uts), "cannot use {field}: it takes a UTS namespace");
        ensure!(value.len() <= 64, "cannot use {field}: it has more than 64 bytes");
    }
    Ok(())
}

fn linux_fields(linux: &Linux, namespaces: &Namespaces) -> Result<()> {
    let unsupported = [
        ("intelRdt", linux.intel_rdt().is_some()),
        ("netDevices", linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty())),
    ];
    for (field, asked) in unsupported {
        ensure!(!asked, "cannot use linux.{field}: nsrun does not support it");
    }
    if let Some(label) = linux.mount_label().as_deref().filter(|label| !label.is_empty()) {
        let why = match Path::new("/sys/fs/selinux/enforce").exists() {
            true => "nsrun does not support it",
            false => "SELinux is not enabled on this host",
        };
        bail!("cannot use linux.mountLabel {label}: {why}");
    }
    if let Some(word) = linux.rootfs_propagation().as_deref().filter(|word| !word.is_empty()) {
        let flags = Flags::parse(&[word.to_owned()]);
        ensure!(
            flags.propagations.len() == 1,
            "cannot use linux.rootfsPropagation: {word} is not a kind of propagation"
        );
    }
    for key in linux.sysctl().iter().flatten().map(|(key, _)| key) {
        check_sysctl(key, namespaces)?;
    }
    Ok(())
}

/// A sysctl that belongs to no namespace of the container's own would be the host's.
fn check_sysctl(key: &str, namespaces: &Namespaces) -> Result<()> {
    const IPC: [&str; 8] =
        ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];
    const IPC_OTHERS: [&str; 3] = ["msg_next_id", "sem_next_id", "shm_next_id"];
    let path = sysctl_path(key);
    ensure!(
        path.split('/').all(|part| !part.is_empty() && part != "." && part != ".."),
        "cannot use linux.sysctl: {key} is not a name of one"
    );
    let needed = match path.split_once('/') {
        Some(("kernel", name)) if IPC.contains(&name) || IPC_OTHERS.contains(&name) => {
            LinuxNamespaceType::Ipc
        }
        Some(("kernel", "hostname" | "domainname")) => LinuxNamespaceType::Uts,
        Some(("fs", name)) if name.starts_with("mqueue/") => LinuxNamespaceType::Ipc,
        Some(("net", _)) => LinuxNamespaceType::Network,
        Some(("user", _)) => LinuxNamespaceType::User,
        _ => bail!("cannot use linux.sysctl: {key} is not of a namespace, it would be the host's"),
    };
    ensure!(
        namespaces.is_own(needed),
        "cannot use linux.sysctl: {key} takes a namespace of the container's own ({needed})"
    );
    Ok(())
}

/// Below /proc/sys. Where slashes separate the components, these may hold dots (sysctl(8)).
pub fn sysctl_path(key: &str) -> String {
    match (key.find('.'), key.find('/')) {
        (Some(dot), Some(slash)) if slash < dot => key.to_owned(),
        (None, _) => key.to_owned(),
        _ => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect(),
    }
}

fn check_mount(mount: &Mount) -> Result<()> {
    let flags = Flags::parse(mount.options().as_deref().unwrap_or_default());
    if flags.bind.is_some() {
        ensure!(mount.source().is_some(), "source: it is missing, and there is an option bind");
        ensure!(flags.data.is_empty(), "options: a bind mount has no option {}", flags.data);
        ensure!(!flags.copy_up, "options: tmpcopyup is for a tmpfs");
    } else {
        let typ = mount.typ().as_deref().unwrap_or_default();
        ensure!(!typ.is_empty(), "type: it is missing, and there is no option bind");
        ensure!(!flags.copy_up || typ == "tmpfs", "options: tmpcopyup is for a tmpfs");
        ensure!(
            !flags.changes_below(),
            "options: a new file system has no mounts below it that a recursive option could change"
        );
    }
    ensure!(!flags.remount, "options: nothing is mounted there yet that remount could change");
    let maps = |maps: &Option<Vec<_>>| maps.as_ref().is_some_and(|maps| !maps.is_empty());
    ensure!(
        maps(mount.uid_mappings()) == maps(mount.gid_mappings()),
        "uidMappings and gidMappings: one is missing"
    );
    ensure!(
        flags.bind.is_some() || !(maps(mount.uid_mappings()) || flags.idmap.is_some()),
        "uidMappings: only a bind mount can be mapped"
    );
    Ok(())
}

fn check_process(process: &Process) -> Result<()> {
    ensure!(process.command_line().is_none(), "cannot use process.commandLine: this is Linux");
    ensure!(process.user().username().is_none(), "cannot use process.user.username: this is Linux");
    let cwd = process.cwd();
    ensure!(cwd.is_absolute(), "cannot use process.cwd: {:?} is not an absolute path", cwd.display());
    ensure!(
        process.args().as_ref().is_some_and(|args| !args.is_empty()),
        "cannot use process.args: there are none"
    );
    ensure!(
        process.user().umask().is_none_or(|umask| umask <= 0o777),
        "cannot use process.user.umask: it is not between 0 and 511"
    );
    // It holds for who enters later; that is too late to say that it is wrong.
    Affinity::of(process).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        let base = r#"{"ociVersion":"1.0.2","root":{"path":"r"},"process":{"cwd":"/","args":["x"],"user":{}},
            "linux":{"namespaces":[{"type":"mount"},{"type":"uts"},{"type":"ipc"}]}}"#;
        let mut spec: serde_json::Value = serde_json::from_str(base).unwrap();
        merge(&mut spec, serde_json::from_str(text).unwrap());
        match check(&serde_json::from_value(spec).unwrap()) {
            Ok(()) => String::new(),
            Err(error) => format!("{error:#}"),
        }
    }

    fn merge(into: &mut serde_json::Value, from: serde_json::Value) {
        match (into, from) {
            (serde_json::Value::Object(into), serde_json::Value::Object(from)) => {
                for (key, value) in from {
                    merge(into.entry(key).or_insert(serde_json::Value::Null), value);
                }
            }
            (into, from) => *into = from,
        }
    }

    #[test]
    fn every_refusal_names_its_field() {
        for (text, error) in [
            (r#"{"vm":{"kernel":{"path":"/k"}}}"#, "cannot use vm: this is Linux"),
            (
                r#"{"linux":{"intelRdt":{"closID":"x"}}}"#,
                "cannot use linux.intelRdt: nsrun does not support it",
            ),
            (
                r#"{"linux":{"namespaces":[{"type":"mount"}]},"hostname":"h"}"#,
                "cannot use hostname: it takes a UTS namespace",
            ),
            (
                r#"{"linux":{"rootfsPropagation":"sharde"}}"#,
                "cannot use linux.rootfsPropagation: sharde is not a kind of propagation",
            ),
            (
                r#"{"linux":{"sysctl":{"vm.swappiness":"1"}}}"#,
                "cannot use linux.sysctl: vm.swappiness is not of a namespace, it would be the host's",
            ),
            (
                r#"{"linux":{"sysctl":{"net.ipv4.ip_forward":"1"}}}"#,
                "cannot use linux.sysctl: net.ipv4.ip_forward takes a namespace of the container's own (net)",
            ),
            (
                r#"{"linux":{"sysctl":{"kernel.shmmax/../../x":"1"}}}"#,
                "cannot use linux.sysctl: kernel.shmmax/../../x is not a name of one",
            ),
            (
                r#"{"mounts":[{"destination":"/x","source":"/y","options":["bind","ro","sise=1"]}]}"#,
                "cannot use mounts[0]: options: a bind mount has no option sise=1",
            ),
            (r#"{"process":{"cwd":"x"}}"#, "cannot use process.cwd: \"x\" is not an absolute path"),
            (r#"{"process":{"args":[]}}"#, "cannot use process.args: there are none"),
        ] {
            assert_eq!(of(text), error, "{text}");
        }
        for text in [
            "{}",
            r#"{"linux":{"sysctl":{"kernel.shmmax":"1","fs.mqueue.msg_max":"1","kernel/sem":"1"}}}"#,
            r#"{"mounts":[{"destination":"/x","type":"tmpfs","options":["size=1k","tmpcopyup"]}]}"#,
        ] {
            assert_eq!(of(text), "", "{text}");
        }
    }
}
