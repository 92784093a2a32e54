//! Registries that lie, dawdle or never end: one clear error, exit code 1, and nothing outside the store.

use std::io::Write;

use serde_json::{Value, json};
use tar::EntryType::{Char, Regular};
use tests::Host;
use tests::images::{self, Compression::Gzip, Compression::None as Plain};

use super::server::{Answered, Request, Server, hang, respond, respond_in_part};
use super::{append, assert_nothing_half_done, header, host_with, small_layout, tar_with};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Pulls `x` from this server with little memory. It must fail with this, and leave nothing.
#[track_caller]
fn refused(host: &Host, server: &Server, options: &str, why: &str) {
    let name = format!("{}/x", server.address);
    let output = host.sh(&format!("ulimit -v 300000; exec pull -q --retry=0 {options} {name}")).code(1);
    assert_eq!(output.stdout, "");
    assert_eq!(output.stderr.lines().filter(|line| line.starts_with("pull: ")).count(), 1, "{output}");
    assert!(output.stderr.contains(why), "{why:?} is not in\n{output}");
    host.run(&["pull", "ls"]).prints("[]");
    host.sh("ls -A /var/lib/gocker/pull/layers/sha256").prints("");
    assert_nothing_half_done(host);
}

/// A server that answers each request for a manifest like this, and knows nothing else.
fn manifests(
    host: &Host,
    media_type: &'static str,
    body: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static,
) -> Server {
    Server::start(host, move |request, stream| {
        if request.path.contains("/manifests/") {
            respond(stream, "200 OK", &[("Content-Type", media_type)], &body(request));
        } else {
            respond(stream, "404 Not Found", &[], b"");
        }
    })
}

/// A registry with a small image whose layer is answered like this.
fn layers(host: &Host, answer: impl Fn(&mut std::net::TcpStream, &[u8]) + Send + Sync + 'static) -> Server {
    small_layout(host, "/run/oci", &"content ".repeat(1000)).serve_but(host, move |_, _, stream, blob| {
        answer(stream, blob);
        Answered::Yes
    })
}

#[test]
fn a_body_without_end_is_cut_off() {
    let host = Host::new();
    let server = layers(&host, |stream, blob| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").unwrap();
        stream.write_all(blob).ok();
        while stream.write_all(&[0; 4096]).is_ok() {}
    });
    refused(&host, &server, "", "larger than the ");
    let endless = Server::start(&host, |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        while stream.write_all(&[b' '; 4096]).is_ok() {}
    });
    refused(&host, &endless, "", "the answer has more than 4194304 bytes");
}

#[test]
fn a_content_length_that_is_wrong_is_noticed() {
    let host = Host::new();
    let short = layers(&host, |stream, blob| respond(stream, "200 OK", &[], &blob[..blob.len() / 2]));
    refused(&host, &short, "", ": truncated: ");
    host.run(&["pull", "gc"]).ok();
    let long = layers(&host, |stream, blob| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len() * 2);
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(blob)).ok();
    });
    refused(&host, &long, "", "GET http://");
    let huge = layers(&host, |stream, blob| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n")
            .and_then(|()| stream.write_all(blob))
            .ok();
    });
    host.run(&["pull", "gc"]).ok();
    refused(&host, &huge, "", "GET http://");
}

#[test]
fn a_body_that_trickles_is_given_up() {
    let host = Host::new();
    let server = layers(&host, |stream, blob| {
        respond_in_part(stream, blob, 0);
        for byte in blob {
            std::thread::park_timeout(std::time::Duration::from_millis(20));
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
        }
    });
    refused(&host, &server, "--stall=1", ": stalled: ");
}

#[test]
fn a_header_that_trickles_is_given_up() {
    let host = Host::new();
    let server = Server::start(&host, |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nX-Slow: ").ok();
        while stream.write_all(b"x").is_ok() {
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
    });
    refused(&host, &server, "--stall=1", "/v2/x/manifests/latest: no answer in time");
    let silent = Server::start(&host, |_, stream| hang(stream));
    refused(&host, &silent, "--stall=1", "/v2/x/manifests/latest: no answer in time");
}

#[test]
fn an_index_that_refers_to_itself_ends() {
    let host = Host::new();
    // No digest can be its own; one that says so is found out.
    let entry = |digest: &str, size: usize| {
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"mediaType": INDEX, "digest": digest, "size": size,
            "platform": {"os": "linux", "architecture": "amd64"}}]})
    };
    let own = entry(&images::digest(b"x"), 300).to_string();
    let length = own.len();
    let own = entry(&images::digest(b"x"), length).to_string();
    let server = manifests(&host, INDEX, move |_| own.clone().into_bytes());
    refused(&host, &server, "", "digest mismatch: content is ");
    // A chain that is too long, each with the right digest.
    let mut chain = vec![entry(&images::digest(b"x"), 1).to_string()];
    for _ in 0..6 {
        let last = chain.last().unwrap();
        chain.push(entry(&images::digest(last.as_bytes()), last.len()).to_string());
    }
    let top = chain.pop().unwrap();
    let server = manifests(&host, INDEX, move |request| {
        let wanted = request.path.rsplit('/').next().unwrap();
        let found = chain.iter().find(|text| images::digest(text.as_bytes()) == wanted);
        found.unwrap_or(&top).clone().into_bytes()
    });
    refused(&host, &server, "", "malformed index: more than 4 of them lead to each other");
}

