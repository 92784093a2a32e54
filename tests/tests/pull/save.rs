//! Images out of the store and in again: what skopeo and umoci read, and what pull reads of theirs.

use serde_json::{Value, json};
use tests::engines::{Engine, Engines};
use tests::images::{self, Compression};
use tests::{Host, skip};

use super::server::{Layout, Server};
use super::tree::Tree;
use super::{append, assert_nothing_half_done, layer_paths, small_layout, tar_with};

/// A host with an image `app:1` of three layers, gzip, zstd and plain.
fn with_image() -> Host {
    let host = Host::new();
    let layer = |name: &str| {
        tar_with(|tar| {
            append(tar, "dir", tar::EntryType::Directory, "");
            append(tar, &format!("dir/{name}"), tar::EntryType::Regular, name);
            append(tar, &format!("dir/link-{name}"), tar::EntryType::Link, &format!("dir/{name}"));
        })
    };
    let layers =
        [(layer("a"), Compression::Gzip), (layer("b"), Compression::Zstd), (layer("c"), Compression::None)];
    images::layout(&host.path("/run/oci"), "latest", &layers, &json!({"Cmd": ["x"]}));
    host.run(&["pull", "-q", "--name", "app:1", "oci:/run/oci"]).ok();
    host
}

/// The trees of an image's layers.
fn trees(host: &Host, document: &Value) -> Vec<Tree> {
    layer_paths(document).iter().map(|path| Tree::of(&host.path(path))).collect()
}

/// Forgets the image, then reads it again from `source`.
#[track_caller]
fn again(host: &Host, source: &str) -> Value {
    let old = host.run(&["pull", "--pull=never", "app:1"]).json();
    let before = trees(host, &old);
    host.run(&["pull", "rm", "app:1"]).ok();
    let new = host.run(&["pull", "-q", "--name", "app:1", source]).json();
    for (found, expected) in trees(host, &new).iter().zip(&before) {
        found.assert_same(expected);
    }
    assert_nothing_half_done(host);
    new
}

#[test]
fn what_is_saved_is_the_same_image() {
    let host = with_image();
    let image = host.run(&["pull", "app:1"]).json()["image"].clone();
    let manifest = image["manifest"].clone();
    host.run(&["pull", "save", "-o", "/run/a.tar", "app:1"]).prints("");
    host.run(&["pull", "save", "--format=oci", "-o", "/run/layout", "app:1"]).prints("");
    host.run(&["pull", "save", "--format=oci-archive", "-o", "/run/b.tar", "app:1"]).prints("");
    host.sh("pull save --format oci-archive app:1 | cmp - /run/b.tar && gzip -k /run/b.tar").prints("");
    assert_eq!(again(&host, "oci:/run/layout:1")["image"]["manifest"], manifest);
    assert_eq!(again(&host, "oci-archive:/run/b.tar:1")["image"]["manifest"], manifest);
    assert_eq!(again(&host, "oci-archive:/run/b.tar.gz")["image"]["manifest"], manifest);
    // An archive of docker's has other blobs: their tar streams.
    let of_docker = again(&host, "docker-archive:/run/a.tar:app:1");
    assert_eq!(of_docker["image"]["config"], image["config"], "an image keeps its id");
    host.sh("pull save app:1 | cmp - /run/a.tar").prints("");
}

#[test]
fn skopeo_and_umoci_read_what_is_saved_and_the_other_way_round() {
    let host = with_image();
    host.sh("pull save -o /run/a.tar app:1 && pull save --format=oci -o /run/layout app:1 && pull save --format=oci-archive -o /run/b.tar app:1").ok();
    for (n, source) in ["docker-archive:/run/a.tar:app:1", "oci:/run/layout:1", "oci-archive:/run/b.tar:1"]
        .iter()
        .enumerate()
    {
        let target = format!("oci:/run/copy{n}:1");
        host.run(&["skopeo", "copy", "-q", "--insecure-policy", source, &target]).ok();
        again(&host, &target);
    }
    // umoci unpacks all layers into one tree. zstd is not for it, so skopeo has written this one.
    host.run(&["umoci", "unpack", "--image", "/run/copy0:1", "/run/bundle"]).ok();
    host.sh("cd /run/bundle/rootfs/dir && cat a b c && test a -ef link-a && test c -ef link-c").prints("abc");
    // What umoci writes.
    host.sh(
        "umoci init --layout /run/u && umoci new --image /run/u:1 && umoci unpack --image /run/u:1 /run/ub && cd /run/ub/rootfs && \
         mkdir d && echo x > d/f && ln d/f d/hard && ln -s f d/soft && chmod 4711 d/f && chown 7:8 d && \
         touch -h -d '2001-02-03 04:05:06' d/soft d/f d && umoci repack --image /run/u:1 /run/ub",
    )
    .ok();
    let document = host.run(&["pull", "-q", "oci:/run/u:1"]).json();
    let found = Tree::of(&host.path(&layer_paths(&document)[0]).join("d"));
    found.assert_same(&Tree::of(&host.path("/run/ub/rootfs/d")));
    // What skopeo writes, in each of its formats.
    for target in ["docker-archive:/run/s.tar:app:1", "oci-archive:/run/so.tar:1", "oci:/run/s:1"] {
        host.run(&["skopeo", "copy", "-q", "--insecure-policy", "oci:/run/copy0:1", target]).ok();
        again(&host, target);
    }
}

