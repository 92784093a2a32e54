//! Decides what is asked of each stage: from the options of `run` to five command lines. Touches nothing.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use stage::{Explain, Id};

use crate::devices;
use crate::options::{Image, Isolation, Limits, Mode, Process, Run, volume_of};
use crate::swap::Swap;
use crate::volumes::{self, Volumes};

/// The arguments of each stage that takes part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// `None` for `--rootfs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull: Option<Vec<String>>,
    pub mount_overlay: Vec<String>,
    /// `None` when the container has no network of its own to make.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<Vec<String>>,
    pub cgctl: Vec<String>,
    pub nsrun: Vec<String>,
    /// What takes the places of netns and pull, from set-up to undo.
    #[serde(default)]
    pub swap: Swap,
}

impl Plan {
    /// One more volume: a directory of the host for one of the container.
    pub fn add_volume(&mut self, source: &Path, destination: &str) {
        let end = self.nsrun.iter().position(|word| word == "--").unwrap_or(self.nsrun.len());
        self.nsrun.insert(end, format!("--volume={}:{destination}", source.display()));
    }

    /// The name of a container on a network where containers have names.
    pub fn add_name(&mut self, name: &str) {
        if let Some(words) = &mut self.netns {
            words.push(format!("--network-alias={name}"));
        }
    }

    /// Another name in its place, from the next start on.
    pub fn change_name(&mut self, old: &str, new: &str) {
        let (old, new) = (format!("--network-alias={old}"), format!("--network-alias={new}"));
        for word in self.netns.iter_mut().flatten().filter(|word| **word == old) {
            word.clone_from(&new);
        }
    }

    /// Whether the image's ENTRYPOINT and CMD are to be ignored.
    pub fn has_entrypoint(&self) -> bool {
        self.nsrun.iter().take_while(|word| *word != "--").any(|word| word.starts_with("--entrypoint="))
    }
}

/// Whether anything of the container stays when it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Afterlife {
    /// `--rm`: nothing.
    Remove,
    /// Its record and its writable layer.
    Keep,
}

impl Afterlife {
    pub fn of(options: &Run) -> Afterlife {
        // A copy of the running system has its writable layer in memory: there is nothing to keep.
        if options.rm || options.image.rootfs.as_deref() == Some("/") {
            Afterlife::Remove
        } else {
            Afterlife::Keep
        }
    }
}

/// A stage's arguments while they are put together.
struct Words(Vec<String>);

impl Words {
    fn flag(&mut self, flag: &str, on: bool) {
        if on {
            self.0.push(flag.to_owned());
        }
    }

    fn option(&mut self, flag: &str, value: Option<&str>) {
        self.each(flag, value);
    }

    fn each<'a>(&mut self, flag: &str, values: impl IntoIterator<Item = &'a str>) {
        // One word: a value that starts with a dash stays a value.
        self.0.extend(values.into_iter().map(|value| format!("{flag}={value}")));
    }

    fn all(&mut self, flag: &str, values: &[String]) {
        self.each(flag, values.iter().map(String::as_str));
    }
}

/// # Errors
/// The options contradict each other, or ask for what is not there.
pub fn plan(options: &Run, id: &Id, volumes: &Volumes) -> Result<Plan> {
    if options.image.rootfs.is_none() && options.image.image().is_none() {
        bail!("an image is needed: gocker-sh run [OPTIONS] IMAGE [COMMAND] [ARG...]");
    }
    if let Some(policy) = options.detachment.restart.as_deref().filter(|policy| *policy != "no") {
        return Err(anyhow!("cannot restart the container by itself: --restart={policy}")).hint(
            "no daemon is there to do it; a systemd unit with Restart=always and gocker-sh run as ExecStart does",
        );
    }
    let netns = netns(options, id);
    let mut nsrun = nsrun(options, id, volumes)?;
    if netns.is_none() {
        nsrun.splice(0..0, [format!("--network={}", options.network.mode())]);
    }
    Ok(Plan {
        pull: pull(&options.image),
        mount_overlay: mount_overlay(options, id),
        netns,
        cgctl: cgctl(options, id)?,
        nsrun,
        swap: options.swap.clone(),
    })
}

fn pull(image: &Image) -> Option<Vec<String>> {
    let name = image.image()?;
    let mut words = Words(Vec::new());
    words.option("--platform", image.platform.as_deref());
    words.option("--pull", image.pull.map(crate::options::Policy::word));
    words.flag("--quiet", image.quiet);
    words.0.push(name.to_owned());
    Some(words.0)
}