#[test]
fn json_that_is_nested_too_deep_is_refused() {
    let host = Host::new();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let body =
            format!("{{\"schemaVersion\":2,\"x\":{}1{}}}", open.repeat(200_000), close.repeat(200_000));
        let server = manifests(&host, MANIFEST, move |_| body.clone().into_bytes());
        refused(&host, &server, "", "malformed manifest: ");
    }
}

#[test]
fn schema_1_is_refused_by_name() {
    let host = Host::new();
    let body = json!({"schemaVersion": 1, "name": "x", "tag": "latest", "fsLayers": [{"blobSum": images::digest(b"x")}], "history": []});
    let server = manifests(&host, "application/vnd.docker.distribution.manifest.v1+prettyjws", move |_| {
        body.to_string().into_bytes()
    });
    refused(&host, &server, "", "malformed manifest: schemaVersion is not 2");
}

#[test]
fn layers_without_number_are_refused() {
    let host = Host::new();
    let layer = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": images::digest(b"x"), "size": 1}).to_string();
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": images::digest(b"x"), "size": 1});
    let many = vec![layer; 25_000].join(",");
    let body = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"config\":{config},\"layers\":[{many}]}}"
    );
    assert!(body.len() < 4 << 20);
    let server = manifests(&host, MANIFEST, move |_| body.clone().into_bytes());
    refused(&host, &server, "", "malformed manifest: more than 500 layers");
    // A million that are no layers at all.
    let body = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"config\":{config},\"layers\":[{}]}}",
        vec!["{}"; 1_000_000].join(",")
    );
    let server = manifests(&host, MANIFEST, move |_| body.clone().into_bytes());
    refused(&host, &server, "", "malformed manifest: missing field");
}

