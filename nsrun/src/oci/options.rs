//! What is typed behind the OCI verbs.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

// What engines put before, or behind, every verb.
#[derive(Args, Clone, Debug)]
pub struct EngineOptions {
    /// Write errors to FILE, too
    #[arg(long, value_name = "FILE", global = true)]
    pub log: Option<PathBuf>,
    /// How they are written there
    #[arg(long, value_name = "FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,
    /// Leave cgroups to systemd: refused where one is to be made, nsrun makes them itself
    #[arg(long, global = true)]
    pub systemd_cgroup: bool,
    /// Run without root: only false and auto are accepted
    #[arg(long, value_name = "WHETHER", global = true)]
    pub rootless: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// The name of a container of an engine's: it becomes a directory's.
#[derive(Clone, Debug)]
pub struct Name(pub String);

impl std::str::FromStr for Name {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Name> {
        let known = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        if text.is_empty() || text.len() > 255 || !text.chars().all(known) || text == "." || text == ".." {
            bail!("a container's id has letters, digits, _, +, - and . only, not {text:?}");
        }
        Ok(Name(text.to_owned()))
    }
}

// Options of `create` and `run`.
#[derive(Args, Clone, Debug)]
pub struct MakeOptions {
    /// The container
    pub id: Name,
    /// Directory of config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// Write the process id to FILE
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Send the master end of the terminal to this socket
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Pass on N descriptors, from 3 on
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Move the root instead of pivot_root(2): for an initial ramfs
    #[arg(long)]
    pub no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
}

// Options of `run`.
#[derive(Args, Clone, Debug)]
pub struct RunBundleOptions {
    #[command(flatten)]
    pub make: MakeOptions,
    /// Leave the container running
    #[arg(short, long)]
    pub detach: bool,
    /// Do not delete the container when it ends
    #[arg(long)]
    pub keep: bool,
}

// Options of `kill`.
#[derive(Args, Clone, Debug)]
pub struct KillOptions {
    /// Send it to every process of the container
    #[arg(short, long)]
    pub all: bool,
    /// The container
    pub id: Name,
    /// Name or number
    #[arg(default_value = "TERM")]
    pub signal: String,
}

// Options of `delete`.
#[derive(Args, Clone, Debug)]
pub struct DeleteOptions {
    /// Kill what runs; that there is nothing is no error
    #[arg(short, long)]
    pub force: bool,
    /// The container
    pub id: Name,
}

// The one operand of most verbs.
#[derive(Args, Clone, Debug)]
pub struct Operand {
    /// The container
    pub id: Name,
}

/// How a list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

// Options of `ps`.
#[derive(Args, Clone, Debug)]
pub struct PsOptions {
    /// table, or json: an array of process ids
    #[arg(short, long, default_value = "table")]
    pub format: Format,
    /// The container
    pub id: Name,
    /// Options of ps(1) [default: -ef]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub ps: Vec<String>,
}

// Options of `list`.
#[derive(Args, Clone, Debug)]
pub struct ListOptions {
    /// table or json
    #[arg(short, long, default_value = "table")]
    pub format: Format,
    /// Ids only
    #[arg(short, long)]
    pub quiet: bool,
}

// Options of `events`.
#[derive(Args, Clone, Debug)]
pub struct EventsOptions {
    /// Print the measurements once
    #[arg(long)]
    pub stats: bool,
    /// Seconds between two
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub interval: u64,
    /// The container
    pub id: Name,
}

// Options of `update`: limits, in the units of the runtime specification.
#[derive(Args, Clone, Debug)]
pub struct UpdateOptions {
    /// Read linux.resources from FILE, or with - from stdin
    #[arg(short, long, value_name = "FILE")]
    pub resources: Option<PathBuf>,
    /// Bytes of memory
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub memory: Option<i64>,
    /// Bytes that are left to it when memory is short
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub memory_reservation: Option<i64>,
    /// Bytes of memory and swap together
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub memory_swap: Option<i64>,
    /// Relative weight of its processor time
    #[arg(long, value_name = "N")]
    pub cpu_share: Option<u64>,
    /// Microseconds of processor time in each period
    #[arg(long, value_name = "USEC", allow_hyphen_values = true)]
    pub cpu_quota: Option<i64>,
    /// Microseconds of a period
    #[arg(long, value_name = "USEC")]
    pub cpu_period: Option<u64>,
    /// Processors it may use
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes it may use
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Number of processes
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub pids_limit: Option<i64>,
    /// Relative weight of its block input and output
    #[arg(long, value_name = "N")]
    pub blkio_weight: Option<u16>,
    /// The container
    pub id: Name,
}
