//! The command line, and what follows from it.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::{Args, Parser, Subcommand, ValueEnum};
use stage::{Codes, Explain, Roots};

use crate::fetch;
use crate::image::{Found, Image};
use crate::interrupt;
use crate::ls;
use crate::platform::Platform;
use crate::progress::Progress;
use crate::reference::{Reference, Version};
use crate::registry::{Access, Credentials};
use crate::rm::{self, Extent};
use crate::section;
use crate::source::docker_archive::DockerArchive;
use crate::source::oci::Layout;
use crate::source::registry::Repository;
use crate::source::{Source, rootfs};
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

#[derive(Args)]
struct Options {
    /// Choose this platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", env = "DOCKER_DEFAULT_PLATFORM")]
    platform: Option<String>,
    /// When to fetch an image of a registry
    #[arg(long, value_enum, default_value = "missing")]
    pull: Policy,
    /// Say nothing while it is fetched
    #[arg(short, long)]
    quiet: bool,
    /// Store the image under this name
    #[arg(long, value_name = "NAME")]
    name: Option<Reference>,
    /// Log in to the registry with these
    #[arg(long, value_name = "USER:PASSWORD")]
    creds: Option<Credentials>,
    /// Reach the registry without TLS; on loopback that is tried anyway
    #[arg(long)]
    plain_http: bool,
    /// Trust the certificate authorities in this PEM file, too
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Policy {
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
            let found = pull(&store, &image, &cli.options)?;
            section::write(&store, &found)?;
            Ok(0)
        }
        _ => Err(anyhow!("an image or a verb, not both")).code(Codes::USAGE),
    }
}

fn pull(store: &Store, text: &str, options: &Options) -> Result<Found> {
    let platform = options.platform.as_deref().filter(|platform| !platform.is_empty());
    let platform: Option<Platform> = platform.map(str::parse).transpose().code(Codes::USAGE)?;
    let context = || format!("cannot pull {text}");
    match Source::parse(text) {
        Source::Name(name) => of_name(store, &name, options, platform.as_ref()),
        source => {
            of_file(store, source, options, platform.as_ref()).with_context(context).map(|mut found| {
                if options.name.is_none() && found.reference.starts_with("sha256:") {
                    found.reference = text.to_owned();
                }
                found
            })
        }
    }
}

/// An image that is here or in a registry. What is here must not cost more than reading its record.
fn of_name(store: &Store, name: &str, options: &Options, platform: Option<&Platform>) -> Result<Found> {
    if options.pull != Policy::Always
        && let Some(found) = local(store, name, platform)?
    {
        return match &options.name {
            Some(new) => renamed(store, found, new),
            None => Ok(found),
        };
    }
    if options.pull == Policy::Never {
        return Err(anyhow!("cannot find image {name}: it is not here")).hint("--pull=missing fetches it");
    }
    let reference: Reference = name
        .parse()
        .map_err(|error: anyhow::Error| error.context(format!("cannot pull {name}")))
        .code(Codes::USAGE)?;
    let progress = if options.quiet { Progress::Quiet } else { Progress::Shown };
    if options.pull == Policy::Missing {
        progress.say(&format!("Unable to find image '{}' locally", reference.familiar()));
    }
    of_registry(store, &reference, options, platform)
        .with_context(|| format!("cannot pull {}", reference.familiar()))
}

/// The image in the store, whole and for this platform.
fn local(store: &Store, name: &str, platform: Option<&Platform>) -> Result<Option<Found>> {
    let Some(found) = store.find(name)? else { return Ok(None) };
    let whole = found.record.layers.iter().all(|layer| store.layer(&layer.diff_id).exists());
    let fits = match platform {
        Some(platform) => platform.distance(&found.record.platform()?).is_some(),
        None => true,
    };
    Ok(Some(found).filter(|_| whole && fits))
}

fn renamed(store: &Store, found: Found, name: &Reference) -> Result<Found> {
    let _lock = store.lock()?;
    store.point(name, &found.record.config.digest)?;
    Ok(Found { reference: name.to_string(), ..found })
}

fn of_registry(
    store: &Store,
    reference: &Reference,
    options: &Options,
    platform: Option<&Platform>,
) -> Result<Found> {
    interrupt::watch()?;
    store.prepare()?;
    let progress = if options.quiet { Progress::Quiet } else { Progress::Shown };
    let access = Access {
        plain_http: options.plain_http,
        authorities: options.cacert.clone(),
        credentials: options.creds.clone(),
    };
    let repository = Repository::of(reference, &access)?;
    let resolved = repository.image(reference, platform)?;
    let version = match &reference.version {
        Version::Tag(tag) => tag.clone(),
        Version::Digest(digest) => digest.to_string(),
    };
    progress.say(&format!("{version}: Pulling from {}", reference.path));
    let known = store.record(&resolved.image.record.config.digest)?.is_some();
    let names = match &options.name {
        Some(name) => vec![name.clone()],
        None => vec![reference.clone(), reference.at(resolved.digest.clone())],
    };
    fetch::store(store, &repository, &resolved.image, &names, progress)?;
    progress.say(&format!("Digest: {}", resolved.digest));
    let status = if known { "Image is up to date" } else { "Downloaded newer image" };
    progress.say(&format!("Status: {status} for {}", reference.familiar()));
    Ok(Found { record: resolved.image.record, reference: names[0].to_string() })
}

/// An image of a file or a directory. That is at hand, so it is always looked at.
fn of_file(store: &Store, source: Source, options: &Options, platform: Option<&Platform>) -> Result<Found> {
    interrupt::watch()?;
    store.prepare()?;
    match source {
        Source::Oci { dir, tag } => {
            let layout = Layout { dir: &dir };
            let image = layout.image(tag.as_deref(), platform)?;
            keep(store, &layout, image, options.name.as_slice())
        }
        Source::DockerArchive(file) => {
            let mut archive = DockerArchive::open_at(&file)?;
            let (image, tags) = archive.image(platform)?;
            let names = match &options.name {
                Some(name) => vec![name.clone()],
                None => tags.iter().map(|tag| tag.parse()).collect::<Result<_>>()?,
            };
            keep(store, &archive, image, &names)
        }
        Source::Rootfs(path) => {
            let image = rootfs::image(store, &path, platform)?;
            keep(store, &rootfs::Made, image, options.name.as_slice())
        }
        Source::Name(name) => Err(anyhow!("{name} is a name")),
    }
}

fn keep(store: &Store, blobs: &dyn fetch::Blobs, image: Image, names: &[Reference]) -> Result<Found> {
    fetch::store(store, blobs, &image, names, Progress::Quiet)?;
    let id = image.record.config.digest.to_string();
    Ok(Found { reference: names.first().map_or(id, Reference::to_string), record: image.record })
}
