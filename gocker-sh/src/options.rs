//! What `run` and `exec` are asked for, as it was typed.

mod network;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

pub use network::{Mode, Network};

use crate::swap::Swap;

/// Run a command in a new container
// docker's options, and Gocker's own --mem, --swap and --pids.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[command(disable_help_flag = true)]
pub struct Run {
    /// Remove the container when it ends
    #[arg(long)]
    pub rm: bool,
    /// Leave it running, print its id
    #[arg(short, long)]
    pub detach: bool,
    #[command(flatten)]
    pub detachment: Detachment,
    /// Name of the container (else a random one)
    #[arg(long)]
    pub name: Option<String>,
    #[command(flatten)]
    pub process: Process,
    /// Give the container this host name
    #[arg(short = 'h', long)]
    pub hostname: Option<String>,
    /// Instead of the image's ENTRYPOINT and CMD
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// Put a process in front that reaps orphans and passes signals on
    #[arg(long)]
    pub init: bool,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub network: Network,
    /// Make the root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// Bind a directory or file of the host, or a volume: NAME:DST; a DST alone is a volume without a name
    #[arg(short, long, value_name = "[SRC:]DST[:OPTIONS]")]
    pub volume: Vec<String>,
    #[command(flatten)]
    pub isolation: Isolation,
    #[command(flatten)]
    pub swap: Swap,
    /// Write the container's id to this file, which must not be there
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<String>,
    /// Note a label
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// Print the run as a shell script instead, with the five tools, or with util-linux, and do nothing
    #[arg(long, value_name = "tools|util-linux", num_args = 0..=1, require_equals = true, default_missing_value = "tools")]
    #[serde(skip)]
    pub print_script: Option<crate::script::With>,
    #[command(flatten)]
    pub image: Image,
    /// Print help
    // Not -h: that is the host name, as with docker.
    #[arg(long, action = clap::ArgAction::Help)]
    #[serde(skip)]
    help: Option<bool>,
}

impl Run {
    /// What was typed, as JSON, without what was not.
    pub fn typed(&self) -> Result<Box<RawValue>> {
        let mut value = serde_json::to_value(self)?;
        strip(&mut value);
        Ok(serde_json::value::to_raw_value(&value)?)
    }

    /// Reads back what [`Run::typed`] gave.
    pub fn read(typed: Option<&RawValue>) -> Result<Run> {
        let text = typed.map_or("{}", RawValue::get);
        serde_json::from_str(text).context("cannot read the container's options")
    }
}

impl Run {
    /// The volumes of `-v`, and those of `--mount type=volume`, which are the same in more words.
    pub fn volumes(&self) -> Vec<String> {
        let of_mount = self.isolation.mount.iter().filter_map(|spec| volume_of(spec));
        self.volume.iter().cloned().chain(of_mount).collect()
    }
}

/// `type=volume,src=NAME,dst=DIR[,ro][,volume-nocopy]` as `NAME:DIR[:OPTIONS]`; `None` for other types.
pub fn volume_of(spec: &str) -> Option<String> {
    let field = |names: &[&str]| {
        let mut pairs = spec.split(',').filter_map(|word| word.split_once('='));
        pairs.find(|(key, _)| names.contains(key)).map(|(_, value)| value)
    };
    if field(&["type"]).unwrap_or("volume") != "volume" {
        return None;
    }
    let mut options = Vec::new();
    for word in spec.split(',') {
        match word {
            "ro" | "readonly" | "ro=true" | "readonly=true" | "ro=1" | "readonly=1" => options.push("ro"),
            "volume-nocopy" | "volume-nocopy=true" => options.push("nocopy"),
            _ => {}
        }
    }
    let (source, target) = (field(&["source", "src"])?, field(&["destination", "dst", "target"])?);
    let options = if options.is_empty() { String::new() } else { format!(":{}", options.join(",")) };
    Some(format!("{source}:{target}{options}"))
}

/// Takes away what is as if it were not there.
fn strip(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(strip);
        fields.retain(|_, value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            _ => true,
        });
    }
}

/// How a container carries on by itself, and how it is stopped.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Detachment {
    /// Where the output goes: json-file is all there is
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,
    /// How much log is kept: max-size=10m, max-file=2
    #[arg(long, value_name = "KEY=VALUE")]
    pub log_opt: Vec<String>,
    /// Signal that asks the container to end (else the image's, else TERM)
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Seconds it is given to end before it is killed (else 10)
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub stop_timeout: Option<i64>,
    /// Refused: nothing is there to restart it; systemd does such things
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<String>,
}

/// What the root file system is made of, and the command in it.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// Run in a copy of this directory instead of an image; `/` for a throwaway copy of this system
    #[arg(long, value_name = "DIR")]
    pub rootfs: Option<String>,
    /// When to pull the image
    #[arg(long, value_name = "missing|always|never")]
    pub pull: Option<Policy>,
    /// Choose this platform of the image
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<String>,
    /// Say nothing while pulling
    #[arg(short, long)]
    pub quiet: bool,
    /// The image, then the command and its arguments; with --rootfs only the latter
    // One list: behind its first word nothing is an option of ours any more.
    #[arg(value_name = "IMAGE [COMMAND] [ARG]...", trailing_var_arg = true)]
    pub words: Vec<String>,
}

