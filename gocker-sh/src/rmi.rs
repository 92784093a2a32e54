//! `rmi`: takes the names of images away, and with the last one the image. `pull rm` does it; what docker says of
//! images in use is decided here, for pull knows no containers.

use anyhow::{Result, bail};
use serde::Deserialize;
use stage::Codes;

use crate::cli::Global;
use crate::record::{Record, State};
use crate::reference::{familiar, parts, whole};
use crate::spawn::Tools;
use crate::store::Store;
use crate::stored::{self, Meant, Stored, short};
use crate::{ask, gc, lookup};

/// Remove images
#[derive(clap::Args, Clone, Debug)]
pub struct Rmi {
    /// Take the name away even if a container uses the image, which then stays without one
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// What `pull rm` prints.
#[derive(Debug, Deserialize)]
struct Removed {
    #[serde(default)]
    untagged: Vec<String>,
    #[serde(default)]
    deleted: Vec<String>,
}

/// What is to be removed.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// Only these names.
    Untag(Vec<String>),
    /// These names, and the image with the last of them.
    Remove(Vec<String>),
}

/// Removes each image and prints docker's lines.
pub fn rmi(global: &Global, options: &Rmi) -> Result<u8> {
    stage::need_root()?;
    let store = Store::new(&global.roots);
    gc::sweep(global, &store);
    let tools = Tools::new(global)?;
    let mut code = 0;
    for word in &options.images {
        if let Err(error) = remove(&tools, &store, word, options.force) {
            stage::say(&format!("gocker-sh: {error:#}"));
            code = Codes::FAILED;
        }
    }
    Ok(code)
}

pub fn remove(tools: &Tools, store: &Store, word: &str, force: bool) -> Result<()> {
    let images = Stored::all(tools)?;
    let meant = stored::find(&images, word)?;
    let records: Vec<Record> =
        lookup::all(store)?.iter().filter_map(|id| Record::read(store, id).ok().flatten()).collect();
    let words = match decide(&images, &meant, word, &records, force)? {
        Decision::Untag(names) => [vec!["rm".to_owned(), "--untag".to_owned()], names].concat(),
        Decision::Remove(names) => [vec!["rm".to_owned()], names].concat(),
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let removed: Removed = ask::json(tools, "pull", &words)?;
    let untagged = removed.untagged.iter().map(|name| format!("Untagged: {}\n", familiar(name)));
    let deleted = removed.deleted.iter().map(|digest| format!("Deleted: {digest}\n"));
    stage::print(&untagged.chain(deleted).collect::<String>())
}

/// docker's rules (moby, image_delete.go), with its words.
fn decide(images: &[Stored], meant: &Meant, word: &str, records: &[Record], force: bool) -> Result<Decision> {
    let (Meant::Id(id) | Meant::Reference { id, .. }) = meant;
    let names: Vec<String> =
        images.iter().filter(|image| image.id == *id).filter_map(|image| image.reference.clone()).collect();
    let user = records.iter().find(|record| uses(record, id, &names));
    match meant {
        Meant::Reference { reference, .. } if names.iter().any(|name| name != reference) => {
            Ok(Decision::Untag(vec![reference.clone()]))
        }
        Meant::Reference { reference, .. } => match user {
            Some(user) if !force => bail!(
                "conflict: unable to remove repository reference \"{word}\" (must force) - container {} is using its \
                 referenced image {}",
                user.id.short(),
                short(id)
            ),
            Some(_) => Ok(Decision::Untag(vec![reference.clone()])),
            None => Ok(Decision::Remove(vec![reference.clone()])),
        },
        Meant::Id(_) => {
            if let Some(user) = user.filter(|user| !force || user.is_alive()) {
                bail!("{}", conflict(id, user));
            }
            if repositories(&names) > 1 && !force {
                bail!(
                    "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
                    short(id)
                );
            }
            match (user, names.is_empty()) {
                (Some(_), _) => Ok(Decision::Untag(names)),
                (None, true) => Ok(Decision::Remove(vec![id.clone()])),
                (None, false) => Ok(Decision::Remove(names)),
            }
        }
    }
}

fn conflict(id: &str, user: &Record) -> String {
    let (how, state) = match user.state() {
        State::Running | State::Paused => ("cannot be forced", "running"),
        _ => ("must be forced", "stopped"),
    };
    let user = user.id.short();
    format!(
        "conflict: unable to delete {} ({how}) - image is being used by {state} container {user}",
        short(id)
    )
}

/// A container that is being set up has only the name of its image.
fn uses(record: &Record, id: &str, names: &[String]) -> bool {
    match &record.image_id {
        Some(image) => image == id,
        None => names.contains(&whole(&record.image)),
    }
}

fn repositories(names: &[String]) -> usize {
    let mut repositories: Vec<&str> = names.iter().map(|name| parts(name).0).collect();
    repositories.sort_unstable();
    repositories.dedup();
    repositories.len()
}
