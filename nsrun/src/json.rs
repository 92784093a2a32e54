//! JSON read into its types: an error names the place in the document, as `linux.seccomp.defaultAction`.
//!
//! Always by way of a tree: each further way to read the types of the specification is a copy of their code, half a
//! mebibyte that would be mapped at every start.

use anyhow::Result;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// # Errors
/// It is no JSON, with line and column; or not of that shape.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    shape(serde_json::from_slice(text)?)
}

/// # Errors
/// It is not of that shape.
pub fn shape<T: DeserializeOwned>(value: Value) -> Result<T> {
    Ok(serde_path_to_error::deserialize(value)?)
}
