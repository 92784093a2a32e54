//! From what was typed and what the document says to one OCI runtime configuration. Touches nothing.

pub mod defaults;
pub mod device;
pub mod env;
pub mod etc;
pub mod ids;
pub mod image;
pub mod limits;
pub mod mount;
pub mod seccomp;
pub mod security;
pub mod user;
pub mod volume;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use oci_spec::runtime::{
    Linux, LinuxDevice, LinuxNamespace, LinuxNamespaceType, LinuxSeccomp, Mount, Process, Root, Spec,
};
use stage::Id;

use crate::document::Sections;
use crate::options::{ContainerOptions, Network};
use env::Client;
use etc::EtcFile;
use security::Security;
use user::Accounts;
use volume::Volume;

/// What the building of a configuration must know of the world.
#[derive(Debug)]
pub struct Facts {
    pub id: Id,
    /// Absolute.
    pub root: PathBuf,
    /// Where the files for `/etc` will be. `None`: they are not mounted.
    pub files: Option<PathBuf>,
    pub accounts: Accounts,
    pub volumes: Vec<Volume>,
    /// Of `--mount` and `--tmpfs`.
    pub mounts: Vec<Mount>,
    pub devices: Vec<LinuxDevice>,
    pub ids: ids::Maps,
    pub security: Security,
    pub seccomp: Option<LinuxSeccomp>,
    pub client: Client,
    pub host: Host,
}

/// What matters of the host.
#[derive(Clone, Debug, Default)]
pub struct Host {
    pub hostname: String,
    pub resolv_conf: String,
    pub hosts: String,
    pub ipv6: bool,
    /// Per-cpu files that are masked as the fixed ones are.
    pub masked: Vec<String>,
}

/// A configuration, and what it needs that it cannot say.
#[derive(Debug)]
pub struct Plan {
    pub spec: Spec,
    /// Contents of the files that the configuration mounts.
    pub files: Vec<EtcFile>,
}

/// The network that the container will be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Net {
    Host,
    Empty,
    At(PathBuf),
}

/// # Errors
/// The options contradict the document.
pub fn net(wanted: Option<Network>, sections: &Sections) -> Result<Net> {
    match (wanted, &sections.network) {
        (Some(mode), Some(_)) => {
            let word = if mode == Network::Host { "host" } else { "none" };
            anyhow::bail!("cannot use --network={word}: the document has a section \"network\"")
        }
        (Some(Network::Host), None) => Ok(Net::Host),
        (Some(Network::None) | None, None) => Ok(Net::Empty),
        (None, Some(section)) => Ok(section.netns.clone().map_or(Net::Host, Net::At)),
    }
}

/// # Errors
/// What was asked for makes no sense, or does not exist in the container.
pub fn build(options: &ContainerOptions, sections: &Sections, facts: &Facts) -> Result<Plan> {
    let net = net(options.network, sections)?;
    let networks = sections.network.as_ref().and_then(|network| network.hostname.as_ref());
    let hostname = match (options.hostname.as_ref().or(networks), &net) {
        (Some(name), _) => name.clone(),
        // Programs that resolve their own name find the host's, as /etc/hosts is the host's, too.
        (None, Net::Host) => facts.host.hostname.clone(),
        (None, _) => facts.id.short().to_owned(),
    };
    let files = etc::files(options, sections, facts, &net, &hostname)?;
    let mut spec = Spec::default();
    spec.set_version("1.0.2".to_owned())
        .set_root(Some(root(options, facts)))
        .set_process(Some(process(options, sections, facts, &hostname)?))
        .set_hostname(Some(hostname))
        .set_mounts(Some(mounts(options, facts, &files)?))
        .set_annotations(None)
        .set_linux(Some(linux(options, sections, facts, &net)?));
    Ok(Plan { spec, files })
}

fn root(options: &ContainerOptions, facts: &Facts) -> Root {
    let mut root = Root::default();
    root.set_path(facts.root.clone()).set_readonly(Some(options.read_only));
    root
}

fn process(
    options: &ContainerOptions,
    sections: &Sections,
    facts: &Facts,
    hostname: &str,
) -> Result<Process> {
    let image = sections.image.clone().unwrap_or_default();
    let wanted = &options.process;
    let user = wanted.user.as_deref().or(image.user.as_deref()).unwrap_or_default();
    let user = facts.accounts.user(user)?;
    let mut process = Process::default();
    process
        .set_terminal(Some(wanted.tty))
        .set_args(Some(image::command(options.entrypoint.as_deref(), &options.command, &image)?))
        .set_env(Some(env::of_container(wanted, image.env.as_deref(), hostname, &facts.client)?))
        .set_cwd(image::cwd(wanted.workdir.as_deref(), image.working_dir.as_deref())?)
        .set_capabilities(Some(defaults::capabilities(user.uid(), &facts.security.bounding)))
        .set_user(user)
        .set_rlimits(limits::ulimits(&options.ulimit)?)
        .set_apparmor_profile(facts.security.apparmor.clone())
        .set_selinux_label(facts.security.selinux.clone())
        .set_no_new_privileges(Some(facts.security.no_new_privileges));
    Ok(process)
}

