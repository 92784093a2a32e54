//! The command line.

mod options;

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::{Parser, Subcommand};
use stage::{Codes, Explain, Roots};

use crate::disk;
use crate::fsck;
use crate::gc::{self, Mode};
use crate::inspect;
use crate::load;
use crate::lockfile;
use crate::login::{self, From};
use crate::ls;
use crate::obtain;
use crate::reference::Reference;
use crate::rm::{self, Extent};
use crate::save::{self, Format};
use crate::section;
use crate::store::Store;
use crate::tag;
pub use options::{Network, Options, Policy, Telling, Terms};

const EXAMPLES: &str = "\
Examples:
  pull alpine | mount-overlay | netns | cgctl -m 64M | nsrun -- sh
  pull --platform linux/arm64 localhost:5000/app:1.2 | jq .image.spec.config
  pull --name mine rootfs:/srv/debian-tree
  pull --name mine --onto busybox rootfs:/srv/more       the image and one layer more
  pull oci:./layout:latest
  pull ls | jq -r '.[].reference'
  pull rm alpine";

/// Fetch an image, verify it and unpack its layers
#[derive(Parser)]
#[command(name = "pull", version, after_help = EXAMPLES, subcommand_negates_reqs = true)]
pub struct Cli {
    #[command(flatten)]
    roots: Roots,
    /// Show each effect as the shell command that would have it
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(flatten)]
    options: Options,
    /// NAME[:TAG|@DIGEST], ID, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG], rootfs:DIR or
    /// rootfs:FILE
    #[arg(value_name = "IMAGE", required = true)]
    image: Option<String>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

// Deferred: a verb's options are looked at only if it is the one. A doc comment of theirs would head its help, so
// they have none.
#[derive(Subcommand)]
#[command(defer = true)]
enum Verb {
    /// List the images that are here, as a JSON array
    Ls {
        /// Everything that takes room on disk instead, with the bytes that it takes
        #[arg(long)]
        disk: bool,
    },
    /// Remove images by name or id
    Rm {
        /// All names of an image that is given by its id
        #[arg(short, long)]
        force: bool,
        /// Only the names: the image stays, without one
        #[arg(long)]
        untag: bool,
        /// Names, ids, or beginnings of ids
        #[arg(value_name = "IMAGE", required = true)]
        images: Vec<String>,
    },
    /// Remove layers and blobs that no image has, and downloads that nobody goes on with
    Gc {
        /// Only list them
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Give an image that is here another name
    Tag {
        /// A name, an id, or the beginning of one
        #[arg(value_name = "IMAGE")]
        image: String,
        #[arg(value_name = "NAME", value_parser = new_name)]
        name: Reference,
    },
    /// Print manifest, configuration and layers of an image that is here, or of a registry's
    Inspect {
        #[arg(value_name = "IMAGE")]
        image: String,
    },
    /// Write images to an archive or a layout
    Save {
        /// Write to this file or directory, not to standard output
        #[arg(short, long, value_name = "PATH")]
        output: Option<PathBuf>,
        #[arg(long, value_enum, default_value = "docker-archive", help = "What to write")]
        format: Format,
        /// Names, ids, or beginnings of ids
        #[arg(value_name = "IMAGE", required = true)]
        images: Vec<String>,
    },
    /// Store every image of an archive, under the names that it has there
    Load {
        /// Read this archive, not standard input
        #[arg(short, long, value_name = "FILE")]
        input: Option<PathBuf>,
    },
    /// Check everything in the store, and fetch again what is broken
    Fsck {
        /// Only check
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Write down which digest each name leads to now, for --locked
    Lock {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Names; without any, all names in the store
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Store credentials for a registry, once it has taken them
    Login {
        /// Who you are there
        #[arg(short, long, value_name = "USER")]
        username: Option<String>,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
        /// The registry's host
        #[arg(value_name = "REGISTRY", default_value = "docker.io")]
        registry: String,
    },
    /// Remove the stored credentials for a registry
    Logout {
        /// The registry's host
        #[arg(value_name = "REGISTRY", default_value = "docker.io")]
        registry: String,
    },
    /// Do nothing: pull makes nothing for a container
    Undo {
        /// The container's id
        #[arg(value_name = "ID")]
        id: stage::Id,
    },
}

/// Does what the command line says. The exit code comes out.
pub fn run(cli: Cli) -> Result<u8> {
    stage::show_effects(cli.verbose);
    let store = Store::new(cli.roots.kept("pull"));
    match (cli.image, cli.verb) {
        (Some(image), None) => {
            stage::need_root()?;
            let (found, fetched) = obtain::image(&store, &image, &cli.options)?;
            section::write(&store, &found, fetched)?;
            Ok(0)
        }
        (None, Some(verb)) => run_verb(&store, verb, &cli.options),
        _ => Err(anyhow!("an image or a verb, not both")).code(Codes::USAGE),
    }
}

fn run_verb(store: &Store, verb: Verb, options: &Options) -> Result<u8> {
    let Options { telling, terms, network, .. } = options;
    match verb {
        Verb::Ls { disk: false } => ls::run(store),
        Verb::Ls { disk: true } => disk::run(store),
        Verb::Rm { force, untag, images } => {
            stage::need_root()?;
            let extent = match (untag, force) {
                (true, _) => Extent::Names,
                (false, true) => Extent::AllNames,
                (false, false) => Extent::Image,
            };
            rm::run(store, &images, extent)
        }
        Verb::Gc { dry_run } => {
            stage::need_root()?;
            gc::run(store, if dry_run { Mode::Show } else { Mode::Remove })
        }
        Verb::Tag { image, name } => {
            stage::need_root()?;
            tag::run(store, &image, &name)
        }
        Verb::Inspect { image } => inspect::run(store, &image, terms, telling, network),
        Verb::Save { output, format, images } => save::run(store, output.as_deref(), format, &images),
        Verb::Load { input } => {
            stage::need_root()?;
            load::run(store, input.as_deref(), terms, telling)
        }
        Verb::Fsck { dry_run } => {
            stage::need_root()?;
            let mode = if dry_run { fsck::Mode::Show } else { fsck::Mode::Repair };
            fsck::run(store, mode, terms, (telling, network))
        }
        Verb::Lock { file, names } => lockfile::run(store, &file, &names, (telling, network)),
        Verb::Login { username, password_stdin, registry } => {
            let from = if password_stdin { From::Stdin } else { From::Terminal };
            login::log_in(&registry, (username, from), (telling, network))
        }
        Verb::Logout { registry } => login::log_out(&registry),
        Verb::Undo { id: _ } => Ok(0),
    }
}

/// A digest is not for anybody to give.
fn new_name(text: &str) -> Result<Reference> {
    let name: Reference = text.parse()?;
    if !name.has_tag() {
        bail!("a new name has a tag, not a digest");
    }
    Ok(name)
}
