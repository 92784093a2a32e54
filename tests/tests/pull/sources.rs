//! Images that do not come from a registry: layouts, docker's archives, directories and tar files.

use serde_json::json;
use tar::EntryType::Regular;
use tests::Host;
use tests::images::{self, Compression};

use super::tree::Tree;
use super::{append, assert_nothing_half_done, layer_paths, small_layout, tar_with};

#[test]
fn a_layout_is_read_by_tag() {
    let host = Host::new();
    host.sh("mkdir -p /run/tree/bin && printf v1 > /run/tree/bin/app && umoci init --layout /run/with:colon && umoci new --image /run/with:colon:v1").code(1);
    host.sh(
        "umoci init --layout /run/oci && umoci new --image /run/oci:v1 && umoci insert --image /run/oci:v1 /run/tree/bin/app /app \
         && umoci config --image /run/oci:v1 --tag v2 --config.env A=B",
    )
    .ok();
    let one = host.run(&["pull", "--name", "one", "oci:/run/oci:v1"]).json();
    let two = host.run(&["pull", "oci:/run/oci:v2"]).json();
    assert_eq!(one["image"]["reference"], "docker.io/library/one:latest");
    assert_eq!(two["image"]["reference"], "oci:/run/oci:v2");
    assert_eq!(two["image"]["spec"]["config"]["Env"].as_array().unwrap().last(), Some(&json!("A=B")));
    assert_eq!(layer_paths(&one), layer_paths(&two));
    assert_eq!(std::fs::read_to_string(host.path(&layer_paths(&one)[0]).join("app")).unwrap(), "v1");
    assert_eq!(host.run(&["pull", "one"]).json(), one);
    host.run(&["pull", "oci:/run/oci"])
        .fails(1, "pull: cannot pull oci:/run/oci: 2 images in it: give a tag, oci:DIR:TAG\n");
    host.run(&["pull", "oci:/run/oci:v3"]).fails(
        1,
        "pull: cannot pull oci:/run/oci:v3: no image with tag \"v3\" in it\n  hint: its tags: v1, v2\n",
    );
    host.run(&["pull", "oci:/run/none"])
        .fails(1, "pull: cannot pull oci:/run/none: open /run/none/index.json: No such file or directory (os error 2)\n");
}

#[test]
fn a_layout_that_changes_is_looked_at_again() {
    let host = Host::new();
    small_layout(&host, "/run/oci", "one");
    let one = host.run(&["pull", "--name", "x", "oci:/run/oci"]).json();
    host.sh("rm -r /run/oci").ok();
    small_layout(&host, "/run/oci", "two");
    let two = host.run(&["pull", "--name", "x", "oci:/run/oci"]).json();
    assert_ne!(one["image"]["layers"], two["image"]["layers"]);
    assert_eq!(host.run(&["pull", "x"]).json(), two);
}

#[test]
fn an_archive_of_docker_is_an_image() {
    let host = Host::new();
    let layer = |content: &str| (tar_with(|tar| append(tar, "file", Regular, content)), Compression::Gzip);
    images::layout(
        &host.path("/run/oci"),
        "latest",
        &[layer("1"), layer("2"), layer("1")],
        &json!({"Cmd": ["x"]}),
    );
    host.run(&[
        "skopeo",
        "copy",
        "-q",
        "--insecure-policy",
        "oci:/run/oci:latest",
        "docker-archive:/run/a.tar:user/app:1.2",
    ])
    .ok();
    let document = host.run(&["pull", "docker-archive:/run/a.tar"]).json();
    assert_eq!(document["image"]["reference"], "docker.io/user/app:1.2");
    assert_eq!(document["image"]["spec"]["config"]["Cmd"], json!(["x"]));
    let contents: Vec<String> = layer_paths(&document)
        .iter()
        .map(|path| std::fs::read_to_string(host.path(path).join("file")).unwrap())
        .collect();
    assert_eq!(contents, ["1", "2", "1"]);
    assert_eq!(host.run(&["pull", "user/app:1.2"]).json(), document);
    // The same layers as the layout's: nothing is unpacked again.
    let of_layout = host.run(&["pull", "oci:/run/oci"]).json();
    assert_eq!(layer_paths(&of_layout), layer_paths(&document));
    let again = host.run(&["pull", "--name", "other", "docker-archive:/run/a.tar"]).json();
    assert_eq!(again["image"]["manifest"], document["image"]["manifest"]);
    host.sh(
        "gzip -k /run/a.tar; zstd -q /run/a.tar; printf x > /run/bad.tar; tar -cf /run/empty.tar -C /run oci",
    )
    .ok();
    for name in ["a.tar.gz", "a.tar.zst"] {
        assert_eq!(host.run(&["pull", &format!("docker-archive:/run/{name}")]).json(), document);
    }
    assert_eq!(host.sh("cat /run/a.tar | pull docker-archive:/dev/stdin").json(), document);
    host.run(&["pull", "docker-archive:/run/bad.tar"])
        .fails(1, "pull: cannot pull docker-archive:/run/bad.tar: malformed tar: it ends inside a header\n");
    host.run(&["pull", "docker-archive:/run/empty.tar"])
        .fails(1, "pull: cannot pull docker-archive:/run/empty.tar: \"manifest.json\" is not in it\n");
}

