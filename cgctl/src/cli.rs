//! The command line.

use clap::{Args, Parser, Subcommand};
use stage::{Id, RunRoot};

use crate::group::CgroupPath;
use crate::limits::Limits;

const EXAMPLES: &str = "\
Examples:
  pull alpine | mount-overlay | cgctl -m 64m --cpus 0.5 | nsrun -- sh
  cgctl --pids-limit 100 | jq -r .id             a group alone, without any document
  cgctl attach ID $$                             move this shell into it
  cgctl stat ID | jq .memory.peak
  cgctl undo --kill ID                           kill what is in it, then remove it

See cgctl(1) for every effect on the host.";

/// Make a control group with limits
#[derive(Parser, Debug)]
#[command(name = "cgctl", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub create: Create,
    /// Group in which the container's own is made, in every hierarchy
    #[arg(long, value_name = "PATH", env = "GOCKER_CGROUP_PARENT", default_value = "/gocker", global = true)]
    pub cgroup_parent: CgroupPath,
    #[command(flatten)]
    pub run_root: RunRoot,
    /// Show each effect as the shell command that would have it
    #[arg(short, long, global = true)]
    pub verbose: bool,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// The group to make.
#[derive(Args, Debug)]
pub struct Create {
    #[command(flatten)]
    pub limits: Limits,
    /// Id of the container, 64 hex digits [default: the document's, else a new one]
    #[arg(long, value_name = "ID")]
    pub id: Option<Id>,
}

impl Create {
    /// Nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.id.is_none() && self.limits == Limits::default()
    }
}

#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Move processes into a group
    Attach {
        /// Id of the container
        id: Id,
        /// Process ids
        #[arg(required = true, value_parser = clap::value_parser!(i32).range(1..))]
        pids: Vec<i32>,
    },
    /// Print the figures of a group, as one JSON object
    Stat {
        /// Id of the container
        id: Id,
    },
    /// Remove a group
    Undo {
        /// Kill the processes in it first
        #[arg(long)]
        kill: bool,
        /// Print its last figures, as `stat` does
        #[arg(long)]
        stat: bool,
        /// Id of the container
        id: Id,
    },
    /// Print what there is, as a JSON array
    Ls,
}
