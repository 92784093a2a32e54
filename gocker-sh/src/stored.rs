//! The images that are stored, as `pull ls` tells them.

use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::ask;
use crate::reference::{familiar, whole};
use crate::spawn::Tools;

/// One entry of `pull ls`: an image by one of its names, or one that has lost its name.
#[derive(Clone, Debug, Deserialize)]
pub struct Stored {
    /// Digest of the image's configuration.
    pub id: String,
    /// The whole form.
    pub reference: Option<String>,
    /// The names with a digest that lead to the image, in the whole form.
    #[serde(default)]
    pub digests: Vec<String>,
    /// Digest of the manifest.
    pub digest: Option<String>,
    /// RFC 3339.
    pub created: Option<String>,
    /// Bytes of the unpacked layers.
    #[serde(default)]
    pub size: u64,
    /// `KEY=VALUE`.
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
    /// The entry as it came.
    #[serde(skip)]
    pub entry: Value,
}

/// What a word on the command line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// One name of an image.
    Reference { id: String, reference: String },
    /// An image, by its id or the start of it.
    Id(String),
}

impl Meant {
    pub fn id(&self) -> &str {
        let (Meant::Reference { id, .. } | Meant::Id(id)) = self;
        id
    }
}

impl Stored {
    /// Every stored image, once for each of its names.
    pub fn all(tools: &Tools) -> Result<Vec<Stored>> {
        let entries: Vec<Value> = ask::json(tools, "pull", &["ls"])?;
        let read = |entry: Value| {
            // An entry that is broken is pull's own matter.
            let stored: Stored = serde_json::from_value(entry.clone()).ok()?;
            Some(Stored { entry, ..stored })
        };
        Ok(entries.into_iter().filter_map(read).collect())
    }

    /// The name as people type it.
    pub fn familiar(&self) -> Option<&str> {
        self.reference.as_deref().map(familiar)
    }

    /// The id's first 12 digits.
    pub fn short(&self) -> &str {
        short(&self.id)
    }
}

/// The first 12 digits of a digest.
pub fn short(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.get(..12).unwrap_or(hex)
}

/// docker's order: the full id, then the name, then the start of an id.
///
/// # Errors
/// None is meant, or several could be.
pub fn find(images: &[Stored], word: &str) -> Result<Meant> {
    let hex = |text: &str| text.strip_prefix("sha256:").unwrap_or(text).to_owned();
    let prefix = hex(word);
    if let Some(image) = images.iter().find(|image| hex(&image.id) == prefix) {
        return Ok(Meant::Id(image.id.clone()));
    }
    let wanted = whole(word);
    if let Some(image) = images
        .iter()
        .find(|image| image.reference.as_ref() == Some(&wanted) || image.digests.contains(&wanted))
    {
        return Ok(Meant::Reference { id: image.id.clone(), reference: wanted });
    }
    let mut ids: Vec<&String> =
        images.iter().map(|image| &image.id).filter(|id| hex(id).starts_with(&prefix)).collect();
    ids.sort();
    ids.dedup();
    match (ids.as_slice(), prefix.is_empty()) {
        ([id], false) => Ok(Meant::Id((*id).clone())),
        ([_, _, ..], false) => bail!("multiple IDs found with provided prefix: {word}"),
        _ => bail!("No such image: {}", familiar(&wanted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, reference: &str) -> Stored {
        let json = serde_json::json!({"id": format!("sha256:{id}"), "reference": reference});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_name_comes_before_the_start_of_an_id() {
        let images = [image("abc0", "docker.io/library/de:latest"), image("def0", "docker.io/library/b:1")];
        assert_eq!(find(&images, "ab").unwrap(), Meant::Id("sha256:abc0".to_owned()));
        let reference =
            |id: &str, name: &str| Meant::Reference { id: id.to_owned(), reference: name.to_owned() };
        assert_eq!(find(&images, "de").unwrap(), reference("sha256:abc0", "docker.io/library/de:latest"));
        assert_eq!(find(&images, "b:1").unwrap(), reference("sha256:def0", "docker.io/library/b:1"));
        assert_eq!(find(&images, "x").unwrap_err().to_string(), "No such image: x:latest");
    }
}
