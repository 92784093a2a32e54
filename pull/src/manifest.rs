//! Manifests, indexes and configurations: what they say, checked. Pure: it reads no file and no network.

use anyhow::{Context, Result, bail};
use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest, MediaType};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::platform::Platform;

/// The largest manifest, index or configuration, in bytes: what docker's registry accepts.
pub const MAX_BYTES: u64 = 4 << 20;
/// The most layers of an image: overlayfs takes no more lower directories.
const MAX_LAYERS: usize = 500;

/// What an `Accept` header asks for, most wanted first.
pub const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// The three required properties of an OCI descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
}

impl Descriptor {
    /// Of these bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Descriptor {
        Descriptor { media_type: media_type.to_owned(), digest: Digest::of(bytes), size: bytes.len() as u64 }
    }

    fn from_oci(descriptor: &oci_spec::image::Descriptor) -> Result<Descriptor> {
        Ok(Descriptor {
            media_type: descriptor.media_type().to_string(),
            digest: descriptor.digest().to_string().parse()?,
            size: descriptor.size(),
        })
    }
}

/// What a digest or a tag leads to.
pub enum Node {
    /// One image.
    Manifest(Manifest),
    /// One of several: to be chosen by platform.
    Index(Vec<(Descriptor, Option<Platform>)>),
}

/// One image: its configuration and its layers, base first.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

/// One image's configuration: verbatim, and what pull itself needs of it.
pub struct Config {
    pub spec: Box<RawValue>,
    pub platform: Platform,
    pub diff_ids: Vec<Digest>,
}

/// Reads a manifest or an index. `media_type` is what it was announced as; what it says of itself comes first.
///
/// # Errors
/// It is not one of the kinds in [`ACCEPTED`], or malformed.
pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<(Node, String)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Outline {
        schema_version: Option<u64>,
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let outline: Outline = serde_json::from_slice(bytes).context("malformed manifest")?;
    let implied = if outline.manifests.is_some() { ACCEPTED[0] } else { ACCEPTED[2] };
    let media_type =
        outline.media_type.or_else(|| media_type.map(str::to_owned)).unwrap_or_else(|| implied.to_owned());
    if outline.schema_version != Some(2) {
        bail!("malformed manifest: schemaVersion is not 2");
    }
    let node = match ACCEPTED.iter().position(|accepted| *accepted == media_type) {
        Some(0 | 1) => Node::Index(index(bytes)?),
        Some(_) => Node::Manifest(manifest(bytes)?),
        None => bail!("malformed manifest: media type {media_type:?} is not supported"),
    };
    Ok((node, media_type))
}

fn index(bytes: &[u8]) -> Result<Vec<(Descriptor, Option<Platform>)>> {
    let index: ImageIndex = serde_json::from_slice(bytes).context("malformed index")?;
    let entry = |descriptor: &oci_spec::image::Descriptor| -> Result<_> {
        let platform = descriptor.platform().as_ref().map(|platform| {
            let (os, architecture) = (platform.os().to_string(), platform.architecture().to_string());
            Platform::new(&os, &architecture, platform.variant().as_deref())
        });
        Ok((Descriptor::from_oci(descriptor)?, platform))
    };
    index.manifests().iter().map(|descriptor| entry(descriptor).context("malformed index")).collect()
}

fn manifest(bytes: &[u8]) -> Result<Manifest> {
    let manifest: ImageManifest = serde_json::from_slice(bytes).context("malformed manifest")?;
    if !matches!(manifest.config().media_type(), MediaType::ImageConfig)
        && manifest.config().media_type().to_string() != "application/vnd.docker.container.image.v1+json"
    {
        bail!("not a container image but {}", manifest.config().media_type());
    }
    let layers: Result<Vec<Descriptor>> = manifest.layers().iter().map(Descriptor::from_oci).collect();
    let manifest = Manifest {
        config: Descriptor::from_oci(manifest.config()).context("malformed manifest")?,
        layers: layers.context("malformed manifest")?,
    };
    if manifest.layers.len() > MAX_LAYERS {
        bail!("malformed manifest: more than {MAX_LAYERS} layers");
    }
    manifest.layers.iter().try_for_each(|layer| check_layer_type(&layer.media_type))?;
    Ok(manifest)
}

/// What a layer is compressed with is decided by its content; its media type must be one of a layer all the same.
fn check_layer_type(media_type: &str) -> Result<()> {
    let tar =
        media_type.strip_suffix("+gzip").or_else(|| media_type.strip_suffix("+zstd")).unwrap_or(media_type);
    match tar {
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd"
        | "application/vnd.docker.image.rootfs.diff.tar"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Ok(()),
        _ => bail!("layers of media type {media_type:?} are not supported"),
    }
}