/// docker's order: its own first, but for those that the user replaces; then the user's, the less deep first.
fn mounts(options: &ContainerOptions, facts: &Facts, files: &[EtcFile]) -> Result<Vec<Mount>> {
    let users =
        facts.volumes.iter().map(Volume::mount).chain(facts.mounts.iter().cloned()).collect::<Vec<_>>();
    for (index, mount) in users.iter().enumerate() {
        let twice = users[..index].iter().any(|other| other.destination() == mount.destination());
        anyhow::ensure!(!twice, "cannot mount at {}: it is there twice", mount.destination().display());
    }
    let dev = Path::new("/dev");
    let replaced = |destination: &Path| {
        users.iter().any(|mount| {
            let user = mount.destination();
            user == destination || (user == dev && destination.starts_with(dev))
        })
    };
    let mut mounts = defaults::mounts();
    mounts.iter_mut().try_for_each(|mount| adapt(mount, options, facts))?;
    mounts.retain(|mount| !replaced(mount.destination()));
    let mut more: Vec<Mount> = Vec::new();
    if let Some(dir) = &facts.files {
        more.extend(files.iter().filter(|file| !replaced(&file.destination())).map(|file| file.mount(dir)));
    }
    more.extend(users);
    more.sort_by_key(|mount| mount.destination().components().count());
    mounts.extend(more);
    Ok(mounts)
}

/// What options change of docker's own mounts.
fn adapt(mount: &mut Mount, options: &ContainerOptions, facts: &Facts) -> Result<()> {
    let destination = mount.destination().clone();
    let Some(words) = mount.options_mut() else { return Ok(()) };
    if facts.security.privileged && destination.starts_with("/sys") {
        words.retain(|word| word != "ro");
    }
    if let Some(size) = options.shm_size.as_deref().filter(|_| destination == Path::new("/dev/shm")) {
        let size = limits::bytes("--shm-size", size)?;
        words.retain(|word| !word.starts_with("size="));
        words.push(format!("size={size}"));
    }
    Ok(())
}

fn linux(options: &ContainerOptions, sections: &Sections, facts: &Facts, net: &Net) -> Result<Linux> {
    let mut linux = Linux::default();
    let (masked, readonly) = if facts.security.whole_system { (None, None) } else { hidden(facts) };
    linux
        .set_namespaces(Some(namespaces(net, facts.ids.is_some())))
        .set_masked_paths(masked)
        .set_readonly_paths(readonly)
        .set_sysctl(sysctl(options, facts, net)?)
        .set_seccomp(facts.seccomp.clone())
        .set_devices((!facts.devices.is_empty()).then(|| facts.devices.clone()))
        .set_cgroups_path(sections.cgroup.as_ref().map(|cgroup| cgroup.cgroups_path.clone()))
        .set_resources(None);
    if let Some((users, groups)) = &facts.ids {
        linux.set_uid_mappings(Some(users.clone())).set_gid_mappings(Some(groups.clone()));
    }
    let shared = |option: &String| option.ends_with("shared");
    let users = facts.mounts.iter().filter_map(|mount| mount.options().as_ref());
    if facts.volumes.iter().map(|volume| &volume.options).chain(users).flatten().any(shared) {
        linux.set_rootfs_propagation(Some("shared".to_owned()));
    }
    Ok(linux)
}

/// Masked and read-only paths.
fn hidden(facts: &Facts) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let fixed = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    let masked = [fixed(&defaults::MASKED), facts.host.masked.clone()].concat();
    (Some(masked), Some(fixed(&defaults::READONLY)))
}

fn sysctl(options: &ContainerOptions, facts: &Facts, net: &Net) -> Result<Option<HashMap<String, String>>> {
    let mut all = if *net == Net::Host { HashMap::new() } else { defaults::sysctl() };
    if facts.ids.is_some() {
        // It names groups that a user namespace does not have.
        all.remove("net.ipv4.ping_group_range");
    }
    all.extend(limits::sysctls(&options.sysctl)?);
    Ok((!all.is_empty()).then_some(all))
}

fn namespaces(net: &Net, mapped: bool) -> Vec<LinuxNamespace> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, User, Uts};
    let namespace = |typ, path: Option<&PathBuf>| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(typ).set_path(path.cloned());
        namespace
    };
    let mut all: Vec<LinuxNamespace> =
        [Mount, Pid, Uts, Ipc, Cgroup].into_iter().map(|typ| namespace(typ, None)).collect();
    if mapped {
        all.push(namespace(User, None));
    }
    match net {
        Net::Host => {}
        Net::Empty => all.push(namespace(Network, None)),
        Net::At(path) => all.push(namespace(Network, Some(path))),
    }
    all
}

#[cfg(test)]
mod tests;
