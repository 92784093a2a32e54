//! Images of registries: docker-registry, and servers with tricks.

use serde_json::json;
use tar::EntryType::Regular;
use tests::Host;
use tests::images::{self, Compression};
use tests::registry::Registry;

use super::server::{Answered, Layout, Server, hang, respond, respond_in_part};
use super::{append, assert_nothing_half_done, lasting, layer_paths, small_layout, tar_with};

#[test]
fn an_image_of_a_registry_is_told_as_docker_does() {
    let host = Host::new();
    let registry = Registry::shared(&host);
    let name = format!("{}/busybox", registry.address);
    let output = host.run(&["pull", &name]).code(0);
    let document: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let image = &document["image"];
    let digest = host
        .run(&[
            "skopeo",
            "inspect",
            "--tls-verify=false",
            "--format",
            "{{.Digest}}",
            &format!("docker://{name}:latest"),
        ])
        .ok();
    let layer = image["layers"][0]["digest"].as_str().unwrap();
    assert_eq!(
        output.stderr,
        format!(
            "Unable to find image '{name}:latest' locally\nlatest: Pulling from busybox\n{}: Pull complete\nDigest: {}\n\
             Status: Downloaded newer image for {name}:latest\n",
            &layer[7..19],
            digest.trim_end()
        )
    );
    assert_eq!(image["reference"], format!("{name}:latest"));
    assert_eq!(image["manifest"]["digest"], digest.trim_end());
    assert_eq!(image["spec"]["config"]["Cmd"], json!(["sh"]));
    let raw = host
        .run(&["skopeo", "inspect", "--raw", "--config", "--tls-verify=false", &format!("docker://{name}")])
        .ok();
    assert_eq!(image["spec"], serde_json::from_str::<serde_json::Value>(&raw).unwrap());
    assert!(host.path(&layer_paths(&document)[0]).join("bin/busybox").exists());
    // Again: nothing is said, nothing is asked.
    registry.stop();
    let again = host.run(&["pull", &name]).code(0);
    assert_eq!(again.stderr, "");
    assert_eq!(again.json(), lasting(document.clone()));
    // By its digest, by its id, and by the beginning of that.
    let id = image["config"]["digest"].as_str().unwrap();
    for other in [id, &id[7..], &id[7..19], &id[7..10], &format!("{name}@{}", digest.trim_end())] {
        let found = host.run(&["pull", "--pull=never", other]).json();
        assert_eq!(found["image"]["layers"], image["layers"], "{other}");
    }
    assert_nothing_half_done(&host);
}

#[test]
fn quiet_says_nothing() {
    let host = Host::new();
    let registry = Registry::shared(&host);
    let output = host.run(&["pull", "-q", &format!("{}/busybox", registry.address)]).code(0);
    assert_eq!(output.stderr, "");
}

#[test]
fn policies_decide_when_to_ask_the_registry() {
    let host = Host::new();
    small_layout(&host, "/run/one", "one");
    small_layout(&host, "/run/two", "two");
    let registry = Registry::start(&host, "/run/registry", "");
    let name = format!("{}/a/b", registry.address);
    host.run(&["pull", "--pull=never", &name]).fails(
        1,
        &format!("pull: cannot find image {name}: it is not here\n  hint: --pull=missing fetches it\n"),
    );
    registry.push(&host, "oci:/run/one:latest", "a/b");
    let one = lasting(host.run(&["pull", "-q", &name]).json());
    registry.push(&host, "oci:/run/two:latest", "a/b");
    assert_eq!(host.run(&["pull", "--pull=missing", &name]).json(), one);
    assert_eq!(host.run(&["pull", "--pull=never", &name]).json(), one);
    let output = host
        .run(&["pull", "--pull=always", &name])
        .code(0)
        .says(&format!("Downloaded newer image for {name}"));
    let two: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_ne!(one["image"]["config"], two["image"]["config"]);
    host.run(&["pull", "--pull=always", &name]).code(0).says(&format!("Image is up to date for {name}"));
    assert_eq!(host.run(&["pull", &name]).json(), lasting(two));
    // The first has lost its tag; its digest still leads to it.
    let listed = host.run(&["pull", "ls"]).json();
    let nameless: Vec<_> =
        listed.as_array().unwrap().iter().filter(|image| image.get("reference").is_none()).collect();
    assert_eq!(nameless[0]["id"], one["image"]["config"]["digest"]);
    let by_digest = format!("{name}@{}", one["image"]["manifest"]["digest"].as_str().unwrap());
    assert_eq!(nameless[0]["digests"], json!([by_digest]));
    assert_eq!(host.run(&["pull", &by_digest]).json()["image"]["config"], one["image"]["config"]);
}

