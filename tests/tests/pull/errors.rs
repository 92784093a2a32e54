//! Wrong input: one error that says what, and nothing is left.

use serde_json::{Value, json};
use tar::EntryType::Regular;
use tests::Host;
use tests::images::{self, Compression};
use tests::registry::Registry;

use super::server::{Answered, Layout, Server, respond};
use super::{append, assert_nothing_half_done, small_layout, tar_with};

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn an_unknown_image_is_the_registrys_word() {
    let host = Host::new();
    let registry = Registry::shared(&host);
    let url = format!("http://{}/v2", registry.address);
    let name = format!("{}/none", registry.address);
    host.run(&["pull", "-q", &name]).fails(
        1,
        &format!("pull: cannot pull {name}:latest: GET {url}/none/manifests/latest: manifest unknown\n"),
    );
    let name = format!("{}/busybox", registry.address);
    host.run(&["pull", "-q", &format!("{name}:none")]).fails(
        1,
        &format!("pull: cannot pull {name}:none: GET {url}/busybox/manifests/none: manifest unknown\n"),
    );
    host.run(&["pull", "-q", &format!("{name}@sha256:{HEX}")]).fails(
        1,
        &format!("pull: cannot pull {name}@sha256:{HEX}: GET {url}/busybox/manifests/sha256:{HEX}: manifest unknown\n"),
    );
    host.run(&["pull", "ls"]).prints("[]");
}

#[test]
fn an_unreachable_registry_is_named() {
    let host = Host::new();
    host.run(&["pull", "-q", "--retry=0", "127.0.0.1:1/x"]).fails(
        1,
        "pull: cannot pull 127.0.0.1:1/x:latest: GET http://127.0.0.1:1/v2/x/manifests/latest: Connection refused (os error 111)\n",
    );
    host.run(&["pull", "-q", "--retry=0", "192.0.2.1:5000/x"]).fails(
        1,
        "pull: cannot pull 192.0.2.1:5000/x:latest: GET https://192.0.2.1:5000/v2/x/manifests/latest: Network is unreachable \
         (os error 101)\n",
    );
    host.run(&["pull", "-q", "--retry=0", "no-such-host.invalid/x"])
        .code(1)
        .says("GET https://no-such-host.invalid/v2/x/manifests/latest: ");
}

#[test]
fn what_is_not_a_reference_is_wrong_usage() {
    let host = Host::new();
    host.run(&["pull", "Alpine"]).fails(2, "pull: cannot pull Alpine: a repository name is in lower case\n");
    host.run(&["pull", "alpine:"]).fails(2, "pull: cannot pull alpine:: \"\" is not a tag\n");
    host.run(&["pull", "alpine@sha512:00"]).fails(
        2,
        "pull: cannot pull alpine@sha512:00: digest algorithm \"sha512\" is not supported, only sha256\n",
    );
    host.run(&["pull", HEX])
        .fails(2, &format!("pull: cannot pull {HEX}: 64 hex digits are an image's id, not a name\n"));
    host.run(&["pull"]).code(2);
    host.run(&["pull", "alpine", "ls"]).fails(2, "pull: an image or a verb, not both\n");
    host.run(&["pull", "--pull=often", "alpine"]).code(2);
    let by_digest = format!("x@sha256:{HEX}");
    host.run(&["pull", "--name", &by_digest, "alpine"]).code(2).says("a new name has a tag, not a digest");
}