#[test]
fn an_archive_may_have_compressed_layers_and_links() {
    let host = Host::new();
    small_layout(&host, "/run/oci", "x");
    host.sh(
        r#"cd /run && m=$(jq -r '.manifests[0].digest[7:]' oci/index.json) && c=$(jq -r '.config.digest[7:]' oci/blobs/sha256/$m)
        l=$(jq -r '.layers[0].digest[7:]' oci/blobs/sha256/$m) && mkdir -p ar/a ar/b && cp oci/blobs/sha256/$c ar/c.json
        cp oci/blobs/sha256/$l ar/b/layer.tar && ln -s ../b/layer.tar ar/a/layer.tar
        echo '[{"Config":"c.json","RepoTags":null,"Layers":["a/layer.tar"]}]' > ar/manifest.json
        tar -cf ar.tar -C ar ."#,
    )
    .ok();
    let document = host.run(&["pull", "docker-archive:/run/ar.tar"]).json();
    assert_eq!(document["image"]["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    assert_eq!(document["image"]["reference"], "docker-archive:/run/ar.tar");
    assert_eq!(layer_paths(&document), layer_paths(&host.run(&["pull", "oci:/run/oci"]).json()));
}

#[test]
fn a_directory_becomes_an_image_of_one_layer() {
    let host = Host::new();
    host.sh(
        "mkdir -p /run/tree/a/b /run/tree/mnt && cd /run/tree && echo x > a/f && ln a/f a/hard && ln -s f a/link && mkfifo fifo && \
         mknod null c 1 3 && chown 5:6 a/b && chmod 4711 a/f && chmod 1777 a && touch -d '2001-02-03 04:05:06.789' a/f a/b && \
         touch -h -d '1960-01-01 00:00:00.5 UTC' a/link && mount -t tmpfs -o mode=755 x mnt && touch mnt/hidden && \
         n=$(printf 'n%.0s' $(seq 240)) && mkdir -p $n/$n && echo d > $n/$n/$n && setcap cap_chown+ep a/f && \
         python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")'",
    )
    .ok();
    super::tree::set_xattr(&host.path("/run/tree/a"), "user.x", b"a\nb");
    let document = host.run(&["pull", "--name", "dir:1", "rootfs:/run/tree"]).json();
    let image = &document["image"];
    assert_eq!(image["reference"], "docker.io/library/dir:1");
    assert_eq!((&image["spec"]["os"], &image["spec"]["architecture"]), (&json!("linux"), &json!("amd64")));
    assert_eq!(image["layers"][0]["digest"], image["layers"][0]["diffID"]);
    // A mount point is an empty directory, and a socket has no place in an image.
    host.sh("cd /run/tree && umount mnt && rm sock && touch -d @0 mnt . ").ok();
    let layer = host.path(&layer_paths(&document)[0]);
    let times =
        std::process::Command::new("touch").args(["-d", "@0"]).arg(layer.join("mnt")).arg(&layer).status();
    assert!(times.unwrap().success());
    Tree::of(&layer).assert_same(&Tree::of(&host.path("/run/tree")));
    assert_eq!(host.run(&["pull", "dir:1"]).json(), document);
    assert_nothing_half_done(&host);
}

#[test]
fn the_same_tree_is_the_same_layer() {
    let host = Host::new();
    host.sh("mkdir -p /run/a/x && echo y > /run/a/x/y && find /run/a -exec touch -d @5 {} + && cp -a /run/a /run/b").ok();
    let [a, b] = ["rootfs:/run/a", "rootfs:/run/b"].map(|source| host.run(&["pull", source]).json());
    assert_eq!(a["image"]["config"], b["image"]["config"]);
    host.sh("ls /var/lib/gocker/pull/layers/sha256 | wc -l").prints("1");
    host.run(&["pull", "rootfs:/run/none"]).fails(
        1,
        "pull: cannot pull rootfs:/run/none: stat /run/none: No such file or directory (os error 2)\n",
    );
    host.sh("touch /run/a/.wh.x").ok();
    host.run(&["pull", "rootfs:/run/a"]).fails(
        1,
        "pull: cannot pull rootfs:/run/a: cannot add /run/a/.wh.x: in a layer, a name that begins with .wh. hides another\n",
    );
    assert_nothing_half_done(&host);
}

#[test]
fn a_tar_file_becomes_an_image_of_one_layer() {
    let host = Host::new();
    host.sh("mkdir -p /run/tree/bin && echo x > /run/tree/bin/x && tar -C /run/tree -cf /run/t.tar . && gzip -k /run/t.tar && zstd -q /run/t.tar").ok();
    let documents = ["t.tar", "t.tar.gz", "t.tar.zst"]
        .map(|name| host.run(&["pull", &format!("rootfs:/run/{name}")]).json());
    for document in &documents {
        assert_eq!(document["image"]["config"], documents[0]["image"]["config"]);
        let blob = document["image"]["layers"][0]["digest"].as_str().unwrap();
        host.sh(&format!("sha256sum < /var/lib/gocker/pull/blobs/sha256/{}", &blob[7..]))
            .prints(&format!("{}  -", &blob[7..]));
        assert!(host.path(&layer_paths(document)[0]).join("bin/x").exists());
    }
}
