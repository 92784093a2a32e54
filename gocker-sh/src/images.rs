//! `images`: what `pull ls` tells, as docker shows it.

use std::cmp::Reverse;

use anyhow::{Result, bail};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::Global;
use crate::filter::{Cut, Filters, has_label};
use crate::listing::{Column, Format, Listing};
use crate::reference::{familiar, matches, parts};
use crate::spawn::Tools;
use crate::stored::{self, Meant, Stored};
use crate::{gc, human};

/// List images
#[derive(clap::Args, Clone, Debug)]
pub struct Images {
    /// Accepted: there are no intermediate images to hide
    #[arg(short, long)]
    all: bool,
    /// Only their ids
    #[arg(short, long)]
    quiet: bool,
    /// Do not shorten ids
    #[arg(long)]
    no_trunc: bool,
    /// Also show the digest of the manifest
    #[arg(long)]
    digests: bool,
    /// Only those with dangling, label, before, since or reference as given
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    format: Format,
    /// Only those of this name; `*` and `?` stand for any characters
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

const COLUMNS: [Column; 10] = [
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];
const USUAL: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const WITH_DIGESTS: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const KEYS: [&str; 5] = ["before", "dangling", "label", "reference", "since"];

/// `images`.
pub fn images(global: &Global, options: &Images) -> Result<u8> {
    stage::need_root()?;
    gc::sweep(global, &crate::store::Store::new(&global.roots));
    let filters = Filters::parse(&options.filter, &KEYS)?;
    filters.check("dangling", |value| bool_of(value).is_some())?;
    let mut images = Stored::all(&Tools::new(global)?)?;
    images.sort_by_key(|image| (Reverse(image.created.clone()), image.reference.clone()));
    let cut = cut(&filters, &images)?;
    let meant = |image: &Stored| {
        options.name.as_ref().is_none_or(|name| is_called(image, name))
            && filters.admit(|key, value| holds(key, value, image))
    };
    let kept = images.iter().enumerate().filter(|(place, image)| cut.admits(*place) && meant(image));
    show(&kept.map(|(_, image)| image).collect::<Vec<_>>(), options)
}

fn show(images: &[&Stored], options: &Images) -> Result<u8> {
    let now = Timestamp::now();
    let listing = Listing {
        columns: &COLUMNS,
        usual: if options.digests { WITH_DIGESTS } else { USUAL },
        rows: images.iter().map(|image| row(image, options.no_trunc, now)).collect(),
        array: images.iter().map(|image| &image.entry).collect(),
    };
    if options.quiet && options.format.is_usual() {
        listing.lines("{{.ID}}")?;
    } else {
        listing.print(&options.format)?;
    }
    Ok(0)
}

fn row(image: &Stored, whole_id: bool, now: Timestamp) -> Value {
    let digest = image.digests.first().map(|name| familiar(name));
    let (repository, tag, _) = image.familiar().or(digest).map_or((NONE, None, None), parts);
    let created = image.created.as_deref().unwrap_or_default();
    json!({
        "Repository": repository,
        "Tag": tag.unwrap_or(NONE),
        "Digest": image.digest.as_deref().unwrap_or(NONE),
        "ID": if whole_id { &image.id } else { image.short() },
        "CreatedSince": match human::since(created, now) {
            since if since.is_empty() => "N/A".to_owned(),
            since => format!("{since} ago"),
        },
        "CreatedAt": human::date(created),
        "Size": human::size(image.size),
        "Containers": "N/A",
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
    })
}

const NONE: &str = "<none>";

/// Where `before` and `since` cut.
fn cut(filters: &Filters, images: &[Stored]) -> Result<Cut> {
    let place = |key: &str| -> Result<Option<usize>> {
        let Some(word) = filters.values(key).first() else { return Ok(None) };
        let (Meant::Id(wanted) | Meant::Reference { id: wanted, .. }) = stored::find(images, word)?;
        match images.iter().position(|image| image.id == wanted) {
            Some(place) => Ok(Some(place)),
            None => bail!("No such image: {word}"),
        }
    };
    Ok(Cut { before: place("before")?, since: place("since")? })
}

fn holds(key: &str, value: &str, image: &Stored) -> bool {
    match key {
        "dangling" => bool_of(value) == Some(image.reference.is_none()),
        "label" => image.labels.iter().any(|(key, text)| has_label(&format!("{key}={text}"), value)),
        "reference" => is_called(image, value),
        _ => false,
    }
}

/// With a tag in the pattern the tag counts, too.
fn is_called(image: &Stored, pattern: &str) -> bool {
    let Some(name) = image.familiar() else { return false };
    matches(pattern, name) || matches(pattern, parts(name).0)
}

fn bool_of(text: &str) -> Option<bool> {
    match text {
        "true" | "1" | "t" | "T" | "TRUE" | "True" => Some(true),
        "false" | "0" | "f" | "F" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