impl Image {
    /// The image; `None` with `--rootfs`.
    pub fn image(&self) -> Option<&str> {
        self.words.first().filter(|_| self.rootfs.is_none()).map(String::as_str)
    }

    /// The command and its arguments.
    pub fn command(&self) -> &[String] {
        let skipped = usize::from(self.image().is_some());
        &self.words[skipped..]
    }
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    Missing,
    Always,
    Never,
}

impl Policy {
    pub fn word(self) -> &'static str {
        match self {
            Policy::Missing => "missing",
            Policy::Always => "always",
            Policy::Never => "never",
        }
    }
}

/// How a process in a container is started: the same words for `run` and `exec`.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Keep stdin open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Set a variable; NAME alone takes it from here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Read variables from a file, NAME=VALUE on each line
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// User, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
}

/// Limits of the container as a whole.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory limit (units b, k, m, g)
    #[arg(short, long, value_name = "BYTES", conflicts_with = "mem")]
    pub memory: Option<String>,
    /// Limit of memory and swap together; -1 for none
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, conflicts_with = "swap")]
    pub memory_swap: Option<String>,
    /// Number of CPUs
    #[arg(long, value_name = "N")]
    pub cpus: Option<String>,
    /// Weight of CPU time (1024 is the usual)
    #[arg(short = 'c', long, value_name = "N")]
    pub cpu_shares: Option<String>,
    /// Limit of processes and threads; -1 for none
    #[arg(long, value_name = "N", allow_negative_numbers = true, conflicts_with = "pids")]
    pub pids_limit: Option<i64>,
    /// Memory limit in megabytes (Gocker's)
    #[arg(long, value_name = "MB")]
    pub mem: Option<u32>,
    /// Swap limit in megabytes, beside --mem (Gocker's)
    #[arg(long, value_name = "MB", requires = "mem")]
    pub swap: Option<u32>,
    /// Limit of processes and threads (Gocker's)
    #[arg(long, value_name = "N")]
    pub pids: Option<i64>,
}

/// What the container has of the host beside its image, and what it may do. nsrun knows what the words mean.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Isolation {
    /// Mount: type=bind|volume|tmpfs,src=...,dst=...[,ro]
    #[arg(long, value_name = "SPEC")]
    pub mount: Vec<String>,
    /// Mount an empty file system in memory
    #[arg(long, value_name = "DIR[:OPTIONS]")]
    pub tmpfs: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES")]
    pub shm_size: Option<String>,
    /// Give it a device of the host
    #[arg(long, value_name = "DEVICE[:PATH[:rwm]]")]
    pub device: Vec<String>,
    /// Let it use devices that it has or makes
    #[arg(long, value_name = "a|b|c MAJOR:MINOR rwm")]
    pub device_cgroup_rule: Vec<String>,
    /// Limit a resource of its processes
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<String>,
    /// Set a kernel parameter of its namespaces
    #[arg(long, value_name = "KEY=VALUE")]
    pub sysctl: Vec<String>,
    /// Let it have a capability, or ALL
    #[arg(long, value_name = "NAME")]
    pub cap_add: Vec<String>,
    /// Take a capability away, or ALL
    #[arg(long, value_name = "NAME")]
    pub cap_drop: Vec<String>,
    /// seccomp=FILE|unconfined, no-new-privileges, ...
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
    /// No protection from the container
    #[arg(long)]
    pub privileged: bool,
    /// User namespace: host, ID:SIZE, or a name of /etc/subuid
    #[arg(long, value_name = "IDS")]
    pub userns: Option<String>,
}

/// Run a command in a running container
#[derive(Args, Clone, Debug)]
pub struct Exec {
    #[command(flatten)]
    pub process: Process,
    /// Leave the command running
    #[arg(short, long)]
    pub detach: bool,
    /// Name or id of the container, then the command and its arguments
    #[arg(value_name = "CONTAINER COMMAND [ARG]...", num_args = 2.., required = true, trailing_var_arg = true)]
    words: Vec<String>,
}

impl Exec {
    /// The container, and the command with its arguments.
    pub fn words(&self) -> (&str, &[String]) {
        self.words.split_first().map_or(("", &[]), |(container, command)| (container, command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_volume_is_a_volume() {
        assert_eq!(volume_of("type=volume,src=db,dst=/d,ro").as_deref(), Some("db:/d:ro"));
        assert_eq!(volume_of("source=db,target=/d,volume-nocopy").as_deref(), Some("db:/d:nocopy"));
        assert_eq!(volume_of("type=bind,src=/a,dst=/d"), None);
    }
}
