//! From what was typed and what the document says to one OCI runtime configuration. Touches nothing.

pub mod defaults;
pub mod env;
pub mod etc;
pub mod image;
pub mod seccomp;
pub mod user;
pub mod volume;

use std::path::PathBuf;

use anyhow::Result;
use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType, Mount, Process, Root, Spec};
use stage::Id;

use crate::document::Sections;
use crate::options::{ContainerOptions, Network};
use env::Client;
use etc::EtcFile;
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
    let hostname = match (&options.hostname, &net) {
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
        .set_mounts(Some(mounts(facts, &files)))
        .set_annotations(None)
        .set_linux(Some(linux(sections, facts, &net)));
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
        .set_capabilities(Some(defaults::capabilities(user.uid())))
        .set_user(user)
        .set_rlimits(None)
        .set_no_new_privileges(Some(false));
    Ok(process)
}

/// docker's order: its own first, but for those that the user replaces; then the user's, the less deep first.
fn mounts(facts: &Facts, files: &[EtcFile]) -> Vec<Mount> {
    let replaced = |destination: &std::path::Path| {
        facts.volumes.iter().any(|volume| {
            volume.destination == destination
                || (volume.destination == std::path::Path::new("/dev") && destination.starts_with("/dev"))
        })
    };
    let mut mounts = defaults::mounts();
    mounts.retain(|mount| !replaced(mount.destination()));
    let mut more: Vec<Mount> = Vec::new();
    if let Some(dir) = &facts.files {
        more.extend(files.iter().filter(|file| !replaced(&file.destination())).map(|file| file.mount(dir)));
    }
    more.extend(facts.volumes.iter().map(Volume::mount));
    more.sort_by_key(|mount| mount.destination().components().count());
    mounts.extend(more);
    mounts
}

fn linux(sections: &Sections, facts: &Facts, net: &Net) -> Linux {
    let mut linux = Linux::default();
    let masked = defaults::MASKED.iter().map(|path| (*path).to_owned());
    linux
        .set_namespaces(Some(namespaces(net)))
        .set_masked_paths(Some(masked.chain(facts.host.masked.iter().cloned()).collect()))
        .set_readonly_paths(Some(defaults::READONLY.iter().map(|path| (*path).to_owned()).collect()))
        .set_sysctl((*net != Net::Host).then(defaults::sysctl))
        .set_cgroups_path(sections.cgroup.as_ref().map(|cgroup| cgroup.cgroups_path.clone()))
        .set_resources(None);
    let shared = |option: &String| option.ends_with("shared");
    if facts.volumes.iter().any(|volume| volume.options.iter().any(shared)) {
        linux.set_rootfs_propagation(Some("shared".to_owned()));
    }
    linux
}

fn namespaces(net: &Net) -> Vec<LinuxNamespace> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    let namespace = |typ, path: Option<&PathBuf>| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(typ).set_path(path.cloned());
        namespace
    };
    let mut all: Vec<LinuxNamespace> =
        [Mount, Pid, Uts, Ipc, Cgroup].into_iter().map(|typ| namespace(typ, None)).collect();
    match net {
        Net::Host => {}
        Net::Empty => all.push(namespace(Network, None)),
        Net::At(path) => all.push(namespace(Network, Some(path))),
    }
    all
}

#[cfg(test)]
mod tests;
