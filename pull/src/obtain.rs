//! What the operand asks for, from the store or from where it is.

use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use stage::{Codes, Explain};

use crate::cli::{Options, Policy};
use crate::fetch::{Blobs, Job};
use crate::image::{Found, Image};
use crate::interrupt;
use crate::layer::Rules;
use crate::lockfile::LockFile;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::report::{Fetched, Phase, Report};
use crate::source::base::Base;
use crate::source::docker_archive::DockerArchive;
use crate::source::oci::Layout;
use crate::source::registry::Repository;
use crate::source::{Source, rootfs};
use crate::store::Store;

/// What was typed besides the operand, read.
struct Wish<'a> {
    options: &'a Options,
    platform: Option<Platform>,
    rules: Rules,
    report: Report,
}

/// The image that `text` names, and what it took to fetch it if that was done from a registry.
pub fn image(store: &Store, text: &str, options: &Options) -> Result<(Found, Option<Fetched>)> {
    let wish = Wish {
        options,
        platform: options.terms.platform()?,
        rules: options.terms.rules(),
        report: options.telling.report(),
    };
    let source = Source::parse(text);
    if (options.onto.is_some() || options.config.is_some()) && !matches!(source, Source::Rootfs(_)) {
        let error = Err(anyhow!("cannot pull {text}: --onto and --config are for what has neither"));
        return error.hint("rootfs:DIR and rootfs:FILE have only files").code(Codes::USAGE);
    }
    match source {
        Source::Name(name) => of_name(store, &name, &wish),
        _ if options.locked.is_some() => {
            let error = anyhow!("cannot pull {text}: it is not an image of a registry");
            Err(error).hint("--locked accepts names alone")
        }
        source => {
            let found = at_work(store, || of_file(store, source, &wish));
            let found = found.with_context(|| format!("cannot pull {text}"))?;
            Ok((called(found, text), None))
        }
    }
}

/// An image that has no name is called what was typed.
fn called(found: Found, text: &str) -> Found {
    if found.reference.starts_with("sha256:") { Found { reference: text.to_owned(), ..found } } else { found }
}