#[test]
fn urls_of_foreign_layers_are_not_followed() {
    let host = Host::new();
    let elsewhere = Server::start(&host, |_, stream| respond(stream, "200 OK", &[], b"evil"));
    let layout = small_layout(&host, "/run/oci", "x");
    let mut manifest: Value = serde_json::from_slice(&layout.blob(&layout.manifest()).unwrap()).unwrap();
    manifest["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    manifest["layers"][0]["urls"] = json!([format!("http://{}/layer", elsewhere.address)]);
    let layer = layout.layer();
    let server = Server::start(&host, move |request, stream| {
        if request.path.contains("/manifests/") {
            respond(stream, "200 OK", &[("Content-Type", MANIFEST)], manifest.to_string().as_bytes());
        } else if request.path.ends_with(&layer) {
            respond(stream, "404 Not Found", &[], b"");
        } else {
            layout.answer(request, stream);
        }
    });
    refused(&host, &server, "", ": 404 Not Found");
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn a_redirect_from_tls_to_none_is_refused_and_loops_end() {
    let host = Host::new();
    let server = Server::start(&host, |request, stream| {
        respond(stream, "302 Found", &[("Location", &request.path)], b"");
    });
    refused(&host, &server, "", "too many redirects");
    let bad = Server::start(&host, |_, stream| {
        respond(stream, "302 Found", &[("Location", "file:///etc/passwd")], b"")
    });
    refused(&host, &bad, "", "GET ");
}

#[test]
fn bombs_are_refused_before_they_fill_the_disk() {
    let zeros = |megabytes: usize| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut file = header(b"zeros", Regular);
        file.set_size((megabytes as u64) << 20);
        file.set_cksum();
        tar.append(&file, std::io::Read::take(std::io::repeat(0), (megabytes as u64) << 20)).unwrap();
        tar.into_inner().unwrap()
    };
    let bomb = zeros(80);
    for compression in [Gzip, images::Compression::Zstd] {
        let host = host_with(&[(bomb.clone(), compression)]);
        let output = host
            .run(&["pull", "--max-ratio=100", "oci:/run/oci"])
            .code(1)
            .says(" bytes unpack to more than 100 times as many\n  hint: --max-ratio sets the limit\n");
        assert_eq!(output.stderr.lines().count(), 2, "{output}");
        host.sh("ls -A /var/lib/gocker/pull/layers/sha256 /var/lib/gocker/pull/partial")
            .prints("/var/lib/gocker/pull/layers/sha256:\n\n/var/lib/gocker/pull/partial:");
        assert_nothing_half_done(&host);
        host.run(&["pull", "--max-ratio=1000000", "--max-size=70m", "oci:/run/oci"])
            .code(1)
            .says("hint: --max-size sets the limit\n");
        host.run(&["pull", "--max-ratio=1000000", "oci:/run/oci"]).code(0);
    }
    // The size is a limit on what comes, too.
    let host = host_with(&[(zeros(2), Plain)]);
    host.run(&["pull", "--max-size=1m", "oci:/run/oci"])
        .code(1)
        .says("bytes\n  hint: --max-size sets the limit\n");
    host.run(&["pull", "--max-size=1x", "oci:/run/oci"]).code(2);
}

#[test]
fn a_sparse_file_is_as_large_as_it_says() {
    let host = Host::new();
    host.sh("mkdir /run/tree && truncate -s 2T /run/tree/f && tar --sparse -C /run/tree -cf /run/t.tar . && rm -r /run/tree").ok();
    host.run(&["pull", "rootfs:/run/t.tar"])
        .code(1)
        .says("a file of 2199023255552 bytes\n  hint: --max-size sets the limit\n");
}

#[test]
fn device_nodes_are_refused_on_demand_and_where_they_cannot_be_made() {
    let mut null = header(b"null", Char);
    null.set_device_major(1).unwrap();
    null.set_device_minor(3).unwrap();
    null.set_cksum();
    let host = host_with(&[(tar_with(|tar| tar.append(&null, std::io::empty()).unwrap()), Gzip)]);
    host.run(&["pull", "--no-devices", "oci:/run/oci"]).code(1).says(": cannot unpack null: a device node\n");
    assert_nothing_half_done(&host);
    host.sh("chmod 777 /run; chmod -R a+rX /run/oci").ok();
    host.sh("unshare --user --map-root-user pull --root /run/own oci:/run/oci").code(1).says(
        "cannot unpack null: mknod: Operation not permitted (os error 1)\n  hint: device nodes can be made by root alone",
    );
    host.run(&["pull", "oci:/run/oci"]).code(0);
    // What is setuid stays so, but for whom the namespace's root is.
    let mut setuid = header(b"su", Regular);
    setuid.set_mode(0o4755);
    setuid.set_cksum();
    let host = host_with(&[(tar_with(|tar| tar.append(&setuid, std::io::empty()).unwrap()), Gzip)]);
    host.sh("mkdir -m 777 /run/own; chmod -R a+rX /run/oci").ok();
    host.sh(
        "setpriv --reuid=1000 --regid=1000 --clear-groups unshare --user --map-root-user pull --root /run/own/x oci:/run/oci > /dev/null && \
         stat -c '%u %a' /run/own/x/pull/layers/sha256/*/su",
    )
    .prints("1000 4755");
}

#[test]
fn names_of_64_kib_are_refused() {
    let name = "n/".repeat(32 << 10);
    let pax = tar_with(|tar| {
        tar.append_pax_extensions([("path", name.as_bytes())]).unwrap();
        append(tar, "x", Regular, "");
    });
    let host = host_with(&[(pax, Gzip)]);
    host.run(&["pull", "oci:/run/oci"]).code(1).says("malformed tar: a name of 65536 bytes\n");
    assert_nothing_half_done(&host);
}

fn without_openat2(host: &Host) -> tests::Output {
    host.sh("exec strace -f -qq -o /dev/null -e inject=openat2:error=ENOSYS pull oci:/run/oci")
}

/// A kernel before 5.6, or a sandbox, has no openat2(2): names are then resolved step by step, with the same outcome.
#[test]
fn names_stay_inside_without_openat2() {
    let tar = tar_with(|tar| {
        append(tar, "usr/lib", tar::EntryType::Directory, "");
        append(tar, "lib", tar::EntryType::Symlink, "usr/lib");
        append(tar, "lib/in", Regular, "x");
        append(tar, "absolute", tar::EntryType::Symlink, "/usr");
        append(tar, "absolute/lib/in2", Regular, "x");
        append(tar, "up", tar::EntryType::Symlink, "../../../usr/../usr/lib");
        append(tar, "up/in3", Regular, "x");
        append(tar, "hard", tar::EntryType::Link, "lib/in");
        append(tar, "a/b/c", Regular, "x");
    });
    let host = host_with(&[(tar, Gzip)]);
    without_openat2(&host).ok();
    host.sh("cd /var/lib/gocker/pull/layers/sha256/* && find . -type f | LC_ALL=C sort | tr '\\n' ' '")
        .prints("./a/b/c ./hard ./usr/lib/in ./usr/lib/in2 ./usr/lib/in3 ");
    let evil = tar_with(|tar| {
        append(tar, "link", tar::EntryType::Symlink, "/run/outside");
        append(tar, "link/file", Regular, "evil");
    });
    let host = host_with(&[(evil, Gzip)]);
    host.sh("mkdir /run/outside").ok();
    without_openat2(&host).code(1).says("cannot unpack link/file: open link: No such file or directory");
    host.sh("ls /run/outside").prints("");
    let around = tar_with(|tar| {
        append(tar, "a", tar::EntryType::Symlink, "b");
        append(tar, "b", tar::EntryType::Symlink, "a");
        append(tar, "a/file", Regular, "x");
    });
    let host = host_with(&[(around, Gzip)]);
    without_openat2(&host).code(1).says("Too many levels of symbolic links");
}
