//! What the operand asks for, from the store or from where it is.

use anyhow::{Context, Result, anyhow};
use stage::{Codes, Explain};

use crate::cli::{Options, Policy};
use crate::fetch;
use crate::image::{Found, Image};
use crate::interrupt;
use crate::platform::Platform;
use crate::progress::Progress;
use crate::reference::{Reference, Version};
use crate::registry::Access;
use crate::source::docker_archive::DockerArchive;
use crate::source::oci::Layout;
use crate::source::registry::Repository;
use crate::source::{Source, rootfs};
use crate::store::Store;

/// What was typed besides the operand, read.
struct Wish<'a> {
    options: &'a Options,
    platform: Option<Platform>,
    progress: Progress,
}

/// The image that `text` names.
pub fn image(store: &Store, text: &str, options: &Options) -> Result<Found> {
    let platform = options.platform.as_deref().filter(|platform| !platform.is_empty());
    let wish = Wish {
        options,
        platform: platform.map(str::parse).transpose().code(Codes::USAGE)?,
        progress: if options.quiet { Progress::Quiet } else { Progress::Shown },
    };
    match Source::parse(text) {
        Source::Name(name) => of_name(store, &name, &wish),
        source => {
            let found = at_work(store, || of_file(store, source, &wish));
            found.with_context(|| format!("cannot pull {text}")).map(|found| called(found, text))
        }
    }
}

/// An image that has no name is called what was typed.
fn called(found: Found, text: &str) -> Found {
    if found.reference.starts_with("sha256:") { Found { reference: text.to_owned(), ..found } } else { found }
}

/// An image that is here or in a registry. What is here must not cost more than reading its record.
fn of_name(store: &Store, name: &str, wish: &Wish) -> Result<Found> {
    let policy = wish.options.pull;
    if policy != Policy::Always
        && let Some(found) = local(store, name, wish.platform.as_ref())?
    {
        return match &wish.options.name {
            Some(new) => renamed(store, found, new),
            None => Ok(found),
        };
    }
    if policy == Policy::Never {
        return Err(anyhow!("cannot find image {name}: it is not here")).hint("--pull=missing fetches it");
    }
    let reference =
        name.parse::<Reference>().with_context(|| format!("cannot pull {name}")).code(Codes::USAGE)?;
    if policy == Policy::Missing {
        wish.progress.say(&format!("Unable to find image '{}' locally", reference.familiar()));
    }
    at_work(store, || of_registry(store, &reference, wish))
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

/// Does what takes long: meanwhile there are signals to look for, and nobody takes for litter what is made.
fn at_work<T>(store: &Store, work: impl FnOnce() -> Result<T>) -> Result<T> {
    interrupt::watch()?;
    store.prepare()?;
    let announced = store.announce()?;
    let done = work();
    let removed = announced.remove();
    done.and_then(|done| removed.map(|()| done))
}

fn of_registry(store: &Store, reference: &Reference, wish: &Wish) -> Result<Found> {
    let access = Access {
        plain_http: wish.options.plain_http,
        authorities: wish.options.cacert.clone(),
        credentials: wish.options.creds.clone(),
    };
    let repository = Repository::of(reference, &access)?;
    let resolved = repository.image(reference, wish.platform.as_ref())?;
    let version = match &reference.version {
        Version::Tag(tag) => tag.clone(),
        Version::Digest(digest) => digest.to_string(),
    };
    wish.progress.say(&format!("{version}: Pulling from {}", reference.path));
    let known = store.record(&resolved.image.record.config.digest)?.is_some();
    let names = match &wish.options.name {
        Some(name) => vec![name.clone()],
        None => vec![reference.clone(), reference.at(resolved.digest.clone())],
    };
    fetch::store(store, &repository, &resolved.image, &names, wish.progress)?;
    wish.progress.say(&format!("Digest: {}", resolved.digest));
    let status = if known { "Image is up to date" } else { "Downloaded newer image" };
    wish.progress.say(&format!("Status: {status} for {}", reference.familiar()));
    Ok(Found { record: resolved.image.record, reference: names[0].to_string() })
}

/// An image of a file or a directory. That is at hand, so it is always looked at.
fn of_file(store: &Store, source: Source, wish: &Wish) -> Result<Found> {
    let (named, platform) = (wish.options.name.as_slice(), wish.platform.as_ref());
    match source {
        Source::Oci { dir, tag } => {
            let layout = Layout { dir: &dir };
            let image = layout.image(tag.as_deref(), platform)?;
            keep(store, &layout, image, named)
        }
        Source::DockerArchive(file) => {
            let mut archive = DockerArchive::open_at(&file)?;
            let (image, tags) = archive.image(platform)?;
            let own: Vec<Reference> = match &wish.options.name {
                Some(name) => vec![name.clone()],
                None => tags.iter().map(|tag| tag.parse()).collect::<Result<_>>()?,
            };
            keep(store, &archive, image, &own)
        }
        Source::Rootfs(path) => {
            let image = rootfs::image(store, &path, platform)?;
            keep(store, &rootfs::Made, image, named)
        }
        Source::Name(name) => Err(anyhow!("{name} is a name")),
    }
}

fn keep(store: &Store, blobs: &dyn fetch::Blobs, image: Image, names: &[Reference]) -> Result<Found> {
    fetch::store(store, blobs, &image, names, Progress::Quiet)?;
    let id = image.record.config.digest.to_string();
    Ok(Found { reference: names.first().map_or(id, Reference::to_string), record: image.record })
}