#[test]
fn the_layers_of_an_image_are_fetched_once() {
    let host = Host::new();
    let layer = |content: &str| (tar_with(|tar| append(tar, "file", Regular, content)), Compression::Gzip);
    images::layout(
        &host.path("/run/a"),
        "latest",
        &[layer("1"), layer("2"), layer("1"), layer("3")],
        &json!({}),
    );
    images::layout(&host.path("/run/b"), "latest", &[layer("1"), layer("4")], &json!({}));
    let served = Layout::at(host.path("/run/a"));
    let server = Server::start(&host, move |request, stream| served.answer(request, stream));
    let output = host.run(&["pull", &format!("{}/x", server.address)]).code(0);
    assert_eq!(output.stderr.matches("Pull complete").count(), 3, "{output}");
    assert_eq!(
        server.paths().iter().filter(|path| path.contains("/blobs/")).count(),
        4,
        "three layers and the configuration"
    );
    let served = Layout::at(host.path("/run/b"));
    let other = Server::start(&host, move |request, stream| served.answer(request, stream));
    let output = host.run(&["pull", &format!("{}/x", other.address)]).code(0);
    assert_eq!(
        (output.stderr.matches("Pull complete").count(), output.stderr.matches("Already exists").count()),
        (1, 1)
    );
    assert_eq!(other.paths().iter().filter(|path| path.contains("/blobs/")).count(), 2);
    assert!(other.requests().iter().all(|request| request.header("accept-encoding") == Some("identity")));
}

#[test]
fn docker_media_types_and_zstd_are_images_too() {
    let host = Host::new();
    small_layout(&host, "/run/oci", "x");
    let registry = Registry::start(&host, "/run/registry", "");
    for (format, more) in
        [("v2s2", &[][..]), ("oci", &["--dest-compress-format=zstd", "--dest-compress"][..])]
    {
        let target = format!("docker://{}/{format}:latest", registry.address);
        let mut words =
            vec!["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", "--format", format];
        words.extend(more);
        words.extend(["oci:/run/oci:latest", &target]);
        host.run(&words).ok();
        let document = host.run(&["pull", "-q", &format!("{}/{format}", registry.address)]).json();
        let manifest = &document["image"]["manifest"]["mediaType"];
        let is_docker = manifest == "application/vnd.docker.distribution.manifest.v2+json";
        assert_eq!(is_docker, format == "v2s2", "{manifest}");
        assert_eq!(std::fs::read_to_string(host.path(&layer_paths(&document)[0]).join("file")).unwrap(), "x");
    }
}

