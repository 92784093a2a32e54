//! `volume`: named volumes.

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};
use stage::Codes;

use super::Inspected;
use crate::cli::Global;
use crate::filter::{Filters, has_label};
use crate::listing::{Column, Format, Listing};
use crate::store::Store;
use crate::volumes::{Volume, Volumes};

/// Volumes that outlive containers
#[derive(clap::Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Verb {
    /// Create a volume
    Create {
        /// Note a label
        #[arg(long, value_name = "KEY=VALUE")]
        label: Vec<String>,
        /// Its name (else a random one)
        name: Option<String>,
    },
    /// List volumes
    #[command(visible_alias = "list")]
    Ls {
        /// Only names
        #[arg(short, long)]
        quiet: bool,
        /// Only those with name, label or dangling as given
        #[arg(short, long, value_name = "KEY=VALUE")]
        filter: Vec<String>,
        #[command(flatten)]
        format: Format,
    },
    /// Show all that is known of volumes
    Inspect {
        /// A Go template for each
        #[arg(short, long)]
        format: Option<String>,
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove volumes that no container uses
    #[command(visible_alias = "remove")]
    Rm {
        /// Do not mind if it is not there
        #[arg(short, long)]
        force: bool,
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove all volumes that no container uses
    Prune {
        /// Also those with a name
        #[arg(short, long)]
        all: bool,
        /// Do not ask
        #[arg(short, long)]
        force: bool,
    },
}

const COLUMNS: [Column; 5] = [
    ("Driver", "DRIVER"),
    ("Name", "VOLUME NAME"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Scope", "SCOPE"),
];

pub fn command(global: &Global, command: &Command) -> Result<u8> {
    stage::need_root()?;
    let volumes = Volumes::new(&global.roots);
    let store = Store::new(&global.roots);
    match &command.verb {
        Verb::Create { label, name } => {
            let name = match name {
                Some(name) => name.clone(),
                None => stage::Id::mint()?.to_string(),
            };
            volumes.create(&name, label)?;
            stage::print(&format!("{name}\n")).map(|()| 0)
        }
        Verb::Ls { quiet, filter, format } => list(&volumes, &store, *quiet, filter, format),
        Verb::Inspect { format, names } => inspect(&volumes, format.as_deref(), names),
        Verb::Rm { force, names } => remove(&volumes, &store, names, *force),
        Verb::Prune { all, force } => prune(&volumes, &store, *all, *force),
    }
}

fn list(volumes: &Volumes, store: &Store, quiet: bool, words: &[String], format: &Format) -> Result<u8> {
    let filters = Filters::parse(words, &["name", "label", "dangling"])?;
    let mut kept = Vec::new();
    for volume in volumes.all()? {
        let dangling = Volumes::users(store, &volume.name)?.is_empty();
        let holds = |key: &str, value: &str| match key {
            "name" => volume.name.contains(value),
            "label" => volume.labels.iter().any(|label| has_label(label, value)),
            _ => dangling == matches!(value, "true" | "1"),
        };
        if filters.admit(holds) {
            kept.push(volume);
        }
    }
    let rows: Vec<Value> = kept
        .iter()
        .map(|volume| {
            json!({"Driver": "local", "Name": volume.name, "Mountpoint": volumes.data(&volume.name),
                "Labels": volume.labels.join(","), "Scope": "local"})
        })
        .collect();
    let array = kept.iter().map(|volume| shape(volumes, volume)).collect();
    let listing = Listing { columns: &COLUMNS, usual: "{{.Driver}}\t{{.Name}}", rows, array };
    if quiet && format.is_usual() {
        listing.lines("{{.Name}}")?
    } else {
        listing.print(format)?
    }
    Ok(0)
}

fn shape(volumes: &Volumes, volume: &Volume) -> Value {
    let labels: Map<String, Value> = volume
        .labels
        .iter()
        .map(|label| label.split_once('=').unwrap_or((label, "")))
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    json!({"CreatedAt": volume.created, "Driver": "local", "Labels": labels,
        "Mountpoint": volumes.data(&volume.name), "Name": volume.name, "Options": null, "Scope": "local"})
}

fn inspect(volumes: &Volumes, format: Option<&str>, names: &[String]) -> Result<u8> {
    let format = Inspected::parse(format)?;
    let mut found = Vec::new();
    let mut code = 0;
    for name in names {
        match volumes.get(name)? {
            Some(volume) => found.push(shape(volumes, &volume)),
            None => {
                stage::say(&format!("gocker-sh: get {name}: no such volume"));
                code = Codes::FAILED;
            }
        }
    }
    format.print(&found)?;
    Ok(code)
}

fn remove(volumes: &Volumes, store: &Store, names: &[String], force: bool) -> Result<u8> {
    super::each_word(names, |name| remove_one(volumes, store, name, force))
}

fn remove_one(volumes: &Volumes, store: &Store, name: &str, force: bool) -> Result<()> {
    crate::volumes::check(name)?;
    if volumes.get(name)?.is_none() {
        return if force { Ok(()) } else { bail!("get {name}: no such volume") };
    }
    if let Some(user) = Volumes::users(store, name)?.first() {
        bail!("remove {name}: volume is in use - [{}]", user.id);
    }
    volumes.remove(name)
}

/// Those that were made for a container that is gone; with `all` those that somebody has named, too.
fn prune(volumes: &Volumes, store: &Store, all: bool, force: bool) -> Result<u8> {
    let which = if all { "all" } else { "anonymous local" };
    if !force && !super::prune::asked(&format!("{which} volumes not used by at least one container"))? {
        return Ok(0);
    }
    let mut removed = Vec::new();
    for volume in volumes.all()? {
        let is_nameless = volume.labels.iter().any(|label| label == crate::volumes::ANONYMOUS);
        if (all || is_nameless) && Volumes::users(store, &volume.name)?.is_empty() {
            volumes.remove(&volume.name)?;
            removed.push(volume.name);
        }
    }
    if !removed.is_empty() {
        stage::print(&format!("Deleted Volumes:\n{}\n\n", removed.join("\n")))?;
    }
    Ok(0)
}
