//! What is kept: names, ids, removal, processes side by side, and what is left when they are killed.

use std::process::Stdio;

use serde_json::{Value, json};
use tar::EntryType::Regular;
use tests::Host;
use tests::images::{self, Compression};

use super::server::{Layout, Server};
use super::{LAYERS, append, assert_nothing_half_done, lasting, layer_paths, small_layout, tar_with};

fn layout(host: &Host, at: &str, layers: &[&str]) {
    let layer = |content: &&str| (tar_with(|tar| append(tar, "file", Regular, content)), Compression::Gzip);
    images::layout(
        &host.path(at),
        "latest",
        &layers.iter().map(layer).collect::<Vec<_>>(),
        &json!({"Labels": {"k": "v"}}),
    );
}

#[test]
fn images_are_listed_once_for_each_name() {
    let host = Host::new();
    host.run(&["pull", "ls"]).prints("[]");
    layout(&host, "/run/oci", &["1", "22"]);
    host.run(&["pull", "--name", "b", "oci:/run/oci"]).ok();
    let document = host.run(&["pull", "--name", "localhost:5000/a:1", "oci:/run/oci"]).json();
    let listed = host.run(&["pull", "ls"]).json();
    let image = &document["image"];
    let entry = |reference: &str| {
        json!({"id": image["config"]["digest"], "reference": reference, "digests": [], "digest": image["manifest"]["digest"],
            "created": "2026-01-02T03:04:05Z", "platform": "linux/amd64", "labels": {"k": "v"}, "size": 3,
            "layers": [image["layers"][0]["diffID"], image["layers"][1]["diffID"]]})
    };
    assert_eq!(listed, json!([entry("docker.io/library/b:latest"), entry("localhost:5000/a:1")]));
    // One that is broken does not hide the others.
    host.sh("cd /var/lib/gocker/pull/images && echo '{' > e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.json").ok();
    let listed = host.run(&["pull", "ls"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert!(listed.as_array().unwrap().iter().any(|entry| entry["error"].is_string()));
}

#[test]
fn a_local_image_gets_another_name() {
    let host = Host::new();
    small_layout(&host, "/run/oci", "x");
    let one = host.run(&["pull", "--name", "one", "oci:/run/oci"]).json();
    let two = host.run(&["pull", "--name", "two:2", "one"]).json();
    assert_eq!(two["image"]["reference"], "docker.io/library/two:2");
    assert_eq!(two["image"]["config"], one["image"]["config"]);
    assert_eq!(host.run(&["pull", "two:2"]).json(), two);
    let id = one["image"]["config"]["digest"].as_str().unwrap();
    assert_eq!(host.run(&["pull", id]).json()["image"]["reference"], "docker.io/library/one:latest");
}

#[test]
fn an_image_goes_with_its_last_name_and_a_layer_with_its_last_image() {
    let host = Host::new();
    layout(&host, "/run/a", &["shared", "a"]);
    layout(&host, "/run/b", &["shared", "b"]);
    let a = host.run(&["pull", "--name", "a", "oci:/run/a"]).json();
    host.run(&["pull", "--name", "a2", "oci:/run/a"]).ok();
    let b = host.run(&["pull", "--name", "b", "oci:/run/b"]).json();
    let name = |name: &str| format!("docker.io/library/{name}:latest");
    assert_eq!(host.run(&["pull", "rm", "a"]).json(), json!({"untagged": [name("a")], "deleted": []}));
    host.run(&["pull", "--pull=never", "a"]).code(1);
    host.run(&["pull", "a2"]).ok();
    let removed = host.run(&["pull", "rm", "a2"]).json();
    let own = &a["image"]["layers"][1];
    assert_eq!(
        removed,
        json!({"untagged": [name("a2")], "deleted": [a["image"]["config"]["digest"], own["diffID"]]})
    );
    assert!(!host.path(own["path"].as_str().unwrap()).exists());
    assert_eq!(host.run(&["pull", "b"]).json(), b, "the shared layer is still there");
    host.run(&["pull", "rm", "b"]).ok();
    host.run(&["pull", "ls"]).prints("[]");
    host.sh("cd /var/lib/gocker/pull; find . -mindepth 1 -not -name lock | sort | tr '\\n' ' '").prints(
        "./blobs ./blobs/sha256 ./images ./layers ./layers/sha256 ./locks ./names ./partial ./sizes ",
    );
}

#[test]
fn an_id_removes_an_image_of_one_name() {
    let host = Host::new();
    layout(&host, "/run/a", &["a"]);
    let a = host.run(&["pull", "--name", "one", "oci:/run/a"]).json();
    let id = a["image"]["config"]["digest"].as_str().unwrap().to_owned();
    host.run(&["pull", "--name", "two:2", "oci:/run/a"]).ok();
    host.run(&["pull", "rm", &id[7..15]]).fails(
        1,
        &format!(
            "pull: cannot remove image {}: it has several names: one:latest, two:2\n  hint: remove the names one by one, or all with --force\n",
            &id[7..15]
        ),
    );
    let removed = host.run(&["pull", "rm", "--force", &id]).json();
    assert_eq!(removed["untagged"], json!(["docker.io/library/one:latest", "docker.io/library/two:2"]));
    assert_eq!(removed["deleted"].as_array().unwrap().len(), 2);
    host.run(&["pull", "rm", "one"]).fails(1, "pull: cannot remove image one: no such image\n");
    // Of several operands none is removed if one is wrong.
    host.run(&["pull", "--name", "one", "oci:/run/a"]).ok();
    host.run(&["pull", "rm", "one", "none"]).fails(1, "pull: cannot remove image none: no such image\n");
    host.run(&["pull", "one"]).ok();
    assert_eq!(
        host.run(&["pull", "rm", "--untag", "one"]).json(),
        json!({"untagged": ["docker.io/library/one:latest"], "deleted": []})
    );
    let listed = host.run(&["pull", "ls"]).json();
    assert_eq!((listed[0]["id"].as_str(), listed[0].get("reference")), (Some(id.as_str()), None));
    host.run(&["pull", &id[7..19]]).ok();
    assert_eq!(host.run(&["pull", "rm", &id]).json()["deleted"].as_array().unwrap().len(), 2);
}

/// Layers of a pull that failed half way stay for the next one, and go with the next removal.
#[test]
fn layers_that_no_image_has_go_with_the_next_removal() {
    let host = Host::new();
    layout(&host, "/run/a", &["a"]);
    layout(&host, "/run/b", &["b1", "b2"]);
    // As a pull leaves them that is killed between its last layer and its record.
    let b = host.run(&["pull", "oci:/run/b"]).json();
    let id = b["image"]["config"]["digest"].as_str().unwrap().to_owned();
    host.sh(&format!("rm /var/lib/gocker/pull/images/{}.json", &id[7..])).ok();
    host.run(&["pull", "--name", "a", "oci:/run/a"]).ok();
    host.sh(&format!("ls {LAYERS} | wc -l")).prints("3");
    host.run(&["pull", "rm", "a"]).ok();
    host.sh(&format!("ls {LAYERS}")).prints("");
}

#[test]
fn a_beginning_must_be_of_one_id() {
    let host = Host::new();
    // Of 17 images two begin with the same digit.
    let mut ids: Vec<String> = Vec::new();
    for n in 0..17 {
        let at = format!("/run/{n}");
        layout(&host, &at, &[&format!("{n}")]);
        let document = host.run(&["pull", &format!("oci:{at}")]).json();
        ids.push(document["image"]["config"]["digest"].as_str().unwrap()[7..].to_owned());
    }
    ids.sort();
    let first = ids.windows(2).find(|pair| pair[0][..1] == pair[1][..1]).unwrap()[0][..1].to_owned();
    for words in [&["pull", "--pull=never", &first][..], &["pull", "rm", &first]] {
        host.run(words)
            .code(1)
            .says(&format!("cannot find image {first}: it is the beginning of several ids\n"));
    }
}

#[test]
fn a_layer_that_is_mounted_somewhere_is_not_removed() {
    let host = Host::new();
    layout(&host, "/run/a", &["a", "b"]);
    let document = host.run(&["pull", "--name", "a", "oci:/run/a"]).json();
    let lower = layer_paths(&document).join(":");
    // In a mount namespace of its own, which nobody but this process shows.
    let mut user = host.start(&[
        "unshare",
        "-m",
        "sh",
        "-c",
        &format!("mkdir /run/merged && mount -t overlay overlay -o lowerdir={lower} /run/merged && echo mounted && read x"),
    ]);
    user.wait_for_line("mounted");
    let output = host
        .run(&["pull", "rm", "a"])
        .code(1)
        .says(": it is mounted at /run/merged\n  hint: remove the containers that use it first\n");
    assert_eq!(output.stdout, "");
    assert_eq!(host.run(&["pull", "a"]).json(), document);
    user.end();
    host.run(&["pull", "rm", "a"]).ok();
    host.sh("rmdir /run/merged").ok();
}

#[test]
fn eight_at_once_do_the_work_once() {
    let host = Host::new();
    let content = "x".repeat(300_000);
    layout(&host, "/run/oci", &[&content, "2", "3", "4"]);
    let served = Layout::at(host.path("/run/oci"));
    let server = Server::start(&host, move |request, stream| served.answer(request, stream));
    let name = format!("{}/x", server.address);
    let children: Vec<_> = (0..8)
        .map(|_| {
            let mut command = host.command(&["pull", "-q", &name]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for output in &outputs {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let documents: Vec<Value> =
        outputs.iter().map(|output| lasting(serde_json::from_slice(&output.stdout).unwrap())).collect();
    assert!(documents.iter().all(|document| *document == documents[0]));
    let image = &documents[0]["image"];
    for blob in image["layers"].as_array().unwrap().iter().chain([&image["config"]]) {
        let path = blob["digest"].as_str().unwrap();
        assert_eq!(server.paths().iter().filter(|asked| asked.ends_with(path)).count(), 1, "{path}");
    }
    assert_nothing_half_done(&host);
}

#[test]
fn pulls_and_removals_side_by_side_leave_a_store_that_is_whole() {
    let host = Host::new();
    layout(&host, "/run/a", &["shared", "a"]);
    layout(&host, "/run/b", &["shared", "b"]);
    host.sh("for n in 1 2 3 4; do
             (for i in 1 2 3 4 5 6 7 8; do
                 for x in a b; do pull --name $x-$n oci:/run/$x > /run/out-$n-$x || exit 1; done
                 for x in a b; do pull rm $x-$n > /dev/null || exit 1; done
              done) & p=\"$p $!\"
         done
         for q in $p; do wait $q || exit 1; done")
        .ok();
    host.run(&["pull", "ls"]).prints("[]");
    host.sh(&format!("ls -A {LAYERS}")).prints("");
    assert_nothing_half_done(&host);
}

#[test]
fn a_pull_that_was_killed_leaves_nothing_that_the_next_does_not_remove() {
    let host = Host::new();
    layout(&host, "/run/oci", &["1", "2"]);
    layout(&host, "/run/other", &["3"]);
    let argv = ["pull", "--name", "x", "oci:/run/oci"];
    let mut met = 0;
    // Every call by which something comes to be: directories, files, links, what is renamed.
    for call in [
        "mkdir",
        "mkdirat",
        "openat",
        "openat2",
        "symlink",
        "rename",
        "fsync",
        "syncfs",
        "flock",
        "utimensat",
        "unlink",
    ] {
        for when in [1, 2, 3, 5, 8, 13, 21, 34] {
            let Some(output) =
                tests::inject::once(&host, &argv, None, call, tests::inject::Fault::Kill, when)
            else {
                break;
            };
            assert_eq!(output.stdout, "");
            met += 1;
            // Another image's pull cleans up what this one has left half done.
            host.run(&["pull", "oci:/run/other"]).ok();
            assert_nothing_half_done_but_names(&host);
            let document = host.run(&argv).json();
            for path in layer_paths(&document) {
                assert!(host.path(&path).join("file").exists(), "{call} {when}");
            }
            host.run(&["pull", "rm", "x"]).ok();
        }
    }
    assert!(met > 20, "{met}");
}

/// That a manifest is on its way here from somebody else, its lock says.
#[test]
fn what_another_process_is_about_to_store_stays() {
    let host = Host::new();
    layout(&host, "/run/oci", &["1"]);
    layout(&host, "/run/other", &["2"]);
    layout(&host, "/run/third", &["3"]);
    host.run(&["pull", "oci:/run/other"]).ok();
    let hex = "0".repeat(64);
    host.sh(&format!(
        "cd /var/lib/gocker/pull && touch blobs/sha256/{hex}.1.tmp && flock locks/blob-{hex}.lock pull oci:/run/oci \
         > /dev/null && ls blobs/sha256 | grep tmp"
    ))
    .prints(&format!("{hex}.1.tmp"));
    host.run(&["pull", "oci:/run/third"]).ok();
    host.sh("cd /var/lib/gocker/pull; ls blobs/sha256 | grep tmp; ls locks").prints("");
}

/// As [`assert_nothing_half_done`], but temporary files of a few hundred bytes may be left.
fn assert_nothing_half_done_but_names(host: &Host) {
    host.sh(&format!(
        "cd /var/lib/gocker/pull; ls -A {LAYERS} | grep partial; ls -A sizes | grep tmp; ls -A locks"
    ))
    .prints("");
}

#[test]
fn a_pull_that_fails_anywhere_says_so_and_leaves_nothing() {
    let host = Host::new();
    layout(&host, "/run/oci", &["1"]);
    let argv = ["pull", "--name", "x", "oci:/run/oci"];
    let mut met = 0;
    for call in [
        "mkdirat",
        "mkdir",
        "symlink",
        "rename",
        "fsync",
        "syncfs",
        "utimensat",
        "clone3",
        "write",
        "pwrite64",
        "getdents64",
    ] {
        for when in 1..40 {
            let fault = tests::inject::Fault::Error("EIO");
            let Some(output) = tests::inject::once(&host, &argv, None, call, fault, when) else { break };
            met += 1;
            if output.code != 0 {
                assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{call} {when}\n{output}");
                assert_eq!(
                    output.stderr.lines().filter(|line| line.starts_with("pull: ")).count(),
                    1,
                    "{call} {when}\n{output}"
                );
            }
            assert_nothing_half_done(&host);
            host.sh(&format!("ls -d {LAYERS}/*/file > /dev/null 2>&1 || test -z \"$(ls -A {LAYERS} 2>&1)\" || ! test -e {LAYERS}")).ok();
            host.sh("rm -rf /var/lib/gocker/pull").ok();
        }
    }
    assert!(met > 15, "{met}");
}

#[test]
fn the_section_is_as_its_schema_says() {
    let host = Host::new();
    layout(&host, "/run/oci", &["1", "2"]);
    host.sh("mkdir /run/tree").ok();
    for source in ["oci:/run/oci", "rootfs:/run/tree"] {
        let line = host.run(&["pull", source]).ok();
        assert!(
            line.starts_with("{\"gocker\":1,\"image\":{")
                && line.ends_with("}\n")
                && line.lines().count() == 1
        );
        tests::schema::check(&serde_json::from_str(&line).unwrap(), "image");
    }
}

/// The configuration is the image's own, to the last digit.
#[test]
fn the_configuration_passes_through_verbatim() {
    let host = Host::new();
    layout(&host, "/run/oci", &["1"]);
    host.sh(
        r#"cd /run/oci/blobs/sha256 && replace() { h=$(sha256sum < $1 | cut -c1-64); n=$(stat -c %s $1); mv $1 $h; }
        m=$(jq -r '.manifests[0].digest[7:]' ../../index.json); c=$(jq -r '.config.digest[7:]' $m)
        jq --indent 3 '. + {"extra": {"number": 12345678901234567890123, "small": 1e-400, "text": "a  b\u00e9\n"}}' $c > new-c
        sed -i 's/"number": .*,/"number": 12345678901234567890123.10,/' new-c
        replace new-c; jq -c --arg h sha256:$h --argjson n $n '.config.digest = $h | .config.size = $n' $m > new-m
        replace new-m; jq -c --arg h sha256:$h --argjson n $n '.manifests[0].digest = $h | .manifests[0].size = $n' ../../index.json > i && mv i ../../index.json"#,
    )
    .ok();
    let line = host.run(&["pull", "oci:/run/oci"]).ok();
    assert_eq!(line.lines().count(), 1);
    assert!(line.contains("\"number\":12345678901234567890123.10,"), "{line}");
    assert_eq!(host.run(&["pull", "oci:/run/oci"]).ok(), line);
}

#[test]
fn undo_has_nothing_to_do() {
    let host = Host::new();
    let id = tests::new_id();
    host.run(&["pull", "undo", &id]).prints("");
    host.run(&["pull", "undo", &id]).prints("");
    host.run(&["pull", "undo", "short"]).code(2);
}

#[test]
fn verbose_shows_what_is_done() {
    let host = Host::new();
    layout(&host, "/run/oci", &["1"]);
    let output = host.run(&["pull", "-v", "--name", "x", "oci:/run/oci"]).code(0);
    assert!(output.stderr.starts_with("+ tar --extract --xattrs --directory "), "{output}");
    let output = host.run(&["pull", "-v", "rm", "x"]).code(0);
    assert!(
        output.stderr.starts_with("+ rm /var/lib/gocker/pull/names/docker.io/library/x:latest\n+ rm ")
            && output.stderr.contains("\n+ rm -r "),
        "{output}"
    );
}

/// An image that is here costs no thread, no socket, and few files.
#[test]
fn what_is_here_is_answered_at_once() {
    let host = Host::new();
    layout(&host, "/run/oci", &["1", "2"]);
    host.run(&["pull", "--name", "x", "oci:/run/oci"]).ok();
    let output = host
        .run(&["strace", "-f", "-qq", "-e", "trace=openat,socket,clone,clone3,flock", "pull", "x"])
        .code(0);
    let opened: Vec<&str> = output.stderr.lines().filter(|line| line.contains("/var/lib/gocker")).collect();
    assert_eq!(opened.len(), 1, "{output}");
    for call in ["socket(", "clone(", "clone3(", "flock("] {
        assert!(!output.stderr.contains(call), "{output}");
    }
}
