//! `create`: a container that is not started yet. Its image is pulled, its record written.

use anyhow::Result;
use stage::{Codes, Explain, Id};

use crate::cli::Global;
use crate::image::Image;
use crate::options::Run;
use crate::plan::{Afterlife, plan};
use crate::record::Record;
use crate::run::{record, write_cidfile};
use crate::settle::settle;
use crate::spawn::Tools;
use crate::store::Store;
use crate::volumes::Volumes;
use crate::{ask, gc, names, swap};

/// Create a container without starting it
#[derive(clap::Args, Clone, Debug, Default)]
#[command(disable_help_flag = true, mut_arg("detach", |arg| arg.hide(true)))]
pub struct Create {
    #[command(flatten)]
    pub options: Run,
}

/// Prints the new container's id.
pub fn create(global: &Global, options: &Create) -> Result<u8> {
    created(global, &options.options)
}

fn created(global: &Global, options: &Run) -> Result<u8> {
    stage::need_root()?;
    let id = Id::mint()?;
    let store = Store::new(&global.roots);
    gc::sweep(global, &store);
    let tools = Tools::new(global)?;
    let settled = match settle(&store, &tools, options)? {
        Ok(settled) => settled,
        Err(_) => return Ok(Codes::FAILED),
    };
    let options = &settled.options;
    let plan = plan(options, &id, &Volumes::new(&global.roots))?;
    let mut image = None;
    if let Some(words) = &plan.pull {
        let (program, words) = swap::words("pull", plan.swap.pull_cmd.as_deref(), words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match ask::document(&tools, program, &words)? {
            Ok(document) => image = Image::of(&document)?,
            // It has said why.
            Err(_) => return Ok(Codes::FAILED),
        }
    }
    if let Some(path) = &options.cidfile {
        write_cidfile(path, &id)?;
    }
    let hold = store.hold(&id)?;
    let made = record(&store, &hold, &settled, plan).and_then(|record| keep(&store, record, image));
    let left = hold.remove().err().iter().map(|error| format!("{error:#}")).collect();
    made.left(left)?;
    stage::print(&format!("{id}\n"))?;
    Ok(0)
}

/// It stays as it is until it is started, or removed; with `--rm` it is removed when it has run.
fn keep(store: &Store, mut record: Record, image: Option<Image>) -> Result<()> {
    if let Some(image) = image {
        image.tell(&mut record);
    }
    record.again = record.afterlife == Afterlife::Keep;
    let written = record.write_kept(store);
    if written.is_err() {
        names::give_back(store, &record.id, &record.name)?;
    }
    written
}
