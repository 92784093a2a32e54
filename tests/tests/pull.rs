//! Tests of `pull`.

#[path = "pull/auth.rs"]
mod auth;
#[path = "pull/errors.rs"]
mod errors;
#[path = "pull/fsck.rs"]
mod fsck;
#[path = "pull/hostile.rs"]
mod hostile;
#[path = "pull/kill.rs"]
mod kill;
#[path = "pull/layers.rs"]
mod layers;
#[path = "pull/mirrors.rs"]
mod mirrors;
#[path = "pull/misbehaving.rs"]
mod misbehaving;
#[path = "pull/registry.rs"]
mod registry;
#[path = "pull/resume.rs"]
mod resume;
#[path = "pull/save.rs"]
mod save;
#[path = "pull/server.rs"]
mod server;
#[path = "pull/sources.rs"]
mod sources;
#[path = "pull/store.rs"]
mod store;
#[path = "pull/tree.rs"]
mod tree;

use std::path::PathBuf;

use serde_json::{Value, json};
use server::Layout;
use tests::Host;
use tests::images::{self, Compression, Tar};

/// Where the layers of a host's store are, as the host sees it.
const LAYERS: &str = "/var/lib/gocker/pull/layers/sha256";

/// A host with an OCI layout of these layers at /run/oci, tag `latest`.
fn host_with(layers: &[(Tar, Compression)]) -> Host {
    let host = Host::new();
    images::layout(&host.path("/run/oci"), "latest", layers, &json!({}));
    host
}

/// Pulls the image at /run/oci. The directories of its layers, as this process reaches them.
#[track_caller]
fn unpacked(host: &Host) -> Vec<PathBuf> {
    let document = host.run(&["pull", "oci:/run/oci"]).json();
    layer_paths(&document).iter().map(|path| host.path(path)).collect()
}

/// A document without what fetching has taken: the same whether the image was here or not.
fn lasting(mut document: Value) -> Value {
    document["image"].as_object_mut().unwrap().remove("fetched");
    document
}

fn layer_paths(document: &Value) -> Vec<String> {
    let layers = document["image"]["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["path"].as_str().unwrap().to_owned()).collect()
}

/// A tar stream with these entries.
fn tar_with(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Tar {
    let mut builder = tar::Builder::new(Vec::new());
    build(&mut builder);
    builder.into_inner().unwrap()
}

/// A header of an entry that root owns; its name is taken as it is, however wrong.
fn header(name: &[u8], kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header.set_size(0);
    header
}

/// Appends an entry with this content (for a link: its target).
fn append(builder: &mut tar::Builder<Vec<u8>>, name: &str, kind: tar::EntryType, content: &str) {
    let mut header = header(name.as_bytes(), kind);
    if kind.is_symlink() || kind.is_hard_link() {
        header.set_link_name_literal(content).unwrap();
        header.set_cksum();
        builder.append(&header, std::io::empty()).unwrap();
    } else {
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
}

/// An image layout at this place of the host with one small file.
fn small_layout(host: &Host, at: &str, content: &str) -> Layout {
    let tar = tar_with(|tar| append(tar, "file", tar::EntryType::Regular, content));
    images::layout(&host.path(at), "latest", &[(tar, Compression::Gzip)], &json!({"Cmd": ["x"]}));
    Layout::at(host.path(at))
}

/// Bytes of the one file of [`large_layout`].
const LARGE: usize = 300_000;

/// An image layout at /run/oci with a file that is worth interrupting, and that nothing compresses.
fn large_layout(host: &Host) -> Layout {
    let mut seed = 1u64;
    let mut noise = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + u8::try_from(seed >> 59).unwrap())
    };
    let content: String = (0..LARGE).map(|_| noise()).collect();
    let tar = tar_with(|tar| append(tar, "file", tar::EntryType::Regular, &content));
    images::layout(&host.path("/run/oci"), "latest", &[(tar, Compression::None)], &Value::Null);
    Layout::at(host.path("/run/oci"))
}

/// The image of [`large_layout`] is here, and nothing else of it.
#[track_caller]
fn assert_whole(host: &Host, document: &Value) {
    let file = host.path(&layer_paths(document)[0]).join("file");
    assert_eq!(std::fs::metadata(file).unwrap().len(), LARGE as u64);
    assert_nothing_half_done(host);
    host.sh("ls /var/lib/gocker/pull/partial").prints("");
}

/// What the store has besides layers that are whole: nothing, after any pull.
#[track_caller]
fn assert_nothing_half_done(host: &Host) {
    host.sh(&format!(
        "cd /var/lib/gocker/pull 2> /dev/null || exit 0; ls -A {LAYERS} | grep partial; ls -A locks; find . -name '*.tmp'"
    ))
    .prints("");
}
