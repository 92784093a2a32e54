//! `system df`: how much room images, containers and volumes take.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::Global;
use crate::human;
use crate::listing::{Column, Format, Listing};
use crate::record::Record;
use crate::spawn::Tools;
use crate::store::Store;
use crate::stored::Stored;
use crate::volumes::Volumes;
use crate::{ask, lookup, usage};

/// Show how much room images, containers and volumes take
#[derive(clap::Args, Clone, Debug)]
pub struct Df {
    #[command(flatten)]
    format: Format,
}

const COLUMNS: [Column; 5] = [
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

/// One line of the table.
struct Kind {
    name: &'static str,
    total: usize,
    active: usize,
    /// Bytes.
    size: u64,
    /// Of them, those that nobody who is active uses.
    reclaimable: u64,
}

/// One entry of `pull ls --disk`.
#[derive(Deserialize)]
struct Item {
    kind: String,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    images: Vec<String>,
}

pub fn df(global: &Global, options: &Df) -> Result<u8> {
    stage::need_root()?;
    let store = Store::new(&global.roots);
    let records: Vec<Record> =
        lookup::all(&store)?.iter().filter_map(|id| Record::read(&store, id).ok().flatten()).collect();
    let kinds = [images(&Tools::new(global)?, &records)?, containers(&records), volumes(&store)?];
    let listing = Listing {
        columns: &COLUMNS,
        usual: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
        rows: kinds.iter().map(Kind::row).collect(),
        array: kinds.iter().map(Kind::entry).collect(),
    };
    listing.print(&options.format).map(|()| 0)
}

impl Kind {
    fn row(&self) -> Value {
        let percent = (self.reclaimable * 100).checked_div(self.size).unwrap_or(0);
        json!({"Type": self.name, "TotalCount": self.total.to_string(), "Active": self.active.to_string(),
            "Size": human::size(self.size),
            "Reclaimable": format!("{} ({percent}%)", human::size(self.reclaimable))})
    }

    fn entry(&self) -> Value {
        json!({"type": self.name, "total": self.total, "active": self.active, "size": self.size,
            "reclaimable": self.reclaimable})
    }
}

/// Active are those that a container was made of, whether or not it runs.
fn images(tools: &Tools, records: &[Record]) -> Result<Kind> {
    let ids: BTreeSet<String> = Stored::all(tools)?.into_iter().map(|image| image.id).collect();
    let used: BTreeSet<&String> = records.iter().filter_map(|record| record.image_id.as_ref()).collect();
    let items: Vec<Item> = ask::json(tools, "pull", &["ls", "--disk"])?;
    let layers = || items.iter().filter(|item| item.kind == "layer");
    let free = layers().filter(|item| item.images.iter().all(|image| !used.contains(image)));
    Ok(Kind {
        name: "Images",
        total: ids.len(),
        active: ids.iter().filter(|id| used.contains(id)).count(),
        size: layers().map(|item| item.bytes).sum(),
        reclaimable: free.map(|item| item.bytes).sum(),
    })
}

fn containers(records: &[Record]) -> Kind {
    let sizes: Vec<(bool, u64)> =
        records.iter().map(|record| (record.is_alive(), usage::written(record))).collect();
    Kind {
        name: "Containers",
        total: sizes.len(),
        active: sizes.iter().filter(|(alive, _)| *alive).count(),
        size: sizes.iter().map(|(_, size)| size).sum(),
        reclaimable: sizes.iter().filter(|(alive, _)| !alive).map(|(_, size)| size).sum(),
    }
}

fn volumes(store: &Store) -> Result<Kind> {
    let volumes = Volumes::of(store);
    let mut kind = Kind { name: "Local Volumes", total: 0, active: 0, size: 0, reclaimable: 0 };
    for volume in volumes.all()? {
        let size = usage::of(&volumes.data(&volume.name));
        let is_used = !Volumes::users(store, &volume.name)?.is_empty();
        kind.total += 1;
        kind.size += size;
        kind.active += usize::from(is_used);
        kind.reclaimable += if is_used { 0 } else { size };
    }
    Ok(kind)
}
