//! `import`: an image of one layer, from the files in a tar archive.

use std::process::Stdio;

use anyhow::{Result, anyhow};
use serde_json::{Map, json};
use stage::{Codes, Document, Explain};

use crate::cli::Global;
use crate::image::Image;
use crate::record::now;
use crate::spawn::Tools;
use crate::store::Store;
use crate::{ask, change, gc};

/// Make an image of the files in a tar archive
#[derive(clap::Args, Clone, Debug)]
pub struct Import {
    /// Dockerfile instruction for the image's configuration
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Comment in the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// What the programs in it are for
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// The archive; - for stdin
    #[arg(value_name = "FILE|-")]
    file: String,
    /// The image's name (else it has none)
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

/// Prints the image's id.
pub fn import(global: &Global, options: &Import) -> Result<u8> {
    stage::need_root()?;
    if options.file.contains("://") {
        return Err(anyhow!("cannot import {}: it is no file", options.file))
            .hint("curl URL | gocker-sh import - NAME");
    }
    gc::sweep(global, &Store::new(&global.roots));
    let mut config = Map::new();
    change::apply_all(&mut config, &options.change)?;
    let (created, comment) = (now(), options.message.clone());
    let comment = comment.unwrap_or_else(|| format!("Imported from {}", options.file));
    let config = json!({"created": created, "config": config,
        "history": [{"created": created, "comment": comment}]});
    let mut words = vec![format!("--config={config}")];
    words.extend(options.name.iter().map(|name| format!("--name={name}")));
    words.extend(options.platform.iter().map(|platform| format!("--platform={platform}")));
    let file = if options.file == "-" { "/dev/stdin" } else { &options.file };
    words.push(format!("rootfs:{file}"));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    made(ask::document_fed(&Tools::new(global)?, "pull", &words, Stdio::inherit())?)
}

/// Prints the id of the image that pull has made; if it failed, it has said why.
pub fn made(answer: std::result::Result<Document, u8>) -> Result<u8> {
    let Ok(document) = answer else { return Ok(Codes::FAILED) };
    if let Some(image) = Image::of(&document)? {
        stage::print(&format!("{}\n", image.config.digest))?;
    }
    Ok(0)
}
