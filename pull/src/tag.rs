//! `pull tag`: another name for an image that is here.

use anyhow::{Context, Result, bail};

use crate::reference::Reference;
use crate::store::Store;

/// Gives the image that `source` means the name `target`, whatever that named before.
pub fn run(store: &Store, source: &str, target: &Reference) -> Result<u8> {
    let context = || format!("cannot tag image {source}");
    if !store.images().exists() {
        return Err(anyhow::anyhow!("no such image")).with_context(context);
    }
    let _lock = store.lock()?;
    let Some(found) = store.find(source)? else { bail!("cannot tag image {source}: no such image") };
    store.point(target, &found.record.config.digest)?;
    Ok(0)
}
