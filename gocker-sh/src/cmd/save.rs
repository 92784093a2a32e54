//! `save` and `load`: images to an archive and back. pull writes and reads it.

use std::io::IsTerminal;
use std::process::Stdio;

use anyhow::{Result, bail};
use serde::Deserialize;
use stage::Codes;

use crate::cli::Global;
use crate::reference::{familiar, parts};
use crate::spawn::Tools;
use crate::store::Store;
use crate::stored::{self, Stored};
use crate::{ask, gc};

/// Write images to an archive
#[derive(clap::Args, Clone, Debug)]
pub struct Save {
    /// Write to this file (else to stdout)
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    /// Names or ids; a name without a tag means all its tags
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Read images from an archive
#[derive(clap::Args, Clone, Debug)]
pub struct Load {
    /// Read this file (else stdin)
    #[arg(short, long, value_name = "FILE")]
    input: Option<String>,
    /// Accepted: no progress is shown in any case
    #[arg(short, long)]
    quiet: bool,
}

pub fn save(global: &Global, options: &Save) -> Result<u8> {
    stage::need_root()?;
    if options.output.is_none() && std::io::stdout().is_terminal() {
        bail!("cowardly refusing to save to a terminal. Use the -o flag or redirect");
    }
    let tools = Tools::new(global)?;
    let stored = Stored::all(&tools)?;
    let output = options.output.as_ref().map(|path| format!("--output={path}"));
    let mut words = vec!["save"];
    words.extend(output.as_deref());
    let mut chosen = Vec::new();
    for word in &options.images {
        chosen.extend(named(&stored, word)?);
    }
    words.extend(chosen.iter().map(String::as_str));
    match ask::code(&tools, "pull", &words)? {
        0 => Ok(0),
        _ => Ok(Codes::FAILED),
    }
}

/// What a word means: all tags of a repository, one name, or an id.
fn named(stored: &[Stored], word: &str) -> Result<Vec<String>> {
    let tags: Vec<String> = stored
        .iter()
        .filter(|image| image.familiar().is_some_and(|name| parts(name).0 == familiar(word)))
        .filter_map(|image| image.reference.clone())
        .collect();
    if !tags.is_empty() {
        return Ok(tags);
    }
    Ok(vec![match stored::find(stored, word)? {
        stored::Meant::Reference { reference, .. } => reference,
        stored::Meant::Id(id) => id,
    }])
}

/// One image as `pull load` tells of it.
#[derive(Deserialize)]
struct Loaded {
    id: String,
    names: Vec<String>,
}

pub fn load(global: &Global, options: &Load) -> Result<u8> {
    stage::need_root()?;
    if options.input.is_none() && std::io::stdin().is_terminal() {
        bail!("requested load from stdin, but stdin is empty");
    }
    gc::sweep(global, &Store::new(&global.roots));
    let input = options.input.as_ref().map(|path| format!("--input={path}"));
    let mut words = vec!["load"];
    words.extend(input.as_deref());
    let loaded: Vec<Loaded> = match ask::fed(&Tools::new(global)?, "pull", &words, Stdio::inherit())? {
        Ok(loaded) => loaded,
        Err(_) => return Ok(Codes::FAILED),
    };
    for Loaded { id, names } in loaded {
        for name in &names {
            stage::print(&format!("Loaded image: {}\n", familiar(name)))?;
        }
        if names.is_empty() {
            stage::print(&format!("Loaded image ID: {id}\n"))?;
        }
    }
    Ok(0)
}
