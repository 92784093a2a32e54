//! `pull`: has the stage pull an image, and says how it went in docker's words.

use anyhow::Result;
use serde_json::value::RawValue;
use stage::Document;

use crate::cli::Global;
use crate::image::Image;
use crate::reference::familiar;
use crate::spawn::Tools;
use crate::store::Store;
use crate::stored::Stored;
use crate::{ask, gc};

/// `pull`.
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

/// Pulls the image, whether or not it is there.
pub fn pull(global: &Global, options: &Pull) -> Result<u8> {
    stage::need_root()?;
    gc::sweep(global, &Store::new(&global.roots));
    let tools = Tools::new(global)?;
    let before = Stored::all(&tools)?;
    let platform = options.platform.as_ref().map(|platform| format!("--platform={platform}"));
    let mut words = vec!["--pull=always"];
    words.extend(platform.as_deref());
    if options.quiet {
        words.push("--quiet");
    }
    words.push(&options.image);
    let text: Box<RawValue> = match ask::answer(&tools, "pull", &words)? {
        Ok(text) => text,
        // It has said why.
        Err(code) => return Ok(code),
    };
    let document = Document::read(text.get().as_bytes())?;
    if let Some(image) = document.as_ref().map(Image::of).transpose()?.flatten() {
        stage::print(&told(&image, &before, options.quiet))?;
    }
    Ok(0)
}

fn told(image: &Image, before: &[Stored], quiet: bool) -> String {
    let (whole, digest) = (&image.reference, &image.manifest.digest);
    if quiet {
        return format!("{whole}\n");
    }
    let is_same = |one: &Stored| one.reference.as_ref() == Some(whole) && one.digest.as_ref() == Some(digest);
    let status = if before.iter().any(is_same) { "Image is up to date" } else { "Downloaded newer image" };
    format!("Digest: {digest}\nStatus: {status} for {}\n{whole}\n", familiar(whole))
}
