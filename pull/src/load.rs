//! `pull load`: every image of an archive into the store, under the names that it has there.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cli::{Telling, Terms};
use crate::fetch::{Blobs, Job};
use crate::image::Image;
use crate::obtain::at_work;
use crate::reference::Reference;
use crate::source::docker_archive::DockerArchive;
use crate::source::oci::Layout;
use crate::store::Store;

/// Reads what `docker save`, `podman save` or `pull save` have written, from stdin without a file. Prints id and names of
/// each image as JSON.
pub fn run(store: &Store, file: Option<&Path>, terms: &Terms, telling: &Telling) -> Result<u8> {
    let path = file.unwrap_or(Path::new("/dev/stdin"));
    let shown = file.map_or("stdin".to_owned(), |path| path.display().to_string());
    let loaded = at_work(store, || load(store, path, terms, telling));
    let loaded = loaded.with_context(|| format!("cannot load {shown}"))?;
    stage::print_json(&loaded)?;
    Ok(0)
}

fn load(store: &Store, path: &Path, terms: &Terms, telling: &Telling) -> Result<Vec<Value>> {
    let platform = terms.platform()?;
    let mut loaded = Vec::new();
    let mut keep = |blobs: &dyn Blobs, image: &Image, names: &[String]| -> Result<()> {
        let names: Vec<Reference> = names.iter().map(|name| name.parse()).collect::<Result<_>>()?;
        Job { store, blobs, rules: &terms.rules(), report: &telling.report().silent() }
            .store(image, &names)?;
        let names: Vec<String> = names.iter().map(Reference::to_string).collect();
        loaded.push(json!({"id": image.record.config.digest, "names": names}));
        Ok(())
    };
    let mut archive = DockerArchive::open_at(path, store, &terms.rules())?;
    if archive.is_one() {
        let images = archive.images(platform.as_ref())?;
        images.iter().try_for_each(|(image, names)| keep(&archive, image, names))?;
    } else {
        // The same in the other form: it has one image, or says which it has.
        let layout = Layout::Archive(archive.into_files());
        keep(&layout, &layout.image(None, platform.as_ref())?, &[])?;
    }
    Ok(loaded)
}
