//! An image in docker's shape.

use serde_json::{Value, json};

use crate::reference::familiar;
use crate::stored::Stored;

/// `names` are all entries of this image; `section` is the document's `image`, or `null`.
pub fn image(id: &str, names: &[&Stored], section: &Value) -> Value {
    let spec = &section["spec"];
    let text = |key: &str| spec[key].as_str().unwrap_or_default();
    let tags: Vec<&str> = names.iter().filter_map(|image| image.familiar()).collect();
    let mut digests: Vec<&str> =
        names.iter().flat_map(|image| &image.digests).map(|name| familiar(name)).collect();
    digests.sort_unstable();
    digests.dedup();
    let paths: Vec<&str> = section["layers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|layer| layer["path"].as_str())
        .collect();
    json!({
        "Id": id,
        "RepoTags": tags,
        "RepoDigests": digests,
        "Parent": "",
        "Comment": "",
        "Created": names.first().and_then(|image| image.created.clone()),
        "Author": text("author"),
        "Config": spec["config"],
        "Architecture": text("architecture"),
        "Os": text("os"),
        "Size": names.first().map_or(0, |image| image.size),
        "GraphDriver": {"Name": "overlay2", "Data": {"LowerDir": paths.join(":")}},
        "RootFS": {"Type": "layers", "Layers": spec["rootfs"]["diff_ids"]},
        "Descriptor": section["manifest"],
    })
}
