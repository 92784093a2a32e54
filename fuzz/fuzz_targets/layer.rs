//! Whatever is in a layer: it is unpacked below its directory or refused, and nothing is made beside it.
#![no_main]
#![allow(dead_code)]

#[path = "../../pull/src/decompress.rs"]
mod decompress;
#[path = "../../pull/src/tarball/mod.rs"]
mod tarball;
#[path = "../../pull/src/unpack/mod.rs"]
mod unpack;

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tarball::Archive;
use unpack::{Devices, Unpacker};

/// The longest stream that is unpacked, and the largest file.
const LIMIT: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let outside = std::env::temp_dir().join(format!("gocker-fuzz-{}", std::process::id()));
    let layer = outside.join("layer");
    std::fs::create_dir_all(&layer).unwrap();
    // It may say what it likes: only where it was done counts.
    drop(unpack_all(bytes, &layer));
    let beside: Vec<_> = std::fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside, ["layer"]);
    stage::remove_tree(&outside).unwrap();
});

fn unpack_all(bytes: &[u8], layer: &Path) -> anyhow::Result<u64> {
    let mut unpacker = Unpacker::new(layer, Devices::Refused)?;
    let stream = std::io::Read::take(decompress::decoder(bytes)?, LIMIT);
    let mut archive = Archive::new(std::io::BufReader::new(stream));
    while let Some(entry) = archive.next()? {
        anyhow::ensure!(entry.size <= LIMIT, "large");
        unpacker.add(&entry, archive.body())?;
    }
    archive.drain()?;
    unpacker.finish()
}