#[test]
fn only_root_unpacks() {
    let host = Host::new();
    small_layout(&host, "/run/oci", "x");
    let mut words = vec!["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
    words.extend(["pull", "oci:/run/oci"]);
    host.run(&words)
        .fails(1, "pull: cannot change the host: not root\n  hint: run it as root, or with sudo\n");
}

/// What a registry sends in place of the image's layer, and what pull must say.
#[track_caller]
fn served_instead(change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static, why: &str) {
    let host = Host::new();
    let layout = small_layout(&host, "/run/oci", &"content ".repeat(1000));
    let digest = layout.layer();
    let server = layout.serve_but(&host, move |_, _, stream, blob| {
        respond(stream, "200 OK", &[], &change(blob.to_vec()));
        Answered::Yes
    });
    let name = format!("{}/x", server.address);
    host.run(&["pull", "-q", "--retry=0", &name])
        .fails(1, &format!("pull: cannot pull {name}:latest: layer {digest}: {why}\n"));
    host.run(&["pull", "ls"]).prints("[]");
    assert_nothing_half_done(&host);
}

#[test]
fn a_layer_with_other_content_is_refused() {
    let flip = |mut blob: Vec<u8>| {
        let middle = blob.len() / 2;
        blob[middle] ^= 1;
        blob
    };
    let host = Host::new();
    let layout = small_layout(&host, "/run/oci", &"content ".repeat(1000));
    let flipped = images::digest(&flip(layout.blob(&layout.layer()).unwrap()));
    served_instead(flip, &format!("digest mismatch: content is {flipped}"));
    // The size is looked at, too: what is too long is cut off, whatever it would hash to.
    let size = layout.blob(&layout.layer()).unwrap().len();
    served_instead(|blob| [blob, vec![0]].concat(), &format!("larger than the {size} bytes announced"));
    served_instead(
        move |blob| blob[..size - 10].to_vec(),
        &format!("truncated: {} bytes instead of {size}", size - 10),
    );
    served_instead(|_| Vec::new(), &format!("truncated: 0 bytes instead of {size}"));
}

/// Changes the JSON of the image's manifest or configuration, and what leads to it.
fn with_changed(host: &Host, change_manifest: impl Fn(&mut Value), change_config: impl Fn(&mut Value)) {
    small_layout(host, "/run/oci", "x");
    let blobs = host.path("/run/oci/blobs/sha256");
    let read =
        |path: &std::path::Path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let put = |value: &Value| {
        let bytes = serde_json::to_vec(value).unwrap();
        let digest = images::digest(&bytes);
        std::fs::write(blobs.join(&digest[7..]), &bytes).unwrap();
        (json!(digest), json!(bytes.len()))
    };
    let index_path = host.path("/run/oci/index.json");
    let mut index = read(&index_path);
    let hex = |descriptor: &Value| descriptor["digest"].as_str().unwrap()[7..].to_owned();
    let mut manifest = read(&blobs.join(hex(&index["manifests"][0])));
    let mut config = read(&blobs.join(hex(&manifest["config"])));
    change_config(&mut config);
    (manifest["config"]["digest"], manifest["config"]["size"]) = put(&config);
    change_manifest(&mut manifest);
    (index["manifests"][0]["digest"], index["manifests"][0]["size"]) = put(&manifest);
    std::fs::write(index_path, serde_json::to_vec(&index).unwrap()).unwrap();
}

#[track_caller]
fn malformed(change_manifest: impl Fn(&mut Value), change_config: impl Fn(&mut Value), why: &str) {
    let host = Host::new();
    with_changed(&host, change_manifest, change_config);
    let output =
        host.run(&["pull", "oci:/run/oci"]).code(1).says(&format!("pull: cannot pull oci:/run/oci: {why}"));
    assert_eq!((output.stderr.lines().count(), output.stdout.as_str()), (1, ""), "{output}");
    host.run(&["pull", "ls"]).prints("[]");
    assert_nothing_half_done(&host);
}

#[test]
fn malformed_manifests_and_configurations_are_refused() {
    let same = |_: &mut Value| {};
    malformed(|m| *m = json!([]), same, "malformed manifest: ");
    malformed(|m| m["schemaVersion"] = json!(1), same, "malformed manifest: schemaVersion is not 2\n");
    malformed(
        |m| drop(m.as_object_mut().unwrap().remove("layers")),
        same,
        "malformed manifest: missing field `layers`",
    );
    malformed(|m| m["layers"][0]["digest"] = json!("sha256:../../x"), same, "malformed manifest: ");
    malformed(
        |m| m["layers"][0]["digest"] = json!(format!("sha512:{HEX}{HEX}")),
        same,
        "malformed manifest: digest algorithm",
    );
    malformed(|m| m["layers"][0]["size"] = json!(-1), same, "malformed manifest: ");
    malformed(
        |m| m["layers"][0]["mediaType"] = json!("text/plain"),
        same,
        "layers of media type \"text/plain\" are not supported\n",
    );
    malformed(
        |m| m["config"]["mediaType"] = json!("application/x"),
        same,
        "not a container image but application/x\n",
    );
    malformed(
        |m| m["mediaType"] = json!("application/x"),
        same,
        "malformed manifest: media type \"application/x\" is not supported\n",
    );
    malformed(|m| m["layers"] = json!([]), same, "malformed image: 1 diffIDs for 0 layers\n");
    malformed(same, |c| *c = json!({}), "malformed configuration: ");
    malformed(same, |c| c["rootfs"]["diff_ids"] = json!(["x"]), "malformed configuration: ");
    malformed(same, |c| c["rootfs"]["diff_ids"] = json!([]), "malformed image: 0 diffIDs for 1 layers\n");
}

#[test]
fn a_wrong_diff_id_is_refused() {
    let host = Host::new();
    with_changed(&host, |_| {}, |config| config["rootfs"]["diff_ids"] = json!([format!("sha256:{HEX}")]));
    let layout = Layout::at(host.path("/run/oci"));
    let tar = tar_with(|tar| append(tar, "file", Regular, "x"));
    host.run(&["pull", "oci:/run/oci"]).fails(
        1,
        &format!(
            "pull: cannot pull oci:/run/oci: layer {}: diffID mismatch: content is {}, not sha256:{HEX}\n",
            layout.layer(),
            images::digest(&tar)
        ),
    );
    host.sh("ls -A /var/lib/gocker/pull/layers/sha256").prints("");
    assert_nothing_half_done(&host);
}

#[test]
fn a_manifest_with_other_content_is_refused() {
    let host = Host::new();
    small_layout(&host, "/run/oci", "x");
    let layout = Layout::at(host.path("/run/oci"));
    let digest = layout.manifest();
    let server = Server::start(&host, move |request, stream| {
        if request.path.contains("/manifests/") {
            let mut bytes = layout.blob(&layout.manifest()).unwrap();
            bytes.push(b'\n');
            respond(stream, "200 OK", &[("Docker-Content-Digest", &layout.manifest())], &bytes);
        } else {
            layout.answer(request, stream);
        }
    });
    let name = format!("{}/x", server.address);
    host.run(&["pull", "-q", &format!("{name}@{digest}")])
        .code(1)
        .says("manifest: digest mismatch: content is sha256:");
    host.run(&["pull", "-q", &name]).code(1).says(&format!("announced as {digest}"));
}

#[test]
fn manifests_have_a_limit() {
    let host = Host::new();
    let server = Server::start(&host, |_, stream| respond(stream, "200 OK", &[], &vec![b' '; 5 << 20]));
    let name = format!("{}/x", server.address);
    host.run(&["pull", "-q", &name]).fails(
        1,
        &format!("pull: cannot pull {name}:latest: GET http://{}/v2/x/manifests/latest: the answer has more than 4194304 bytes\n", server.address),
    );
}

#[test]
fn an_error_of_the_server_is_shown_without_what_a_terminal_obeys() {
    let host = Host::new();
    let server = Server::start(&host, |request, stream| match request.path.as_str() {
        "/v2/a/manifests/latest" => respond(stream, "500 Internal Server Error", &[], b"<html>"),
        "/v2/b/manifests/latest" => {
            let body = br#"{"errors":[{"code":"X","message":"a\u001b[31mb\nc"}]}"#;
            respond(stream, "400 Bad Request", &[], body);
        }
        _ => respond(stream, "429 Too Many Requests", &[("Retry-After", "7")], b""),
    });
    let url = format!("http://{}/v2", server.address);
    let name = server.address.as_str();
    host.run(&["pull", "-q", "--retry=0", &format!("{name}/a")]).fails(
        1,
        &format!(
            "pull: cannot pull {name}/a:latest: GET {url}/a/manifests/latest: 500 Internal Server Error\n"
        ),
    );
    host.run(&["pull", "-q", &format!("{name}/b")])
        .fails(1, &format!("pull: cannot pull {name}/b:latest: GET {url}/b/manifests/latest: a [31mb c\n"));
    host.run(&["pull", "-q", "--retry=0", &format!("{name}/c")]).fails(
        1,
        &format!("pull: cannot pull {name}/c:latest: GET {url}/c/manifests/latest: 429 Too Many Requests\n  hint: try again in 7 s\n"),
    );
}

#[test]
fn of_several_bad_layers_one_is_reported() {
    let host = Host::new();
    let layer = |n: u8| (tar_with(|tar| append(tar, &format!("{n}"), Regular, "x")), Compression::Gzip);
    images::layout(&host.path("/run/oci"), "latest", &(0..8).map(layer).collect::<Vec<_>>(), &json!({}));
    host.sh("cd /run/oci/blobs/sha256; for f in *; do head -c 2 $f | grep -q '{' || : > $f; done").ok();
    let output = host.run(&["pull", "oci:/run/oci"]).code(1);
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
    assert!(output.stderr.contains(": truncated: 0 bytes instead of "), "{output}");
    assert_nothing_half_done(&host);
}
