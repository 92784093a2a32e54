//! What becomes of a store that is damaged, and what takes room in it.

use serde_json::{Value, json};
use tests::Host;
use tests::images::{self, Compression};

use super::server::{Layout, Server};
use super::tree::Tree;
use super::{LAYERS, append, assert_nothing_half_done, layer_paths, small_layout, tar_with};

const STORE: &str = "/var/lib/gocker/pull";

/// A registry with an image of two layers, pulled.
fn pulled(host: &Host) -> (Server, Value) {
    let layer = |content: &str| {
        (tar_with(|tar| append(tar, "file", tar::EntryType::Regular, content)), Compression::Gzip)
    };
    images::layout(&host.path("/run/oci"), "latest", &[layer("one"), layer("two")], &json!({"Cmd": ["x"]}));
    let server = Layout::at(host.path("/run/oci")).serve(host);
    let document = host.run(&["pull", "-q", &format!("{}/x", server.address)]).json();
    (server, document)
}

/// fsck finds this kind of problem, puts it right, and then finds nothing.
#[track_caller]
fn repaired(damage: &str, kind: &str, problem: &str) {
    let host = Host::new();
    let (_server, document) = pulled(&host);
    let layer = host.path(&layer_paths(&document)[0]);
    let before = Tree::of(&layer);
    host.sh("pull -q fsck | jq -c .problems").prints("[]");
    let hex = |value: &Value| value.as_str().unwrap()[7..].to_owned();
    let image = &document["image"];
    let script = damage
        .replace("LAYER", &layer_paths(&document)[0])
        .replace("BLOB", &format!("{STORE}/blobs/sha256/{}", hex(&image["layers"][0]["digest"])))
        .replace("CONFIG", &format!("{STORE}/blobs/sha256/{}", hex(&image["config"]["digest"])))
        .replace("MANIFEST", &format!("{STORE}/blobs/sha256/{}", hex(&image["manifest"]["digest"])))
        .replace("RECORD", &format!("{STORE}/images/{}.json", hex(&image["config"]["digest"])));
    host.sh(&script).ok();
    let shown = host.run(&["pull", "-q", "fsck", "-n"]).code(1);
    let findings: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(findings["problems"].as_array().unwrap().len(), 1, "{damage}: {findings}");
    assert_eq!(
        (&findings["problems"][0]["kind"], &findings["problems"][0]["repaired"]),
        (&json!(kind), &json!(false))
    );
    let text = findings["problems"][0]["problem"].as_str().unwrap();
    assert!(text.contains(problem), "{damage}: {text:?} lacks {problem:?}");
    let fixed = host.run(&["pull", "-q", "fsck"]).json();
    assert_eq!(fixed["problems"][0]["repaired"], true, "{damage}: {fixed}");
    host.sh("pull -q fsck | jq -c .problems").prints("[]");
    Tree::of(&layer).assert_same(&before);
    assert_nothing_half_done(&host);
}

#[test]
fn what_is_broken_is_found_and_fetched_again() {
    repaired("printf x >> BLOB", "blob", "larger than the ");
    repaired("rm BLOB", "blob", ": open: No such file");
    repaired("rm -r LAYER", "layer", "it is gone");
    repaired("printf x >> CONFIG", "image", "larger than the ");
    repaired("rm MANIFEST", "image", ": open: No such file");
    repaired("echo '{' > RECORD", "image", "cannot read ");
}

#[test]
fn a_layer_is_compared_in_every_respect() {
    repaired(
        "printf ONE | dd of=LAYER/file conv=notrunc status=none; touch -d @1 LAYER/file",
        "layer",
        "/file: content",
    );
    repaired("chmod 600 LAYER/file", "layer", "/file: mode");
    repaired("chown 5 LAYER/file", "layer", "/file: owner");
    repaired("touch LAYER/file", "layer", "/file: time");
    repaired("setfattr -n user.x -v y LAYER/file", "layer", "/file: extended attributes");
    repaired("ln LAYER/file LAYER/more", "layer", "/: more is too much");
    repaired("rm LAYER/file; ln -s x LAYER/file; touch -d @0 LAYER", "layer", "/file: another kind of file");
}

