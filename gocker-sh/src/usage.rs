//! How much room files take.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::record::Record;

/// Bytes of all files below a directory, as docker counts them: by their length, those of several names once. What goes
/// away meanwhile, or cannot be read, counts nothing.
pub fn of(directory: &Path) -> u64 {
    let (mut seen, mut total) = (HashSet::new(), 0);
    let mut queue = vec![directory.to_owned()];
    while let Some(directory) = queue.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                queue.push(entry.path());
            } else if meta.nlink() < 2 || seen.insert((meta.dev(), meta.ino())) {
                total += meta.len();
            }
        }
    }
    total
}

/// Bytes that a container has written into its root.
pub fn written(record: &Record) -> u64 {
    record.upper().ok().flatten().map_or(0, |upper| of(Path::new(&upper)))
}
