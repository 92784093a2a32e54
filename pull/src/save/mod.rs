//! `pull save`: images out of the store, as a docker archive or an OCI image layout.

mod sink;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use stage::{Codes, Explain};

use crate::blob::{Stream, Verified};
use crate::decompress;
use crate::digest::Digest;
use crate::image::{Layer, Record};
use crate::interrupt;
use crate::manifest::{ACCEPTED, Descriptor};
use crate::reference::Reference;
use crate::source::oci::REF_NAME;
use crate::source::rootfs::Tarring;
use crate::store::Store;
use sink::Sink;

/// What comes out.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// What docker load reads
    DockerArchive,
    /// An OCI image layout in a tar archive
    OciArchive,
    /// An OCI image layout, a directory
    Oci,
}

/// An image, and the names that it is saved under.
struct Chosen {
    record: Record,
    names: Vec<Reference>,
}

/// Writes the images to `output`; archives without one go to stdout.
pub fn run(store: &Store, output: Option<&Path>, format: Format, operands: &[String]) -> Result<u8> {
    let mut images: Vec<Chosen> = Vec::new();
    for operand in operands {
        choose(store, operand, &mut images).with_context(|| format!("cannot save image {operand}"))?;
    }
    interrupt::watch()?;
    let sink = match (output, format) {
        (None, Format::Oci) => {
            return Err(anyhow!("cannot save a layout to stdout"))
                .hint("-o DIR says where to")
                .code(Codes::USAGE);
        }
        (None, _) if io::stdout().is_terminal() => {
            return Err(anyhow!("cannot save to a terminal"))
                .hint("use -o FILE, or a pipe")
                .code(Codes::USAGE);
        }
        (output, Format::Oci) => Sink::directory(output),
        (output, _) => Sink::archive(output),
    };
    let shown = output.map_or("stdout".to_owned(), |path| path.display().to_string());
    let mut sink = sink.with_context(|| format!("cannot save to {shown}"))?;
    let written = match format {
        Format::DockerArchive => docker_archive(store, &mut sink, &images),
        Format::OciArchive | Format::Oci => layout(store, &mut sink, &images),
    };
    match written.and_then(|()| interrupt::check()) {
        Ok(()) => sink.finish(),
        Err(error) => Err(error).left(sink.discard().err().iter().map(|left| format!("{left:#}")).collect()),
    }
    .with_context(|| format!("cannot save to {shown}"))?;
    Ok(0)
}

/// An image by its name keeps that name; by its id it has none, as with docker.
fn choose(store: &Store, operand: &str, images: &mut Vec<Chosen>) -> Result<()> {
    let Some(found) = store.find(operand)? else { bail!("no such image") };
    let own = operand.parse::<Reference>().ok().filter(|name| name.has_tag());
    let own = own.filter(|name| found.reference == name.to_string());
    match images.iter_mut().find(|image| image.record.config.digest == found.record.config.digest) {
        Some(image) => image.names.extend(own),
        None => images.push(Chosen { record: found.record, names: own.into_iter().collect() }),
    }
    Ok(())
}

fn docker_archive(store: &Store, sink: &mut Sink, images: &[Chosen]) -> Result<()> {
    let mut items: Vec<Value> = Vec::new();
    let mut written = BTreeSet::new();
    for image in images {
        let (config, layers) = (&image.record.config, &image.record.layers);
        let config_name = format!("{}.json", config.digest.hex());
        sink.add(&config_name, config.size, whole(store, config)?)?;
        for layer in layers {
            if written.insert(layer.diff_id.clone()) {
                let context = || format!("layer {}", layer.digest);
                let length = length(store, layer).with_context(context)?;
                let stream = decompress::decoder(blob(store, layer)?).with_context(context)?;
                sink.add(&tar_name(layer), length, stream).with_context(context)?;
            }
        }
        let tags: Vec<String> = image.names.iter().map(Reference::familiar).collect();
        let layers: Vec<String> = layers.iter().map(tar_name).collect();
        items.push(json!({"Config": config_name, "RepoTags": tags, "Layers": layers}));
    }
    sink.text("manifest.json", &serde_json::to_vec(&items)?)
}

fn tar_name(layer: &Layer) -> String {
    format!("{}.tar", layer.diff_id.hex())
}

fn layout(store: &Store, sink: &mut Sink, images: &[Chosen]) -> Result<()> {
    let mut written = BTreeSet::new();
    sink.text("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}")?;
    for image in images {
        let record = &image.record;
        for descriptor in [&record.manifest, &record.config] {
            if written.insert(descriptor.digest.clone()) {
                sink.add(&blob_name(&descriptor.digest), descriptor.size, whole(store, descriptor)?)?;
            }
        }
        for layer in &record.layers {
            if written.insert(layer.digest.clone()) {
                let context = || format!("layer {}", layer.digest);
                sink.add(&blob_name(&layer.digest), layer.size, blob(store, layer)?).with_context(context)?;
            }
        }
    }
    let index = json!({"schemaVersion": 2, "mediaType": ACCEPTED[0], "manifests": entries(images)});
    sink.text("index.json", &serde_json::to_vec(&index)?)
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// One for each name, or one without. Where tags would be the same the whole names are used.
fn entries(images: &[Chosen]) -> Vec<Value> {
    let names: Vec<&Reference> = images.iter().flat_map(|image| &image.names).collect();
    let unique = |name: &Reference| names.iter().filter(|other| other.version == name.version).count() == 1;
    let mut entries = Vec::new();
    for image in images {
        let entry = json!(image.record.manifest);
        if image.names.is_empty() {
            entries.push(entry.clone());
        }
        for name in &image.names {
            let tag = if unique(name) { name.version.bare() } else { name.to_string() };
            let mut entry = entry.clone();
            entry["annotations"] = json!({REF_NAME: tag, "io.containerd.image.name": name.to_string()});
            entries.push(entry);
        }
    }
    entries
}

/// A manifest or a configuration.
fn whole(store: &Store, what: &Descriptor) -> Result<impl Read + use<>> {
    let path = store.blob(&what.digest);
    let file = std::fs::File::open(&path).with_context(|| format!("open {}", path.display()))?;
    Ok(Checked(Verified::new(Box::new(file), Some(what.clone()))))
}

/// A layer as it came; one that came from a directory is made once more.
fn blob(store: &Store, layer: &Layer) -> Result<Checked> {
    let path = store.blob(&layer.digest);
    let stream: Stream = match std::fs::File::open(&path) {
        Ok(file) => Box::new(file),
        Err(_) if layer.digest == layer.diff_id => Box::new(Tarring::start(&store.layer(&layer.diff_id))?),
        Err(error) => {
            let why = anyhow!("layer {}: open {}: {error}", layer.digest, path.display());
            return Err(why).hint("pull fsck fetches it again");
        }
    };
    Ok(Checked(Verified::new(stream, Some(layer.descriptor()))))
}

/// Of a layer's tar stream.
fn length(store: &Store, layer: &Layer) -> Result<u64> {
    match store.layer_length(&layer.diff_id) {
        Some(length) => Ok(length),
        None => Ok(io::copy(&mut decompress::decoder(blob(store, layer)?)?, &mut io::sink())?),
    }
}

/// A blob that fails at its end if it is not what it must be.
struct Checked(Verified);

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buffer)?;
        if n == 0 && !buffer.is_empty() {
            self.0.finish().map_err(|error| io::Error::other(format!("{error:#}")))?;
        }
        Ok(n)
    }
}