fn mount_overlay(options: &Run, id: &Id) -> Vec<String> {
    let rootfs = options.image.rootfs.as_deref();
    let mut words = Words(Vec::new());
    words.option("--lower", rootfs);
    // The upper directory of a copy of `/` would lie inside its own lower directory.
    words.flag("--tmpfs", rootfs == Some("/"));
    words.flag("--volatile", rootfs != Some("/") && Afterlife::of(options) == Afterlife::Remove);
    words.option("--id", Some(id.as_str()));
    words.0
}

/// `None` when nsrun alone can do it: in the caller's network, or in an empty one.
fn netns(options: &Run, id: &Id) -> Option<Vec<String>> {
    let network = &options.network;
    let more = !(network.publish.is_empty()
        && network.dns.is_empty()
        && network.dns_search.is_empty()
        && network.dns_option.is_empty());
    let mode = network.mode();
    if matches!(mode, Mode::Host | Mode::None) && !more {
        return None;
    }
    let mut words = Words(Vec::new());
    words.option("--network", (mode != Mode::Bridge).then(|| mode.to_string()).as_deref());
    if let Mode::Named(_) = mode {
        words.option("--hostname", options.hostname.as_deref());
        words.each("--network-alias", options.hostname.is_none().then_some(id.short()));
    }
    words.all("--network-alias", &network.network_alias);
    words.all("--publish", &network.publish);
    words.option("--ip", network.ip.as_deref());
    words.option("--ip6", network.ip6.as_deref());
    words.option("--mac-address", network.mac_address.as_deref());
    words.all("--dns", &network.dns);
    words.all("--dns-search", &network.dns_search);
    words.all("--dns-option", &network.dns_option);
    words.option("--id", Some(id.as_str()));
    Some(words.0)
}

fn cgctl(options: &Run, id: &Id) -> Result<Vec<String>> {
    let mut words = Words(limits(&options.limits)?);
    let isolation = &options.isolation;
    if !isolation.privileged {
        words.flag("--default-devices", true);
        for device in &isolation.device {
            words.all("--device-cgroup-rule", &devices::rules(device)?);
        }
        words.all("--device-cgroup-rule", &isolation.device_cgroup_rule);
    }
    words.option("--id", Some(id.as_str()));
    Ok(words.0)
}