/// An index of images, one for each of these platforms, whose file holds the platform's name.
fn index(host: &Host, platforms: &[&str]) -> Layout {
    let mut manifests = Vec::new();
    for platform in platforms {
        let one = host.path(&format!("/run/{}", platform.replace('/', "-")));
        small_layout(
            host,
            one.file_name().map(|name| format!("/run/{}", name.to_str().unwrap())).unwrap().as_str(),
            platform,
        );
        let words: Vec<&str> = platform.split('/').collect();
        let mut entry: serde_json::Value =
            serde_json::from_slice(&std::fs::read(one.join("index.json")).unwrap()).unwrap();
        let mut entry = entry["manifests"][0].take();
        entry["platform"] = json!({"os": words[0], "architecture": words[1]});
        if let Some(variant) = words.get(2) {
            entry["platform"]["variant"] = json!(variant);
        }
        entry.as_object_mut().unwrap().remove("annotations");
        manifests.push(entry);
        host.sh(&format!(
            "mkdir -p /run/index/blobs; cp -r {} /run/index/blobs/",
            format_args!("/run/{}/blobs/sha256", platform.replace('/', "-"))
        ))
        .ok();
    }
    let index = serde_json::to_vec(&json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests})).unwrap();
    let digest = images::digest(&index);
    std::fs::write(host.path("/run/index/blobs/sha256").join(&digest[7..]), &index).unwrap();
    let top = json!({"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest,
        "size": index.len(), "annotations": {"org.opencontainers.image.ref.name": "latest"}}]});
    std::fs::write(host.path("/run/index/index.json"), serde_json::to_vec(&top).unwrap()).unwrap();
    Layout::at(host.path("/run/index"))
}

#[test]
fn the_platform_chooses_in_an_index() {
    let host = Host::new();
    let served = index(&host, &["linux/arm/v6", "linux/arm64/v8", "linux/amd64", "linux/s390x"]);
    let top = served.manifest();
    let server = Server::start(&host, move |request, stream| served.answer(request, stream));
    let name = format!("{}/x", server.address);
    let content = |output: tests::Output| {
        let document = output.json();
        std::fs::read_to_string(host.path(&layer_paths(&document)[0]).join("file")).unwrap()
    };
    assert_eq!(content(host.run(&["pull", &name])), "linux/amd64");
    // The index's digest is what the tag leads to, and what a digest reference names.
    let output = host.run(&["pull", "--pull=always", &name]).code(0).says(&format!("Digest: {top}\n"));
    assert!(
        !output.stdout.contains("\"manifest\":{\"mediaType\":\"application/vnd.oci.image.index.v1+json\"")
    );
    assert_eq!(
        content(host.run(&["pull", "--platform=linux/arm64", "-q", &format!("{name}@{top}")])),
        "linux/arm64/v8"
    );
    assert_eq!(content(host.run(&["pull", "--platform", "linux/arm/v7", "-q", &name])), "linux/arm/v6");
    let mut command = host.command(&["pull", "-q", "--pull=always", &name]);
    command.env("DOCKER_DEFAULT_PLATFORM", "linux/s390x");
    assert_eq!(content(tests::host::finish(command, None)), "linux/s390x");
    host.run(&["pull", "-q", "--platform=linux/riscv64", &name]).fails(
        1,
        &format!(
            "pull: cannot pull {name}:latest: no matching manifest for linux/riscv64\n  hint: there is one for linux/arm/v6, \
             linux/arm64, linux/amd64, linux/s390x\n"
        ),
    );
    host.run(&["pull", "--platform=linux/", &name])
        .fails(2, "pull: a platform is OS/ARCH or OS/ARCH/VARIANT, not \"linux/\"\n");
    // The same index in a directory.
    assert_eq!(content(host.run(&["pull", "--platform=linux/s390x", "oci:/run/index"])), "linux/s390x");
}