#[test]
fn docker_and_podman_load_what_is_saved_and_the_other_way_round() {
    let host = with_image();
    let image = host.run(&["pull", "app:1"]).json()["image"].clone();
    let diff_ids: Vec<&str> =
        image["layers"].as_array().unwrap().iter().map(|layer| layer["diffID"].as_str().unwrap()).collect();
    host.sh("pull save -o /run/a.tar app:1; pull save --format oci-archive -o /run/b.tar app:1").ok();
    let engines = Engines::start(&host);
    for &engine in &engines.there {
        // docker 20 knows its own archives alone.
        let ways: &[(&str, &str, &str)] = match engine {
            Engine::Docker => &[("/run/a.tar", "", "docker-archive")],
            Engine::Podman => &[
                ("/run/a.tar", "--format docker-archive", "docker-archive"),
                ("/run/b.tar", "--format oci-archive", "oci-archive"),
            ],
        };
        for (archive, format, kind) in ways {
            engines.run(engine, &format!("load -q -i {archive}")).ok();
            let name = engines.run(engine, "images --format '{{.Repository}}:{{.Tag}}'").ok();
            let found = engines.run(engine, &format!("image inspect {name}")).json()[0].clone();
            let id = found["Id"].as_str().unwrap().trim_start_matches("sha256:");
            assert_eq!(id, &image["config"]["digest"].as_str().unwrap()[7..]);
            assert_eq!(found["RootFS"]["Layers"], json!(diff_ids));
            engines.run(engine, &format!("save {format} -o /run/again.tar {name}")).ok();
            again(&host, &format!("{kind}:/run/again.tar"));
            engines.run(engine, &format!("rmi {name}")).ok();
            host.sh("rm /run/again.tar").ok();
        }
    }
    if engines.there.len() < 2 {
        drop(engines);
        skip!("docker.io or podman is not installed");
    }
}

#[test]
fn images_of_directories_and_files_are_saved_too() {
    let host = Host::new();
    host.sh("mkdir -p /run/tree/a && echo x > /run/tree/a/f && ln /run/tree/a/f /run/tree/a/g && tar -C /run/tree -czf /run/t.tar.gz .").ok();
    for source in ["rootfs:/run/tree", "rootfs:/run/t.tar.gz"] {
        host.run(&["pull", "-q", "--name", "app:1", source]).ok();
        host.sh("rm -rf /run/save && pull save --format oci -o /run/save app:1").ok();
        again(&host, "oci:/run/save");
    }
}

#[test]
fn several_images_share_an_archive() {
    let host = with_image();
    small_layout(&host, "/run/other", "y");
    host.run(&["pull", "-q", "--name", "other:1", "oci:/run/other"]).ok();
    host.run(&["pull", "tag", "app:1", "second"]).prints("");
    host.run(&["pull", "save", "-o", "/run/a.tar", "app:1", "second", "other:1"]).ok();
    host.sh("tar -xOf /run/a.tar manifest.json | jq -c 'map(.RepoTags)'")
        .prints("[[\"app:1\",\"second:latest\"],[\"other:1\"]]");
    host.run(&["pull", "docker-archive:/run/a.tar"]).fails(
        1,
        "pull: cannot pull docker-archive:/run/a.tar: 2 images in it: give a name, docker-archive:FILE:NAME[:TAG]\n  \
         hint: its names: app:1, second:latest, other:1\n",
    );
    host.run(&["pull", "docker-archive:/run/a.tar:other:1"]).code(0);
    host.run(&["pull", "docker-archive:/run/a.tar:none"])
        .code(1)
        .says("no image none in it\n  hint: its names: app:1");
    host.run(&["pull", "save", "--format=oci", "-o", "/run/save", "app:1", "second", "other:1"]).ok();
    host.sh("jq -c '[.manifests[].annotations[\"org.opencontainers.image.ref.name\"]]' /run/save/index.json")
        .prints("[\"docker.io/library/app:1\",\"latest\",\"docker.io/library/other:1\"]");
    host.run(&["skopeo", "inspect", "--raw", "oci:/run/save:docker.io/library/other:1"]).ok();
}