/// The words by which `cgctl` knows the limits that are set.
pub fn limits(limits: &Limits) -> Result<Vec<String>> {
    let set = |value: &Option<String>| value.clone().filter(|text| text != "0");
    let memory = limits.mem.filter(|mb| *mb > 0).map(|mb| format!("{mb}M")).or_else(|| set(&limits.memory));
    let total = limits.swap.map(|swap| format!("{}M", u64::from(limits.mem.unwrap_or(0)) + u64::from(swap)));
    let total = total.or_else(|| set(&limits.memory_swap));
    if total.is_some() && memory.is_none() {
        bail!("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    let pids = limits.pids.or(limits.pids_limit).filter(|count| *count > 0).map(|count| count.to_string());
    let mut words = Words(Vec::new());
    words.option("--memory", memory.as_deref());
    words.option("--memory-swap", total.as_deref());
    words.option("--cpus", set(&limits.cpus).as_deref());
    words.option("--cpu-shares", set(&limits.cpu_shares).as_deref());
    words.option("--pids-limit", pids.as_deref());
    Ok(words.0)
}

fn nsrun(options: &Run, id: &Id, volumes: &Volumes) -> Result<Vec<String>> {
    let mut words = Words(Vec::new());
    process(&mut words, &options.process);
    words.option("--hostname", options.hostname.as_deref());
    words.option("--entrypoint", options.entrypoint.as_deref());
    words.flag("--init", options.init);
    words.flag("--read-only", options.read_only);
    for volume in &options.volumes() {
        words.option("--volume", Some(&bind(volume, volumes)?));
    }
    isolation(&mut words, &options.isolation);
    words.all("--add-host", &options.network.add_host);
    words.option("--id", Some(id.as_str()));
    words.0.push("--".to_owned());
    words.0.extend(options.image.command().iter().cloned());
    Ok(words.0)
}

fn isolation(words: &mut Words, isolation: &Isolation) {
    let mounts = isolation.mount.iter().filter(|spec| volume_of(spec).is_none());
    words.each("--mount", mounts.map(String::as_str));
    words.all("--tmpfs", &isolation.tmpfs);
    words.option("--shm-size", isolation.shm_size.as_deref());
    words.all("--device", &isolation.device);
    words.all("--ulimit", &isolation.ulimit);
    words.all("--sysctl", &isolation.sysctl);
    words.all("--cap-add", &isolation.cap_add);
    words.all("--cap-drop", &isolation.cap_drop);
    words.all("--security-opt", &isolation.security_opt);
    words.flag("--privileged", isolation.privileged);
    words.option("--userns", isolation.userns.as_deref());
}

/// The options of a process, which `run` and `exec` share.
fn process(words: &mut Words, process: &Process) {
    words.flag("--interactive", process.interactive);
    words.flag("--tty", process.tty);
    words.all("--env-file", &process.env_file);
    words.all("--env", &process.env);
    words.option("--workdir", process.workdir.as_deref());
    words.option("--user", process.user.as_deref());
}

/// The arguments of `nsrun` that start `command` in the running container `id`.
pub fn exec(options: &Process, id: &Id, command: &[String]) -> Vec<String> {
    let mut words = Words(vec!["exec".to_owned()]);
    process(&mut words, options);
    words.0.push(id.to_string());
    words.0.extend(command.iter().cloned());
    words.0
}

/// A named volume is a directory of ours.
fn bind(volume: &str, volumes: &Volumes) -> Result<String> {
    let Some((name, destination, mode)) = volumes::named(volume) else {
        if volume.contains(':') {
            return Ok(volume.to_owned());
        }
        bail!("cannot bind {volume}: a volume without a name needs an absolute path");
    };
    volumes::check(name)?;
    let options: Vec<&str> = mode.split(',').filter(|word| !word.is_empty() && *word != "nocopy").collect();
    let options = if options.is_empty() { String::new() } else { format!(":{}", options.join(",")) };
    Ok(format!("{}:{destination}{options}", volumes.data(name).display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> Id {
        "a".repeat(64).parse().unwrap()
    }

    fn volumes() -> Volumes {
        let run = stage::RunRoot { run_root: "/run/g".into() };
        Volumes::new(&stage::Roots { root: "/g".into(), run })
    }

    #[test]
    fn a_named_volume_is_a_directory_of_ours() {
        let bind = |text: &str| bind(text, &volumes());
        assert_eq!(bind("db:/data:ro,nocopy").unwrap(), "/g/gocker-sh-volumes/db/_data:/data:ro");
        assert_eq!(bind("/src:/dst:ro").unwrap(), "/src:/dst:ro");
        assert!(bind("/data").is_err() && bind("d!:/x").is_err());
    }

    fn options(image: &str) -> Run {
        let mut options = Run::default();
        options.image.words = vec![image.to_owned()];
        options
    }

    fn line(words: &[String]) -> String {
        words.join(" ").replace(id().as_str(), "ID")
    }

    #[test]
    fn a_plain_run_asks_each_stage_for_what_it_does_anyway() {
        let plan = plan(&options("busybox"), &id(), &volumes()).unwrap();
        assert_eq!(line(plan.pull.as_ref().unwrap()), "busybox");
        assert_eq!(line(&plan.mount_overlay), "--id=ID");
        assert_eq!(line(plan.netns.as_ref().unwrap()), "--id=ID");
        assert_eq!(line(&plan.cgctl), "--default-devices --id=ID");
        assert_eq!(line(&plan.nsrun), "--id=ID --");
    }

    #[test]
    fn a_copy_of_the_running_system_is_in_memory_and_takes_the_operands_as_the_command() {
        let mut options = options("sh");
        options.image.rootfs = Some("/".to_owned());
        options.image.words.push("-c".to_owned());
        let plan = plan(&options, &id(), &volumes()).unwrap();
        assert_eq!(plan.pull, None);
        assert_eq!(line(&plan.mount_overlay), "--lower=/ --tmpfs --id=ID");
        assert_eq!(line(&plan.nsrun), "--id=ID -- sh -c");
    }

    #[test]
    fn gockers_swap_counts_beside_memory_and_dockers_includes_it() {
        let limits = Limits { mem: Some(128), swap: Some(0), pids: Some(20), ..Limits::default() };
        assert_eq!(
            line(&super::limits(&limits).unwrap()),
            "--memory=128M --memory-swap=128M --pids-limit=20"
        );
        let limits = Limits { memory_swap: Some("-1".to_owned()), ..Limits::default() };
        assert_eq!(
            super::limits(&limits).unwrap_err().to_string(),
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        );
    }

    #[test]
    fn zero_and_less_mean_no_limit() {
        let limits = Limits {
            memory: Some("0".to_owned()),
            cpus: Some("0".to_owned()),
            pids_limit: Some(-1),
            ..Limits::default()
        };
        assert_eq!(super::limits(&limits).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn without_a_bridge_nsrun_alone_does_the_network() {
        let mut options = options("busybox");
        options.network.network = Some(Mode::Host);
        assert_eq!(netns(&options, &id()), None);
        options.network.dns = vec!["9.9.9.9".to_owned()];
        assert_eq!(line(&netns(&options, &id()).unwrap()), "--network=host --dns=9.9.9.9 --id=ID");
    }
}
