//! `nsrun`: one container, from the options and the document to its exit code. And `nsrun spec`, which stops half-way.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use oci_spec::runtime::{Linux, LinuxDevice, LinuxSeccomp, Mount, Spec};
use stage::{Codes, Document, Explain, Id, Section};

use crate::call::Call;
use crate::container::cgroup::Door;
use crate::container::identity::all_capabilities;
use crate::container::root::Root;
use crate::container::{Container, Life};
use crate::document::{self, Sections, Source};
use crate::facts::Facts;
use crate::options::{ContainerOptions, RunOptions, SpecOptions};
use crate::record::{self, State, StateRoot};
use crate::seccomp::Filter;
use crate::spec::env::Client;
use crate::spec::seccomp::Here;
use crate::spec::security::{Seccomp, Security};
use crate::spec::user::Accounts;
use crate::spec::volume::Volume;
use crate::spec::{self, Host, Net, Plan};
use crate::start::Start;
use crate::stdio::Stdin;
use crate::terminal::Callers;
use crate::wait::{Signals, Watch};

/// Everything that was said, read and checked.
struct Input {
    id: Id,
    sections: Sections,
    source: Source,
}

pub fn run(roots: &StateRoot, options: &RunOptions) -> Result<u8> {
    if options.die_with_parent {
        die_with_parent()?;
    }
    let mut facts = Facts::to(options.json_fd)?;
    stage::need_root()?;
    let signals = Signals::hold()?;
    let input = read(&options.container)?;
    let dir = roots.of(input.id.as_str());
    let (plan, accounts) = plan(&options.container, &input, Some(&dir))?;
    let container = &options.container;
    let callers = match container.process.tty {
        true => Some(Callers::find(container.process.interactive, input.source)?),
        false => None,
    };
    make_volume_sources(&plan.spec)?;
    record::begin(&dir, input.id.as_str(), &plan.files)?;
    let ended = live((&plan.spec, &accounts), &input, container, (&dir, &signals, callers, &mut facts));
    let removed = record::remove(&dir);
    let code = ended.left(removed.err().map(|error| format!("{error:#}")).into_iter().collect())?;
    facts.stopped(&input.id, &dir, code)?;
    Ok(code)
}

/// From the record's beginning to the payload's end.
fn live(
    (spec, accounts): (&Spec, &Accounts),
    input: &Input,
    options: &ContainerOptions,
    (dir, signals, callers, facts): (&Path, &Signals, Option<Callers>, &mut Facts),
) -> Result<u8> {
    let process = spec.process().as_ref().context("the configuration has no process")?;
    let stdin =
        if options.process.tty { Stdin::Null } else { Stdin::of(options.process.interactive, input.source)? };
    let window = callers.as_ref().and_then(Callers::window);
    let linux = spec.linux().as_ref().context("the configuration has no section linux")?;
    let filter = linux.seccomp().as_ref().map(Filter::compile).transpose()?;
    let start = Start::new(process, accounts, stdin, window)?.with(linux)?;
    let listener = Filter::connect(filter.as_ref(), input.id.as_str(), dir)?;
    let start = start.under(filter.clone(), listener);
    let door = Door::open(input.sections.cgroup.as_ref())?;
    let container = Container { spec, start: &start, door, init: options.init, life: Life::default() };
    let (child, line) = container.launch()?;
    let state = State {
        id: input.id.to_string(),
        pid: child.pid.as_raw(),
        // It waits for the word, so it is there to be looked at, unless it has failed already.
        start_time: record::start_time(child.pid).unwrap_or(0),
        cgroup: input.sections.cgroup.clone(),
        process: process.clone(),
        linux: of_every_process(linux),
        filter,
        bundle: None,
    };
    let recorded = state.write(dir).and_then(|()| line.go(state.pid));
    let watch = Watch::new(child, line, signals, callers);
    match recorded {
        Err(error) => watch.give_up(error),
        Ok(()) => watch.see_out(|| facts.running(&input.id, dir, (state.pid, state.start_time))),
    }
}

/// As much of it as `exec` must repeat.
pub fn of_every_process(linux: &Linux) -> Option<Linux> {
    if linux.personality().is_none() && linux.memory_policy().is_none() {
        return None;
    }
    let mut own = Linux::rootless(0, 0);
    own.set_namespaces(None)
        .set_uid_mappings(None)
        .set_gid_mappings(None)
        .set_masked_paths(None)
        .set_readonly_paths(None)
        .set_personality(linux.personality().clone())
        .set_memory_policy(linux.memory_policy().clone());
    Some(own)
}

