//! The command line.

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand};
use stage::{Id, RunRoot};

use crate::group::CgroupPath;
use crate::limits::Limits;
use crate::signal::SignalName;
use crate::takedown::How;
use crate::target::{CgroupsPath, Target, Word};
use crate::top::Rhythm;

const EXAMPLES: &str = "\
Examples:
  pull alpine | mount-overlay | cgctl -m 64m --cpus 0.5 | nsrun -- sh
  cgctl --pids-limit 100 | jq -r .id             a group alone, without any document
  cgctl attach ID $$                             move this shell into it
  cgctl set ID -m 128m                           change a limit
  cgctl exec ID -- make -j9
  cgctl stat ID | jq .memory.peak
  cgctl undo --kill ID                           kill what is in it, then remove it
  jq .linux.resources config.json | cgctl create --cgroups-path /box --resources -

See cgctl(1) for every effect on the host.";

/// Make a control group with limits
#[derive(Parser, Debug)]
#[command(name = "cgctl", version, after_help = EXAMPLES, args_conflicts_with_subcommands = false)]
pub struct Cli {
    #[command(flatten)]
    pub create: Create,
    /// Group in which the container's own is made, in every hierarchy [default: /gocker; where systemd manages the
    /// cgroups, that of its unit gocker.service]
    #[arg(long, value_name = "PATH", env = "GOCKER_CGROUP_PARENT", global = true)]
    pub cgroup_parent: Option<CgroupPath>,
    #[command(flatten)]
    pub run_root: RunRoot,
    /// Show each effect as the shell command that would have it
    #[arg(short, long, global = true)]
    pub verbose: bool,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

// The group to make.
#[derive(Args, Debug)]
pub struct Create {
    #[command(flatten)]
    pub limits: Limits,
    /// Id of the container, 64 hex digits [default: the document's, else a new one]
    #[arg(long, value_name = "ID")]
    pub id: Option<Id>,
    /// Make this group instead of one that is named after an id: linux.cgroupsPath of the OCI runtime specification
    #[arg(long, value_name = "PATH", conflicts_with = "id")]
    pub cgroups_path: Option<CgroupsPath>,
}

impl Create {
    /// Nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.id.is_none() && self.cgroups_path.is_none() && self.limits == Limits::default()
    }
}

// Deferred: a verb's options are looked at only if it is the one. A doc comment of theirs would head its help, so
// they have none.
#[derive(Subcommand, Debug)]
#[command(defer = true)]
pub enum Verb {
    /// Make a group, as no verb does
    Create(Create),
    /// Change limits of a group; those that are not named stay
    Set {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        limits: Limits,
    },
    /// Move processes into a group
    Attach {
        /// Id of the container, then process ids; only these with --cgroups-path
        #[arg(required = true, value_name = "ID|PID")]
        words: Vec<Word>,
        /// The group, without an id: as linux.cgroupsPath of the OCI runtime specification
        #[arg(long, value_name = "PATH")]
        cgroups_path: Option<CgroupsPath>,
    },
    /// Run a command in a group; its exit code is the command's
    Exec {
        #[command(flatten)]
        target: Target,
        /// The command
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Hand a group to a user, who may then make groups inside it
    Delegate {
        /// A user of this host, by name or number
        user: String,
        #[command(flatten)]
        target: Target,
    },
    /// Show what the groups use, again and again: a table on a terminal, else JSON
    Top {
        #[command(flatten)]
        rhythm: Rhythm,
        /// Only the group of this container
        id: Option<Id>,
        /// Only this group
        #[arg(long, value_name = "PATH", conflicts_with = "id")]
        cgroups_path: Option<CgroupsPath>,
    },
    /// Remove what a cgctl that was killed has left half made or half removed
    Gc,
    /// Print the figures of a group, as one JSON object
    Stat {
        #[command(flatten)]
        target: Target,
    },
    /// Stop every process of a group where it is
    Freeze {
        #[command(flatten)]
        target: Target,
    },
    /// Let the processes of a frozen group go on
    Thaw {
        #[command(flatten)]
        target: Target,
    },
    /// Kill every process of a group and wait until nobody is left
    Kill {
        /// Only send this signal, by its name or number
        #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
        signal: SignalName,
        #[command(flatten)]
        target: Target,
    },
    /// Wait until nobody is in a group, then print its figures
    Wait {
        #[command(flatten)]
        target: Target,
    },
    /// Remove a group
    Undo {
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        target: Target,
    },
    /// Print what there is, as a JSON array
    Ls {
        /// Only the group of this container
        id: Option<Id>,
        /// Only this group
        #[arg(long, value_name = "PATH", conflicts_with = "id")]
        cgroups_path: Option<CgroupsPath>,
    },
}
