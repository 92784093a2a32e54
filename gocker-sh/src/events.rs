//! What has happened to containers, for `events`: a line for each in a file that is gone after a reboot, written by whoever
//! did it or saw it. No daemon is there to ask.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::log::Writer;
use crate::record::{End, LogLimits, Record};
use crate::store::Store;

/// What is kept, in bytes of one file, and files.
const KEPT: LogLimits = LogLimits { max_size: 1 << 20, max_file: 2 };

/// The file that is written to.
pub fn path(store: &Store) -> PathBuf {
    store.run_root().with_file_name("gocker-sh.events")
}

/// Notes that something happened to a container; `more` is what there is to say of it. That it cannot be noted is no
/// reason for a container to fail.
pub fn note(store: &Store, action: &str, record: &Record, more: &[(&str, String)]) {
    let line = serde_json::to_vec(&event(action, record, more)).unwrap_or_default();
    Writer::open(path(store), KEPT).and_then(|mut file| file.add_line(line)).ok();
}

/// Notes how a container ended.
pub fn died(store: &Store, record: &Record, end: &End) {
    if end.oom_killed {
        note(store, "oom", record, &[]);
    }
    note(store, "die", record, &[("exitCode", end.exit_code.to_string())]);
}

/// docker's shape.
fn event(action: &str, record: &Record, more: &[(&str, String)]) -> Value {
    let labels = record.labels.iter().map(|label| label.split_once('=').unwrap_or((label, "")));
    let mut attributes: Map<String, Value> =
        labels.map(|(key, value)| (key.to_owned(), value.into())).collect();
    attributes.insert("image".to_owned(), record.image.as_str().into());
    attributes.insert("name".to_owned(), record.name.as_str().into());
    attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.as_str().into())));
    let now = jiff::Timestamp::now();
    json!({"status": action, "id": record.id, "from": record.image, "Type": "container", "Action": action,
        "Actor": {"ID": record.id, "Attributes": attributes}, "scope": "local", "time": now.as_second(),
        "timeNano": i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX)})
}
