//! `--device HOST[:CONTAINER[:PERMISSIONS]]`, and the devices of a privileged container.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};

/// Directories of /dev whose nodes are the container's own affair.
const OWN: [&str; 5] = ["pts", "shm", "fd", "mqueue", "console"];

/// The device files that an option means: one, or those of a directory, however deep.
///
/// # Errors
/// It is not of that form, or there is no such device.
pub fn devices(text: &str) -> Result<Vec<LinuxDevice>> {
    let mut found = Vec::new();
    find(text, &mut found).with_context(|| format!("cannot use --device={text}"))?;
    Ok(found)
}

fn find(text: &str, found: &mut Vec<LinuxDevice>) -> Result<()> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, permissions) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, second] if is_permissions(second) => (host, host, second),
        [host, container] => (host, container, "rwm"),
        [host, container, permissions] => (host, container, permissions),
        _ => bail!("it is not HOST[:CONTAINER[:PERMISSIONS]]"),
    };
    ensure!(is_permissions(permissions), "{permissions:?} are not of r, w and m");
    ensure!(container.starts_with('/'), "{container} is not an absolute path");
    let host = std::fs::canonicalize(host).context("it is not there")?;
    collect(&host, Path::new(container), found)?;
    ensure!(!found.is_empty(), "it is not a device");
    Ok(())
}

fn is_permissions(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| "rwm".contains(c))
}

fn collect(host: &Path, container: &Path, found: &mut Vec<LinuxDevice>) -> Result<()> {
    let meta = host.symlink_metadata().with_context(|| host.display().to_string())?;
    if !meta.is_dir() {
        found.extend(device(&meta, container));
        return Ok(());
    }
    for entry in std::fs::read_dir(host).with_context(|| host.display().to_string())? {
        let name = entry?.file_name();
        collect(&host.join(&name), &container.join(&name), found)?;
    }
    Ok(())
}

/// Every device of the host, but for those that a container has of its own.
pub fn all() -> Result<Vec<LinuxDevice>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/dev").context("cannot read /dev")? {
        let name = entry?.file_name();
        if !OWN.iter().any(|own| name == *own) {
            let path = Path::new("/dev").join(&name);
            collect(&path, &path, &mut found)?;
        }
    }
    Ok(found)
}

fn device(meta: &Metadata, path: &Path) -> Option<LinuxDevice> {
    let kind = meta.file_type();
    let typ = match (kind.is_char_device(), kind.is_block_device()) {
        (true, _) => LinuxDeviceType::C,
        (_, true) => LinuxDeviceType::B,
        _ => return None,
    };
    let mut device = LinuxDevice::default();
    device
        .set_path(PathBuf::from(path))
        .set_typ(typ)
        .set_major(i64::from(nix::libc::major(meta.rdev())))
        .set_minor(i64::from(nix::libc::minor(meta.rdev())))
        .set_file_mode(Some(meta.mode() & 0o7777))
        .set_uid(Some(meta.uid()))
        .set_gid(Some(meta.gid()));
    Some(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        match devices(text) {
            Ok(all) => all
                .iter()
                .map(|one| format!("{} {}:{}", one.path().display(), one.major(), one.minor()))
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn dockers_forms() {
        assert_eq!(of("/dev/null"), "/dev/null 1:3");
        assert_eq!(of("/dev/null:/dev/x:r"), "/dev/x 1:3");
        assert_eq!(of("/dev/null:rw"), "/dev/null 1:3");
        assert_eq!(of("/dev/null:x"), "cannot use --device=/dev/null:x: x is not an absolute path");
        assert_eq!(of("/dev/null:/x:q"), "cannot use --device=/dev/null:/x:q: \"q\" are not of r, w and m");
        assert_eq!(of("/etc/passwd"), "cannot use --device=/etc/passwd: it is not a device");
    }
}
