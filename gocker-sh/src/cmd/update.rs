//! `update`: other limits for containers, by `cgctl set`.

use anyhow::{Result, bail};

use super::each;
use crate::cli::Global;
use crate::options::Limits;
use crate::record::Record;
use crate::spawn::Tools;
use crate::{ask, lookup, plan};

/// Change the limits of containers
#[derive(clap::Args, Clone, Debug)]
pub struct Update {
    #[command(flatten)]
    limits: Limits,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Changes what runs at once, and for all what the next start will ask for.
pub fn update(global: &Global, options: &Update) -> Result<u8> {
    let tools = Tools::new(global)?;
    let limits = plan::limits(&options.limits)?;
    if limits.is_empty() {
        bail!("You must provide one or more flags when using this command.");
    }
    each(global, &options.containers, |store, id, word| {
        if lookup::started(store, id)?.is_some() {
            let mut words = vec!["set"];
            words.extend(limits.iter().map(String::as_str));
            words.push(id.as_str());
            if ask::code(&tools, "cgctl", &words)? != 0 {
                bail!("cannot update container {word}: cgctl failed");
            }
        }
        Record::edit(store, id, |record| {
            let key = |word: &String| word.split('=').next().map(str::to_owned);
            record.plan.cgctl.retain(|old| !limits.iter().any(|new| key(new) == key(old)));
            record.plan.cgctl.splice(0..0, limits.iter().cloned());
        })?;
        stage::print(&format!("{word}\n"))
    })
}