pub fn spec(options: &SpecOptions) -> Result<()> {
    let input = read(&options.container)?;
    let bundle = match &options.bundle {
        Some(dir) => Some(std::path::absolute(dir).context("cannot find the bundle")?),
        None => None,
    };
    let (plan, _) = plan(&options.container, &input, bundle.as_deref())?;
    let text = serde_json::to_string_pretty(&sorted(serde_json::to_value(&plan.spec)?))? + "\n";
    if let Some(dir) = &bundle {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make directory {}", dir.display()))?;
        plan.files.iter().try_for_each(|file| file.write(dir))?;
        let path = dir.join("config.json");
        std::fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    stage::print(&text)
}

/// The crate keeps capabilities in hash sets: without this the text would differ from run to run.
fn sorted(mut value: serde_json::Value) -> serde_json::Value {
    if let Some(sets) = value.pointer_mut("/process/capabilities").and_then(|sets| sets.as_object_mut()) {
        for set in sets.values_mut().filter_map(|set| set.as_array_mut()) {
            set.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
        }
    }
    value
}

fn read(options: &ContainerOptions) -> Result<Input> {
    let (mut document, source) = document::read(options.doc.as_deref())?;
    document.vacant(Section::Process)?;
    let id = document.identify(options.id.clone())?;
    Ok(Input { id, sections: sections(&document, options)?, source })
}

fn sections(document: &Document, options: &ContainerOptions) -> Result<Sections> {
    let sections = Sections::of(document)?;
    if sections.rootfs.is_some() && options.rootfs.is_some() {
        bail!("cannot use --rootfs: the document has a section \"rootfs\"");
    }
    Ok(sections)
}

fn plan(options: &ContainerOptions, input: &Input, files: Option<&Path>) -> Result<(Plan, Accounts)> {
    let root = match (&options.rootfs, &input.sections.rootfs) {
        (Some(dir), _) => std::path::absolute(dir).context("cannot find the root file system")?,
        (None, Some(section)) => section.path.clone(),
        (None, None) => {
            return Err(anyhow!("cannot read the document: section \"rootfs\" is missing"))
                .hint("mount-overlay writes it; or name a directory: --rootfs=DIR")
                .code(Codes::USAGE);
        }
    };
    if root.canonicalize().is_ok_and(|path| path == Path::new("/")) {
        return Err(anyhow!("cannot use root file system {}: it is the host's own", root.display()))
            .hint("a copy of it can be used: mount-overlay --lower / --tmpfs | nsrun -- COMMAND");
    }
    let inside = open_root(&root)?;
    let volumes = options.volume.iter().map(|text| volume(text)).collect::<Result<_>>()?;
    let security = Security::of(&options.security, &all_capabilities())?;
    let facts = spec::Facts {
        id: input.id.clone(),
        accounts: accounts(&inside)?,
        root,
        files: files.map(Path::to_owned),
        volumes,
        mounts: mounts(options)?,
        devices: devices(options)?,
        ids: ids(options)?,
        seccomp: filter(&security)?,
        security,
        client: Client::read(&options.process.env_file)?,
        host: host(&spec::net(options.network, &input.sections)?),
    };
    let plan = spec::build(options, &input.sections, &facts)?;
    Ok((plan, facts.accounts))
}

/// `--tmpfs` and `--mount`.
fn mounts(options: &ContainerOptions) -> Result<Vec<Mount>> {
    let tmpfs = options.tmpfs.iter().map(|text| spec::mount::tmpfs(text));
    tmpfs.chain(options.mount.iter().map(|text| spec::mount::parse(text))).collect()
}

fn devices(options: &ContainerOptions) -> Result<Vec<LinuxDevice>> {
    let mut devices = if options.security.privileged { spec::device::all()? } else { Vec::new() };
    for text in &options.device {
        devices.extend(spec::device::devices(text)?);
    }
    Ok(devices)
}

fn ids(options: &ContainerOptions) -> Result<spec::ids::Maps> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let wanted = options.security.userns.as_deref();
    let named = wanted.is_some_and(|text| text != "host" && !text.contains(':'));
    let (users, groups) =
        if named { (read("/etc/subuid"), read("/etc/subgid")) } else { (String::new(), String::new()) };
    spec::ids::maps(wanted, &users, &groups)
}

