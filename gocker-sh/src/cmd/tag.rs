//! `tag`: another name for an image.

use anyhow::Result;
use stage::Codes;

use crate::ask;
use crate::cli::Global;
use crate::spawn::Tools;
use crate::stored::{self, Stored};

/// Give an image another name
#[derive(clap::Args, Clone, Debug)]
pub struct Tag {
    /// Name or id
    #[arg(value_name = "IMAGE")]
    source: String,
    /// The new name
    #[arg(value_name = "NAME[:TAG]")]
    target: String,
}

pub fn tag(global: &Global, options: &Tag) -> Result<u8> {
    stage::need_root()?;
    let tools = Tools::new(global)?;
    let id = stored::find(&Stored::all(&tools)?, &options.source)?.id().to_owned();
    match ask::code(&tools, "pull", &["tag", &id, &options.target])? {
        0 => Ok(0),
        // It has said why.
        _ => Ok(Codes::FAILED),
    }
}