/// Reads a configuration.
///
/// # Errors
/// It is malformed, or lists another number of layers than the manifest.
pub fn config(bytes: &[u8], layers: usize) -> Result<Config> {
    let parsed: ImageConfiguration = serde_json::from_slice(bytes).context("malformed configuration")?;
    // It goes into the document as it is: what cannot be read for its depth would stop everybody behind.
    serde_json::from_slice::<serde_json::Value>(bytes).context("malformed configuration")?;
    let diff_ids: Result<Vec<Digest>> = parsed.rootfs().diff_ids().iter().map(|id| id.parse()).collect();
    let diff_ids = diff_ids.context("malformed configuration")?;
    if diff_ids.len() != layers {
        bail!("malformed image: {} diffIDs for {layers} layers", diff_ids.len());
    }
    let platform = Platform::new(
        &parsed.os().to_string(),
        &parsed.architecture().to_string(),
        parsed.variant().as_deref(),
    );
    Ok(Config { spec: serde_json::from_slice(bytes)?, platform, diff_ids })
}

/// The entry of an index that serves the platform best.
///
/// # Errors
/// None does; what there is instead is in the hint.
pub fn choose<'a>(
    entries: &'a [(Descriptor, Option<Platform>)],
    wanted: &Platform,
) -> Result<&'a Descriptor> {
    let distance = |platform: &Option<Platform>| match platform {
        Some(platform) => wanted.distance(platform),
        // An entry that does not say serves everybody, after those that do.
        None => Some(u32::MAX),
    };
    let best = entries
        .iter()
        .filter(|(descriptor, _)| ACCEPTED.contains(&descriptor.media_type.as_str()))
        .filter_map(|(descriptor, platform)| Some((distance(platform)?, descriptor)))
        .min_by_key(|(distance, _)| *distance);
    if let Some((_, descriptor)) = best {
        return Ok(descriptor);
    }
    let offered: Vec<String> = entries
        .iter()
        .filter_map(|(_, platform)| platform.as_ref())
        .filter(|platform| platform.os != "unknown")
        .map(Platform::to_string)
        .collect();
    let error = anyhow::anyhow!("no matching manifest for {wanted}");
    stage::Explain::hint(Err(error), format!("there is one for {}", offered.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn error(text: &str) -> String {
        match parse(text.as_bytes(), None) {
            Ok(_) => "no error".to_owned(),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn what_is_not_an_image_is_refused() {
        assert!(error("{").starts_with("malformed manifest: EOF"));
        assert_eq!(error("{}"), "malformed manifest: schemaVersion is not 2");
        assert!(error("{\"schemaVersion\":2}").starts_with("malformed manifest: missing field"));
        let artifact = format!(
            "{{\"schemaVersion\":2,\"layers\":[],\"config\":{{\"mediaType\":\"application/vnd.cncf.helm.config.v1+json\",\"digest\":\"sha256:{HEX}\",\"size\":2}}}}"
        );
        assert_eq!(error(&artifact), "not a container image but application/vnd.cncf.helm.config.v1+json");
    }

    #[test]
    fn a_configuration_may_not_be_nested_too_deep() {
        let text = |depth: usize| {
            format!(
                "{{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[]}},\"x\":{}1{}}}",
                "[".repeat(depth),
                "]".repeat(depth)
            )
        };
        assert!(config(text(100).as_bytes(), 0).is_ok());
        let deep = config(text(10_000).as_bytes(), 0).err().map(|error| format!("{error:#}"));
        assert!(
            deep.is_some_and(|error| error.starts_with("malformed configuration: recursion limit exceeded"))
        );
    }

    #[test]
    fn the_best_entry_is_chosen() {
        let descriptor = |size| Descriptor { size, ..Descriptor::of(ACCEPTED[2], b"") };
        let platform = |text: &str| Some(text.parse::<Platform>().unwrap());
        let entries = [
            (descriptor(1), platform("linux/arm/v5")),
            (descriptor(2), platform("linux/arm/v6")),
            (descriptor(3), platform("linux/amd64")),
        ];
        let chosen = |text: &str| choose(&entries, &text.parse().unwrap()).map(|descriptor| descriptor.size);
        assert_eq!(chosen("linux/arm/v7").unwrap(), 2);
        assert_eq!(chosen("linux/amd64").unwrap(), 3);
        assert_eq!(chosen("linux/s390x").unwrap_err().to_string(), "no matching manifest for linux/s390x");
    }
}
