//! `pull`: has the stage pull an image. The stage says how it goes, in docker's words, on stderr.

use anyhow::Result;
use serde_json::value::RawValue;
use stage::Document;

use crate::cli::Global;
use crate::image::Image;
use crate::spawn::Tools;
use crate::store::Store;
use crate::{ask, gc};

/// Pull an image
#[derive(clap::Args, Clone, Debug)]
pub struct Pull {
    /// Choose this platform of the image
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Only print the image's whole name
    #[arg(short, long)]
    quiet: bool,
    /// NAME[:TAG|@DIGEST], oci:DIR[:TAG], docker-archive:FILE or rootfs:DIR-or-TAR
    image: String,
}

/// Pulls the image, whether or not it is there, and prints its whole name.
pub fn pull(global: &Global, options: &Pull) -> Result<u8> {
    stage::need_root()?;
    gc::sweep(global, &Store::new(&global.roots));
    let platform = options.platform.as_ref().map(|platform| format!("--platform={platform}"));
    let mut words = vec!["--pull=always"];
    words.extend(platform.as_deref());
    if options.quiet {
        words.push("--quiet");
    }
    words.push(&options.image);
    let text: Box<RawValue> = match ask::answer(&Tools::new(global)?, "pull", &words)? {
        Ok(text) => text,
        // It has said why.
        Err(_) => return Ok(stage::Codes::FAILED),
    };
    let document = Document::read(text.get().as_bytes())?;
    if let Some(image) = document.as_ref().map(Image::of).transpose()?.flatten() {
        stage::print(&format!("{}\n", image.reference))?;
    }
    Ok(0)
}