#[test]
fn an_image_without_an_index_must_be_of_the_platform_that_was_asked_for() {
    let host = Host::new();
    small_layout(&host, "/run/oci", "x");
    host.run(&["pull", "--platform=linux/arm64", "oci:/run/oci"])
        .fails(1, "pull: cannot pull oci:/run/oci: its platform is linux/amd64, not linux/arm64\n");
    host.run(&["pull", "--platform=linux/x86_64", "oci:/run/oci"]).code(0);
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let host = Host::new();
    let layout = small_layout(&host, "/run/oci", "x");
    let layer = layout.layer();
    let elsewhere = Layout::at(host.path("/run/oci")).serve(&host);
    let target = format!("http://{}", elsewhere.address);
    let server = Server::start(&host, move |request, stream| {
        if let Some(rest) = request.path.strip_prefix("/v2/loop") {
            respond(stream, "307 Temporary Redirect", &[("Location", &format!("/v2/loop{rest}"))], b"");
        } else if request.path.ends_with(&layer) {
            respond(
                stream,
                "307 Temporary Redirect",
                &[("Location", &format!("{target}{}", request.path))],
                b"",
            );
        } else {
            layout.answer(request, stream);
        }
    });
    let document = host.run(&["pull", "-q", "--creds", "u:p", &format!("{}/x", server.address)]).json();
    assert_eq!(elsewhere.requests().len(), 1);
    let asked = document["image"]["fetched"]["requests"].as_array().unwrap().last().unwrap();
    assert!(
        asked["redirect"].as_str().unwrap().starts_with(&format!("http://{}/v2/x/blobs/", elsewhere.address)),
        "{asked}"
    );
    host.run(&["pull", "-q", &format!("{}/loop", server.address)]).code(1).says("too many redirects");
    assert_eq!(server.paths().iter().filter(|path| path.starts_with("/v2/loop")).count(), 6);
}

#[test]
fn a_signal_ends_a_download_at_once() {
    let host = Host::new();
    // It sends a part of the layer, and no more until the other side goes.
    let server = small_layout(&host, "/run/oci", "x").serve_but(&host, |_, _, stream, blob| {
        respond_in_part(stream, blob, 2);
        hang(stream);
        Answered::Yes
    });
    for signal in [nix::sys::signal::Signal::SIGTERM, nix::sys::signal::Signal::SIGINT] {
        let mut running = host.start(&[
            "sh",
            "-c",
            "echo go; exec \"$@\" 2>&1",
            "sh",
            "pull",
            &format!("{}/x", server.address),
        ]);
        running.wait_for_line("latest: Pulling from x");
        running.signal(signal);
        let end = running.end();
        assert_eq!(end.code, 1, "{end}");
        assert!(end.stdout.contains(&format!("interrupted by {signal}\n")), "{end}");
        assert_eq!(end.stdout.lines().count(), 1, "{end}");
        assert_nothing_half_done(&host);
    }
}

#[test]
fn the_work_is_told_as_it_is_asked_for() {
    let host = Host::new();
    let layout = small_layout(&host, "/run/oci", "x");
    let layer = layout.layer();
    let server = layout.serve(&host);
    let name = format!("{}/x", server.address);
    let pull = |words: &[&str]| {
        host.run(&["pull", "rm", "-f", &name]);
        host.run(&[&["pull"], words, &[name.as_str()]].concat()).code(0).stderr
    };
    let objects: Vec<serde_json::Value> =
        pull(&["--progress=json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_layer: Vec<_> = objects.iter().filter(|object| object["event"] == "layer").collect();
    assert!(of_layer.iter().all(|object| object["digest"] == layer.as_str()), "{objects:?}");
    let states: Vec<_> = of_layer.iter().map(|object| object["state"].as_str().unwrap()).collect();
    assert_eq!((states.first(), states.last()), (Some(&"downloading"), Some(&"complete")));
    assert_eq!(of_layer.last().unwrap()["bytes"], of_layer.last().unwrap()["size"]);
    assert!(objects.iter().all(|object| object["event"] == "layer" || object["text"].is_string()));
    assert!(pull(&["--progress=plain"]).contains(&format!("{}: Pull complete\n", &layer[7..19])));
    assert!(!pull(&[]).contains('\x1b'), "no terminal, no bars");
    assert!(pull(&["--progress=bars"]).contains(&format!("{}: Pull complete\x1b[K\n", &layer[7..19])));
    assert_eq!(pull(&["--progress=none"]), "");
    // On a terminal there are bars.
    host.run(&["pull", "rm", "-f", &name]).ok();
    let seen = host.run(&["script", "-qec", &format!("pull {name}"), "/dev/null"]).ok();
    assert!(seen.contains("Downloading [") && seen.contains("\x1b[1A\r\x1b[J"), "{seen:?}");
}
