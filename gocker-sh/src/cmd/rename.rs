//! `rename`: another name for a container.

use anyhow::Result;

use super::each;
use crate::cli::Global;
use crate::names;
use crate::record::Record;

/// Give a container another name
#[derive(clap::Args, Clone, Debug)]
pub struct Rename {
    /// Name or id
    container: String,
    /// The new name
    name: String,
}

/// The new name is taken before the old one is given back: no moment without a name.
pub fn rename(global: &Global, options: &Rename) -> Result<u8> {
    each(global, std::slice::from_ref(&options.container), |store, id, _| {
        let name = names::take(store, id, Some(&options.name))?;
        let old = Record::read(store, id)?.map(|record| record.name);
        let change = |record: &mut Record| {
            record.plan.change_name(&record.name, &name);
            record.name.clone_from(&name);
        };
        if let Err(error) = Record::edit(store, id, change) {
            names::give_back(store, id, &name)?;
            return Err(error);
        }
        old.map_or(Ok(()), |old| names::give_back(store, id, &old))
    })
}
