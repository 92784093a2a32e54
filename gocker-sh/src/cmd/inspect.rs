//! `inspect`: everything that is known of containers and images, in docker's shape.

use anyhow::Result;
use clap::ValueEnum;
use serde_json::Value;
use stage::Codes;

use super::Inspected;
use crate::cli::Global;
use crate::shape;
use crate::spawn::Tools;
use crate::store::Store;
use crate::stored::{self, Meant, Stored};
use crate::volumes::Volumes;
use crate::{ask, gc, lookup, record::Record};

/// Show all that is known of containers and images
#[derive(clap::Args, Clone, Debug)]
pub struct Inspect {
    /// A Go template for each
    #[arg(short, long)]
    format: Option<String>,
    /// Only look for these
    #[arg(long = "type", value_name = "container|image")]
    kind: Option<Kind>,
    /// Accepted: the size of what a container has written is always shown
    #[arg(short, long)]
    size: bool,
    /// Names or ids
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// What may be meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Container,
    Image,
}

impl Inspect {
    /// `container inspect` and `image inspect`.
    pub fn only(mut self, kind: Kind) -> Inspect {
        self.kind = Some(kind);
        self
    }
}

/// Prints an array, or a line for each with a template. What is not there is said, and the rest is shown.
pub fn inspect(global: &Global, options: &Inspect) -> Result<u8> {
    let store = Store::new(&global.roots);
    gc::sweep(global, &store);
    let tools = Tools::new(global)?;
    let volumes = Volumes::new(&global.roots);
    let format = Inspected::parse(options.format.as_deref())?;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for name in &options.names {
        match find((&store, &volumes), &tools, name, options.kind)? {
            Some(value) => found.push(value),
            None => missing.push(name),
        }
    }
    format.print(&found)?;
    for name in &missing {
        let what = match options.kind {
            Some(Kind::Container) => "container",
            Some(Kind::Image) => "image",
            None => "object",
        };
        stage::say(&format!("gocker-sh: No such {what}: {name}"));
    }
    Ok(if missing.is_empty() { 0 } else { Codes::FAILED })
}

fn find(
    (store, volumes): (&Store, &Volumes),
    tools: &Tools,
    name: &str,
    kind: Option<Kind>,
) -> Result<Option<Value>> {
    if kind != Some(Kind::Image)
        && let Ok(id) = lookup::container(store, name)
        && let Some(record) = Record::read(store, &id)?
    {
        return shape::container(store, volumes, &record).map(Some);
    }
    if kind != Some(Kind::Container) {
        return image(tools, name);
    }
    Ok(None)
}

/// The image, from `pull ls` and the document of a pull that fetches nothing.
fn image(tools: &Tools, name: &str) -> Result<Option<Value>> {
    let images = Stored::all(tools)?;
    let Ok(meant) = stored::find(&images, name) else { return Ok(None) };
    let (Meant::Id(id) | Meant::Reference { id, .. }) = meant;
    let ours: Vec<&Stored> = images.iter().filter(|image| image.id == id).collect();
    let reference = ours.iter().find_map(|image| image.reference.clone().or(image.digests.first().cloned()));
    let document = match &reference {
        Some(reference) => ask::document(tools, "pull", &["--pull=never", "--quiet", reference])?.ok(),
        None => None,
    };
    let section = document.map(|document| document.get::<Value>("image")).transpose()?.flatten();
    Ok(Some(shape::image(&id, &ours, &section.unwrap_or_default())))
}