/// The system calls that the options allow.
fn filter(security: &Security) -> Result<Option<LinuxSeccomp>> {
    match &security.seccomp {
        Seccomp::Unconfined => Ok(None),
        Seccomp::Default => Ok(Some(spec::seccomp::builtin(&security.bounding))),
        Seccomp::Profile(path) => {
            let release = rustix::system::uname();
            let kernel = release.release().to_str().ok().and_then(spec::seccomp::version);
            let here = Here {
                bounding: &security.bounding,
                kernel: kernel.context("cannot tell the kernel's version")?,
            };
            spec::seccomp::profile(path, &here).map(Some)
        }
    }
}

fn open_root(path: &Path) -> Result<Root> {
    Root::open(path).call("open").with_context(|| format!("cannot use root file system {}", path.display()))
}

/// The account files of a container.
pub fn accounts(root: &Root) -> Result<Accounts> {
    let read = |path: &str| {
        root.read(Path::new(path)).with_context(|| format!("cannot read the container's {path}"))
    };
    Ok(Accounts { passwd: read("/etc/passwd")?, group: read("/etc/group")? })
}

fn volume(text: &str) -> Result<Volume> {
    let mut volume = Volume::parse(text)?;
    volume.source = std::path::absolute(&volume.source).with_context(|| format!("cannot bind {text}"))?;
    if volume.relabel && Path::new("/sys/fs/selinux/enforce").exists() {
        bail!("cannot bind {text}: SELinux labels are not supported");
    }
    Ok(volume)
}

/// A missing source becomes a directory, as with docker, and that is said.
fn make_volume_sources(spec: &Spec) -> Result<()> {
    for mount in spec.mounts().iter().flatten().filter(|mount| mount.typ().as_deref() == Some("bind")) {
        let Some(source) = mount.source() else { continue };
        // The three files of /etc are about to be written.
        if mount.destination().parent() == Some(Path::new("/etc")) && source.parent().is_some_and(is_record) {
            continue;
        }
        if source.symlink_metadata().is_err() {
            std::fs::create_dir_all(source)
                .with_context(|| format!("cannot make directory {}", source.display()))?;
            stage::say(&format!("nsrun: made directory {}, which was missing", source.display()));
        }
    }
    Ok(())
}

fn is_record(dir: &Path) -> bool {
    dir.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<Id>().is_ok())
}

/// What the container takes over from the host; only what its network makes it need.
fn host(net: &Net) -> Host {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut host = Host {
        resolv_conf: read("/etc/resolv.conf"),
        ipv6: Path::new("/proc/net/if_inet6").exists(),
        masked: thermal_throttle(),
        ..Host::default()
    };
    let mut nameservers = host.resolv_conf.lines().filter(|line| line.starts_with("nameserver"));
    let stub = nameservers.next().and_then(|line| line.split_whitespace().nth(1)) == Some("127.0.0.53");
    if stub && nameservers.next().is_none() && *net != Net::Host {
        // systemd-resolved keeps the true list beside its stub's.
        if let Ok(text) = std::fs::read_to_string("/run/systemd/resolve/resolv.conf") {
            host.resolv_conf = text;
        }
    }
    if *net == Net::Host {
        host.hosts = read("/etc/hosts");
        host.hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    }
    host
}

/// Per-cpu files that tell one container what the others do to the processor's temperature.
fn thermal_throttle() -> Vec<String> {
    const CPUS: &str = "/sys/devices/system/cpu";
    if !Path::new(CPUS).join("cpu0/thermal_throttle").exists() {
        return Vec::new();
    }
    let paths = std::fs::read_dir(CPUS).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = paths.map(|cpu| cpu.path().join("thermal_throttle")).collect();
    paths.retain(|path| path.exists());
    paths.into_iter().map(|path| path.to_string_lossy().into_owned()).collect()
}

/// Ends with the process that started nsrun. If that has ended already, this one has a new parent by now.
fn die_with_parent() -> Result<()> {
    let parent = nix::unistd::getppid();
    prctl::set_pdeathsig(Signal::SIGKILL).context("prctl").context("cannot tie nsrun to its parent")?;
    if nix::unistd::getppid() != parent {
        bail!("the process that started nsrun has ended");
    }
    Ok(())
}