#[test]
fn what_cannot_be_saved_leaves_nothing() {
    let host = with_image();
    host.run(&["pull", "save", "none"]).fails(1, "pull: cannot save image none: no such image\n");
    host.run(&["pull", "save", "--format=oci", "app:1"]).code(2).says("-o DIR says where to");
    host.sh("mkdir /run/out").ok();
    host.run(&["pull", "save", "--format=oci", "-o", "/run/out", "app:1"])
        .fails(1, "pull: cannot save to /run/out: it exists\n");
    host.sh("for f in /var/lib/gocker/pull/blobs/sha256/*; do printf x >> $f; done").ok();
    for format in ["docker-archive", "oci-archive"] {
        host.run(&["pull", "save", "--format", format, "-o", "/run/out/x", "app:1"])
            .code(1)
            .says("cannot save to /run/out/x: ");
    }
    host.run(&["pull", "save", "--format=oci", "-o", "/run/out/x", "app:1"]).code(1);
    host.sh("ls -A /run/out").prints("");
    host.sh("pull save app:1 | head -c 10 > /dev/null").ok();
}

#[test]
fn an_image_is_inspected_where_it_is() {
    let host = with_image();
    let document = host.run(&["pull", "app:1"]).json();
    let found = host.run(&["pull", "inspect", "app:1"]).json();
    assert_eq!((&found["id"], &found["here"]), (&document["image"]["config"]["digest"], &json!(true)));
    assert_eq!(found["names"], json!(["docker.io/library/app:1"]));
    assert_eq!(found["config"]["config"]["Cmd"], json!(["x"]));
    assert_eq!(found["manifest"]["layers"].as_array().unwrap().len(), 3);
    assert_eq!(found["layers"][1]["unpacked"], 1);
    // One that is only in a registry is not fetched.
    let layout = small_layout(&host, "/run/remote", "remote");
    let layer = layout.layer();
    let server = layout.serve(&host);
    let found = host.run(&["pull", "inspect", &format!("{}/x", server.address)]).json();
    assert_eq!((&found["here"], &found["layers"][0]["digest"]), (&json!(false), &json!(layer)));
    assert!(server.paths().iter().all(|path| !path.ends_with(&layer)));
    assert_eq!(host.run(&["pull", "ls"]).json().as_array().unwrap().len(), 1);
    host.run(&["pull", "tag", "none", "x"]).fails(1, "pull: cannot tag image none: no such image\n");
    host.run(&["pull", "tag", "app:1", "x@sha256:00"]).code(2);
}

#[test]
fn a_lock_file_holds_images_to_their_digests() {
    let host = Host::new();
    small_layout(&host, "/run/oci", "one");
    small_layout(&host, "/run/new", "two");
    let [first, second] = ["/run/oci", "/run/new"].map(|at| Layout::at(host.path(at)));
    let old = first.manifest();
    let moved = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = std::sync::Arc::clone(&moved);
    let server = Server::start(&host, move |request, stream| {
        let last = request.path.rsplit('/').next().unwrap();
        let by_tag = last == "latest" && flag.load(std::sync::atomic::Ordering::SeqCst);
        if by_tag || second.blob(last).is_some() {
            second.answer(request, stream);
        } else {
            first.answer(request, stream);
        }
    });
    let name = format!("{}/x", server.address);
    host.run(&["pull", "-q", "lock", "/run/images.lock", &name]).prints("");
    host.sh("jq -cS . /run/images.lock")
        .prints(&format!("{{\"gocker-lock\":1,\"images\":{{\"{name}:latest\":\"{old}\"}}}}"));
    moved.store(true, std::sync::atomic::Ordering::SeqCst);
    let document = host.run(&["pull", "-q", "--locked", "/run/images.lock", &name]).json();
    assert_eq!(document["image"]["manifest"]["digest"], old);
    assert_eq!(document["image"]["reference"], format!("{name}@{old}"));
    host.run(&["pull", "-q", "--locked", "/run/images.lock", &format!("{name}:other")]).fails(
        1,
        &format!("pull: cannot pull {name}:other: it is not in the lock file\n  hint: pull lock FILE NAME... writes one\n"),
    );
    host.run(&["pull", "--locked", "/run/images.lock", "oci:/run/oci"])
        .code(1)
        .says("it is not an image of a registry");
    host.run(&["pull", "--locked", "/run/none", &name]).code(1).says("cannot read lock file /run/none: ");
    // Without names: all that are here.
    host.run(&["pull", "-q", &name]).ok();
    host.run(&["pull", "-q", "lock", "/run/all.lock"]).prints("");
    host.sh("jq -r '.images | keys[]' /run/all.lock").prints(&format!("{name}:latest"));
}
