//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use stage::{Id, Roots};

use crate::size::Size;

const EXAMPLES: &str = "\
Examples:
  pull alpine | mount-overlay                     a writable root of an image
  mount-overlay --lower /srv/rootfs               the same of a directory, without any document
  mount-overlay --lower / --tmpfs=1g              a throwaway copy of the running system
  mount-overlay undo ID                           take it down, with all that was written to it
  mount-overlay undo --keep-upper ID              take it down; the same id mounts it again
  mount-overlay ls | jq -r '.[].path'

See mount-overlay(1) for every effect on the host.";

/// Stack layers into one root directory
#[derive(Parser, Debug)]
#[command(name = "mount-overlay", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub create: Create,
    #[command(flatten)]
    pub roots: Roots,
    /// Show each effect as the shell command that would have it
    #[arg(short, long, global = true)]
    pub verbose: bool,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

// What the root is made of.
#[derive(Args, Debug, Default, PartialEq, Eq)]
pub struct Create {
    /// Directory to use as a layer, instead of the image's; repeatable, the lowest first
    #[arg(long, value_name = "DIR")]
    pub lower: Vec<PathBuf>,
    /// Keep what is written in memory, at most SIZE bytes of it (units k, m, g; default: half of the memory)
    #[arg(long, value_name = "SIZE", num_args = 0..=1, require_equals = true)]
    pub tmpfs: Option<Option<Size>>,
    /// Never sync what is written to disk: for a root that is removed when its container ends
    #[arg(long)]
    pub volatile: bool,
    /// Mount the layers alone: nothing can be written
    #[arg(long, conflicts_with_all = ["tmpfs", "volatile"])]
    pub read_only: bool,
    /// Id of the container, 64 hex digits [default: the document's, else a new one]
    #[arg(long, value_name = "ID")]
    pub id: Option<Id>,
}

// Deferred: a verb's options are looked at only if it is the one. A doc comment of theirs would head its help, so
// they have none.
#[derive(Subcommand, Debug)]
#[command(defer = true)]
pub enum Verb {
    /// Unmount a root and remove what was written to it
    Undo {
        /// Keep what was written to it, for another mount with the same id
        #[arg(long)]
        keep_upper: bool,
        /// Id of the container
        id: Id,
    },
    /// Print what there is, as a JSON array
    Ls,
}
