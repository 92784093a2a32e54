//! The command line.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use stage::{Codes, Explain, Roots};

use crate::ls;
use crate::obtain;
use crate::reference::Reference;
use crate::registry::Credentials;
use crate::rm::{self, Extent};
use crate::section;
use crate::store::Store;

const EXAMPLES: &str = "\
Examples:
  pull alpine | mount-overlay | netns | cgctl -m 64M | nsrun -- sh
  pull --platform linux/arm64 localhost:5000/app:1.2 | jq .image.spec.config
  pull --name mine rootfs:/srv/debian-tree
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
    /// NAME[:TAG|@DIGEST], ID, oci:DIR[:TAG], docker-archive:FILE, rootfs:DIR or rootfs:FILE
    #[arg(value_name = "IMAGE", required = true)]
    image: Option<String>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// How an image is to be obtained.
#[derive(Args)]
pub struct Options {
    /// Choose this platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", env = "DOCKER_DEFAULT_PLATFORM")]
    pub platform: Option<String>,
    /// When to fetch an image of a registry
    #[arg(long, value_enum, default_value = "missing")]
    pub pull: Policy,
    /// Say nothing while it is fetched
    #[arg(short, long)]
    pub quiet: bool,
    /// Store the image under this name
    #[arg(long, value_name = "NAME", value_parser = new_name)]
    pub name: Option<Reference>,
    /// Log in to the registry with these
    #[arg(long, value_name = "USER:PASSWORD")]
    pub creds: Option<Credentials>,
    /// Reach the registry without TLS; on loopback that is tried anyway
    #[arg(long)]
    pub plain_http: bool,
    /// Trust the certificate authorities in this PEM file, too
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
}

/// When a registry is asked.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// If it is not here
    Missing,
    /// Always
    Always,
    /// Never: it must be here
    Never,
}

#[derive(Subcommand)]
enum Verb {
    /// List the images that are here, as a JSON array
    Ls,
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
        (None, Some(Verb::Ls)) => ls::run(&store),
        (None, Some(Verb::Rm { force, untag, images })) => {
            stage::need_root()?;
            let extent = match (untag, force) {
                (true, _) => Extent::Names,
                (false, true) => Extent::AllNames,
                (false, false) => Extent::Image,
            };
            rm::run(&store, &images, extent)
        }
        (None, Some(Verb::Undo { id: _ })) => Ok(0),
        (Some(image), None) => {
            stage::need_root()?;
            let found = obtain::image(&store, &image, &cli.options)?;
            section::write(&store, &found)?;
            Ok(0)
        }
        _ => Err(anyhow!("an image or a verb, not both")).code(Codes::USAGE),
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
