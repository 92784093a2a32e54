//! JSON of others, read into their types: an error names the place in the document, as `linux.seccomp.defaultAction`.

use anyhow::Result;
use serde::de::DeserializeOwned;
use serde_json::{Deserializer, Value};

/// # Errors
/// It is no JSON, or not of that shape; with line and column.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    let mut deserializer = Deserializer::from_slice(text);
    let read = serde_path_to_error::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(read)
}

/// # Errors
/// It is not of that shape.
pub fn shape<T: DeserializeOwned>(value: Value) -> Result<T> {
    Ok(serde_path_to_error::deserialize(value)?)
}
