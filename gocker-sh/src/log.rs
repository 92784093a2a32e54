//! The log of a container: docker's json-file form, one object a line, in the directory of what is kept of it.
//!
//!     ROOT/gocker-sh/ID/ID-json.log, ID-json.log.1, ...    the newest without a number
//!
//! A piece that did not end with a newline when it came is an entry of its own: nothing waits for the rest of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stage::Id;

use crate::store::Store;

mod follow;
mod limits;
mod write;

pub use follow::Follower;
pub use limits::limits;
pub use write::Writer;

/// One piece of output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The text; bytes that are no UTF-8 are replaced, as docker does.
    pub log: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// RFC 3339.
    pub time: String,
}

/// The file that is written to.
pub fn path(store: &Store, id: &Id) -> PathBuf {
    store.kept_dir(id).join(format!("{id}-json.log"))
}

/// The file that became the `number`-th by rotation.
fn rotated(path: &std::path::Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}
