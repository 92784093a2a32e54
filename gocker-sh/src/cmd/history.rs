//! `history`: how an image was built, as its configuration tells.

use anyhow::{Result, bail};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::Global;
use crate::listing::{Column, Format, Listing};
use crate::spawn::Tools;
use crate::store::Store;
use crate::stored::{self, Stored};
use crate::{ask, gc, human};

/// Show how an image was built
#[derive(clap::Args, Clone, Debug)]
pub struct History {
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Do not shorten ids and commands
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    format: Format,
    /// Name
    image: String,
}

const COLUMNS: [Column; 6] = [
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

/// The newest step first; only the last has an id.
pub fn history(global: &Global, options: &History) -> Result<u8> {
    stage::need_root()?;
    gc::sweep(global, &Store::new(&global.roots));
    let tools = Tools::new(global)?;
    stored::find(&Stored::all(&tools)?, &options.image)?;
    let Ok(document) = ask::document(&tools, "pull", &["--pull=never", "--quiet", &options.image])? else {
        bail!("cannot read image {}: pull failed", options.image);
    };
    let image: Value = document.get("image")?.unwrap_or_default();
    let rows = rows(&image, options.no_trunc);
    let usual = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
    let listing = Listing { columns: &COLUMNS, usual, array: rows.clone(), rows };
    if options.quiet && options.format.is_usual() {
        listing.lines("{{.ID}}")?
    } else {
        listing.print(&options.format)?
    }
    Ok(0)
}

/// Sizes are those of the layers as they are stored in a registry: what a step added.
fn rows(image: &Value, whole: bool) -> Vec<Value> {
    let now = Timestamp::now();
    let steps = image["spec"]["history"].as_array().cloned().unwrap_or_default();
    let mut layers = image["layers"].as_array().into_iter().flatten();
    let mut rows: Vec<Value> = steps
        .iter()
        .map(|step| {
            let empty = step["empty_layer"].as_bool().unwrap_or(false);
            let size = if empty { 0 } else { layers.next().and_then(|layer| layer["size"].as_u64()).unwrap_or(0) };
            let text = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
            let by = text("created_by").replace('\t', " ");
            let since = human::since(&text("created"), now);
            json!({"ID": "<missing>", "CreatedSince": if since.is_empty() { "N/A".to_owned() } else { format!("{since} ago") },
                "CreatedAt": text("created"), "CreatedBy": if whole { by } else { human::ellipsis(&by, 45) },
                "Size": human::size(size), "Comment": text("comment")})
        })
        .collect();
    rows.reverse();
    let id = image["config"]["digest"].as_str().unwrap_or_default();
    if let Some(first) = rows.first_mut() {
        first["ID"] = if whole { id.into() } else { stored::short(id).into() };
    }
    rows
}