/// An image that is here or in a registry. What is here must not cost more than reading its record.
fn of_name(store: &Store, name: &str, wish: &Wish) -> Result<(Found, Option<Fetched>)> {
    let policy = wish.options.pull;
    let name = &pinned(name, wish.options)?;
    if policy != Policy::Always
        && let Some(found) = local(store, name, wish.platform.as_ref())?
    {
        return match &wish.options.name {
            Some(new) => renamed(store, found, new),
            None => Ok(found),
        }
        .map(|found| (found, None));
    }
    if policy == Policy::Never {
        return Err(anyhow!("cannot find image {name}: it is not here")).hint("--pull=missing fetches it");
    }
    let reference =
        name.parse::<Reference>().with_context(|| format!("cannot pull {name}")).code(Codes::USAGE)?;
    if policy == Policy::Missing {
        wish.report.say(&format!("Unable to find image '{}' locally", reference.familiar()));
    }
    let found = at_work(store, || of_registry(store, &reference, wish));
    let found = found.with_context(|| format!("cannot pull {}", reference.familiar()))?;
    Ok((found, Some(wish.report.fetched())))
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

/// The name, or with a lock file the same at its digest.
fn pinned(name: &str, options: &Options) -> Result<String> {
    let Some(file) = &options.locked else { return Ok(name.to_owned()) };
    let lock = LockFile::read(file)?;
    let context = || format!("cannot pull {name}");
    let reference = name.parse::<Reference>().with_context(context).code(Codes::USAGE)?;
    lock.pinned(&reference).with_context(context).map(|pinned| pinned.to_string())
}

fn renamed(store: &Store, found: Found, name: &Reference) -> Result<Found> {
    let _lock = store.lock()?;
    store.point(name, &found.record.config.digest)?;
    Ok(Found { reference: name.to_string(), ..found })
}

/// Does what takes long: meanwhile there are signals to look for, and nobody takes for litter what is made.
pub fn at_work<T>(store: &Store, work: impl FnOnce() -> Result<T>) -> Result<T> {
    interrupt::watch()?;
    store.prepare()?;
    let announced = store.announce()?;
    let done = work();
    let removed = announced.remove();
    done.and_then(|done| removed.map(|()| done))
}

fn of_registry(store: &Store, reference: &Reference, wish: &Wish) -> Result<Found> {
    let repository =
        Repository::of(reference, &wish.options.network.access(), &wish.report)?.keeping_in(store);
    let since = Instant::now();
    let resolved = repository.image(reference, wish.platform.as_ref())?;
    let Image { manifest_bytes, config_bytes, .. } = &resolved.image;
    wish.report.spent(Phase::Manifest, since.elapsed(), (manifest_bytes.len() + config_bytes.len()) as u64);
    wish.report.say(&format!("{}: Pulling from {}", reference.version.bare(), reference.path));
    let known = store.record(&resolved.image.record.config.digest)?.is_some();
    let names = match &wish.options.name {
        Some(name) => vec![name.clone()],
        None => vec![reference.clone(), reference.at(resolved.digest.clone())],
    };
    wish.job(store, &repository).store(&resolved.image, &names)?;
    wish.report.say(&format!("Digest: {}", resolved.digest));
    let status = if known { "Image is up to date" } else { "Downloaded newer image" };
    wish.report.say(&format!("Status: {status} for {}", reference.familiar()));
    Ok(Found { record: resolved.image.record, reference: names[0].to_string() })
}

impl Wish<'_> {
    fn job<'a>(&'a self, store: &'a Store, blobs: &'a dyn Blobs) -> Job<'a> {
        Job { store, blobs, rules: &self.rules, report: &self.report }
    }

    /// Stores an image that is at hand.
    fn keep(&self, store: &Store, blobs: &dyn Blobs, image: Image, names: &[Reference]) -> Result<Found> {
        let silent = self.report.silent();
        Job { report: &silent, ..self.job(store, blobs) }.store(&image, names)?;
        let id = image.record.config.digest.to_string();
        Ok(Found { reference: names.first().map_or(id, Reference::to_string), record: image.record })
    }
}

/// An image of a file or a directory. That is at hand, so it is always looked at.
fn of_file(store: &Store, source: Source, wish: &Wish) -> Result<Found> {
    let (named, platform) = (wish.options.name.as_slice(), wish.platform.as_ref());
    match source {
        Source::Oci { dir, tag } => {
            let layout = Layout::Dir(&dir);
            let image = layout.image(tag.as_deref(), platform)?;
            wish.keep(store, &layout, image, named)
        }
        Source::OciArchive { file, tag } => {
            let layout = Layout::in_archive(&file, store, &wish.rules)?;
            let image = layout.image(tag.as_deref(), platform)?;
            wish.keep(store, &layout, image, named)
        }
        Source::DockerArchive { file, tag } => {
            let mut archive = DockerArchive::open_at(&file, store, &wish.rules)?;
            let (image, tags) = archive.image(tag.as_deref(), platform)?;
            let own: Vec<Reference> = match &wish.options.name {
                Some(name) => vec![name.clone()],
                None => tags.iter().map(|tag| tag.parse()).collect::<Result<_>>()?,
            };
            wish.keep(store, &archive, image, &own)
        }
        Source::Rootfs(path) => {
            let Options { onto, config, .. } = wish.options;
            let base = Base::of(store, onto.as_deref(), config.as_deref())?;
            let image = rootfs::image(store, &path, (&base, platform), (&wish.rules, &wish.report))?;
            wish.keep(store, &rootfs::Made, image, named)
        }
        Source::Name(name) => Err(anyhow!("{name} is a name")),
    }
}