#[test]
fn what_cannot_be_put_right_is_told() {
    let host = Host::new();
    let (server, document) = pulled(&host);
    drop(server);
    let blob = document["image"]["layers"][0]["digest"].as_str().unwrap();
    host.sh(&format!("printf x >> {STORE}/blobs/sha256/{}", &blob[7..])).ok();
    let output = host.run(&["pull", "-q", "--retry=0", "fsck"]).code(1);
    let findings: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(findings["problems"][0]["repaired"], false);
    assert!(findings["problems"][0]["error"].as_str().unwrap().contains("Connection refused"), "{findings}");
    // The layer itself is as good as before.
    host.sh(&format!("cat {}/file", layer_paths(&document)[0])).prints("one");
}

#[test]
fn layers_that_were_made_here_are_checked_by_their_digests() {
    let host = Host::new();
    host.sh("mkdir -p /run/tree && echo x > /run/tree/f && pull --name made rootfs:/run/tree > /dev/null && pull -q fsck | jq -c .problems")
        .prints("[]");
    host.sh(&format!("for f in {LAYERS}/*/f; do echo y > $f; done")).ok();
    host.sh("pull -q fsck -n | jq -c '[.problems[].kind]'").prints("[\"blob\"]");
}

#[test]
fn a_layer_in_use_is_not_replaced() {
    let host = Host::new();
    let (_server, document) = pulled(&host);
    let path = &layer_paths(&document)[0];
    host.sh(&format!("chmod 600 {path}/file && mkdir /run/empty /run/merged")).ok();
    host.sh(&format!("mount -t overlay overlay -o lowerdir={path}:/run/empty /run/merged")).ok();
    let output = host.run(&["pull", "-q", "fsck"]).code(1);
    assert!(output.stdout.contains("it is mounted at /run/merged"), "{output}");
    host.sh("umount /run/merged && pull -q fsck | jq -c '[.problems[].repaired]'").prints("[true]");
}

#[test]
fn garbage_is_what_no_image_needs() {
    let host = Host::new();
    host.run(&["pull", "gc"]).prints("[]");
    let (_server, _document) = pulled(&host);
    host.run(&["pull", "gc"]).prints("[]");
    let digest = |c: &str| c.repeat(64);
    host.sh(&format!(
        "mkdir -p {LAYERS}/{0}/x && head -c 9000 /dev/zero > {STORE}/blobs/sha256/{1} && head -c 5000 /dev/zero > {STORE}/partial/{2}",
        digest("a"),
        digest("b"),
        digest("c")
    ))
    .ok();
    let listed = host.run(&["pull", "gc", "-n"]).json();
    let kinds: Vec<&str> =
        listed.as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["layer", "blob", "partial"]);
    assert_eq!((&listed[1]["bytes"], &listed[2]["bytes"]), (&json!(12288), &json!(8192)));
    assert_eq!(host.run(&["pull", "gc"]).json(), listed);
    host.run(&["pull", "gc"]).prints("[]");
    host.sh("pull -q fsck | jq -c .problems").prints("[]");
    assert_nothing_half_done(&host);
}

#[test]
fn sizes_add_up_to_what_du_says() {
    let host = Host::new();
    pulled(&host);
    host.run(&["pull", "--name", "busybox", &format!("oci:{}", images::layouts().join("busybox").display())])
        .ok();
    small_layout(&host, "/run/more", "more");
    host.run(&["pull", "oci:/run/more"]).ok();
    let sum = host.sh("pull ls --disk | jq '[.[].bytes] | add'").ok();
    host.sh(&format!("du -s --block-size=1 {STORE} | cut -f1")).prints(sum.trim_end());
    let listed = host.run(&["pull", "ls", "--disk"]).json();
    let with_images = listed.as_array().unwrap().iter().filter(|item| item.get("images").is_some()).count();
    assert_eq!(
        with_images,
        listed.as_array().unwrap().len() - 1,
        "everything but records and directories has an image"
    );
}
