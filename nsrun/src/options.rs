//! What is typed: the options of every verb. What they mean is decided in `spec/`.

use std::os::fd::RawFd;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use stage::Id;

use crate::oci::options::Name;

/// The network of a container that no netns stage has made one for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Network {
    /// A new one with nothing but the loopback interface
    None,
    /// The caller's
    Host,
}

// Options of a process in a container: `nsrun` and `nsrun exec` share them.
#[derive(Args, Clone, Debug, Default)]
pub struct ProcessOptions {
    /// Pass stdin on to the command
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the command a terminal of its own
    #[arg(short, long)]
    pub tty: bool,
    /// Set a variable; without a value: as it is here, or not at all
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Set the variables that a file lists, one NAME=VALUE or NAME a line
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Working directory; made if it is missing
    #[arg(short, long, visible_alias = "cwd", value_name = "DIR")]
    pub workdir: Option<PathBuf>,
    /// User and group, by the container's own names or by number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
}

// What the container is: the options that `nsrun` and `nsrun spec` share.
#[derive(Args, Clone, Debug, Default)]
pub struct ContainerOptions {
    /// Read the document from FILE, not from stdin
    #[arg(long, value_name = "FILE")]
    pub doc: Option<PathBuf>,
    /// The container's id, 64 hex digits [default: the document's, else a new one]
    #[arg(long, value_name = "ID")]
    pub id: Option<Id>,
    /// Root file system, instead of the document's
    #[arg(long, value_name = "DIR")]
    pub rootfs: Option<PathBuf>,
    /// Network, where the document says nothing of it [default: none]
    #[arg(long, value_name = "MODE")]
    pub network: Option<Network>,
    #[command(flatten)]
    pub process: ProcessOptions,
    /// Host name [default: the first 12 digits of the id]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Command to run instead of the image's entrypoint; "" for none
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// Put a process at PID 1 that reaps orphans and forwards signals
    #[arg(long)]
    pub init: bool,
    /// Make the root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// Bind a path of the host; OPTS: ro rw z Z [r]private [r]slave [r]shared, by commas
    #[arg(long, value_name = "SRC:DST[:OPTS]")]
    pub volume: Vec<String>,
    /// Mount: type=bind|tmpfs,src=PATH,dst=PATH[,ro][,bind-propagation=...][,tmpfs-size=...]
    #[arg(long, value_name = "SPEC")]
    pub mount: Vec<String>,
    /// Mount an empty file system in memory; OPTS: rw size=BYTES mode=OCTAL exec ..., by commas
    #[arg(long, value_name = "DIR[:OPTS]")]
    pub tmpfs: Vec<String>,
    /// Size of /dev/shm; units b k m g [default: 64m]
    #[arg(long, value_name = "BYTES")]
    pub shm_size: Option<String>,
    /// Give the container a device of the host
    #[arg(long, value_name = "DEVICE[:PATH[:rwm]]")]
    pub device: Vec<String>,
    /// Limit a resource of the process (getrlimit(2)): nofile, core, ...; -1 is no limit
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<String>,
    /// Set a kernel parameter of the container's namespaces
    #[arg(long, value_name = "KEY=VALUE")]
    pub sysctl: Vec<String>,
    #[command(flatten)]
    pub security: SecurityOptions,
    /// Add a line to /etc/hosts; the address may be host-gateway
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub add_host: Vec<String>,
    /// The command and its arguments [default: the image's]
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

// What the container may do.
#[derive(Args, Clone, Debug, Default)]
pub struct SecurityOptions {
    /// Let the container have a capability, or ALL
    #[arg(long, value_name = "NAME")]
    pub cap_add: Vec<String>,
    /// Take a capability away, or ALL
    #[arg(long, value_name = "NAME")]
    pub cap_drop: Vec<String>,
    /// seccomp=FILE|unconfined|builtin, no-new-privileges, apparmor=NAME, selinux=LABEL, systempaths=unconfined
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
    /// All capabilities and devices, no system call filter, nothing hidden: no protection from the container
    #[arg(long)]
    pub privileged: bool,
    /// User namespace: host, ID:SIZE for users and groups from ID on, or a name of /etc/subuid and /etc/subgid
    /// [default: host]
    #[arg(long, value_name = "IDS")]
    pub userns: Option<String>,
}

// Options of a run alone.
#[derive(Args, Clone, Debug, Default)]
pub struct RunOptions {
    #[command(flatten)]
    pub container: ContainerOptions,
    /// Write what becomes of the process to descriptor N, one JSON object a line
    #[arg(long, value_name = "N")]
    pub json_fd: Option<RawFd>,
    /// End when the process that started nsrun ends
    #[arg(long)]
    pub die_with_parent: bool,
}

// Options of `nsrun spec`.
#[derive(Args, Clone, Debug)]
pub struct SpecOptions {
    #[command(flatten)]
    pub container: ContainerOptions,
    /// Write config.json and the files it mounts to this directory, too
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
}

// Options of `nsrun exec`.
#[derive(Args, Clone, Debug)]
pub struct ExecOptions {
    #[command(flatten)]
    pub options: ProcessOptions,
    /// Take the process from FILE, as config.json has it; stdin is the caller's
    #[arg(short, long, value_name = "FILE")]
    pub process: Option<PathBuf>,
    /// Do not wait for the command; stdin is the caller's
    #[arg(short, long)]
    pub detach: bool,
    /// Write the process id to FILE
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Send the master end of the terminal to this socket
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Pass on N descriptors, from 3 on
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// The container
    pub id: Name,
    /// The command and its arguments
    #[arg(required_unless_present = "process", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}
