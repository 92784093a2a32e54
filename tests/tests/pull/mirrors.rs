//! registries.conf, and proxies.

use serde_json::{Value, json};
use tests::Host;

use super::server::{Answered, Layout, Request, Server, respond, respond_in_part};
use super::{assert_whole, large_layout, small_layout};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A server with an image at repository `path`.
fn serving(host: &Host, at: &str, content: &str) -> Server {
    small_layout(host, at, content).serve(host)
}

fn pull(host: &Host, words: &[&str]) -> tests::Output {
    patient_pull(host, &[&["--retry=0"], words].concat())
}

fn patient_pull(host: &Host, words: &[&str]) -> tests::Output {
    let mut command = host.command(&[&["pull"], words].concat());
    command.env("CONTAINERS_REGISTRIES_CONF", "/run/registries.conf");
    tests::host::finish(command, None)
}

fn configure(host: &Host, text: &str) {
    std::fs::write(host.path("/run/registries.conf"), text).unwrap();
}

#[test]
fn mirrors_are_tried_in_order_for_any_registry() {
    let host = Host::new();
    let mirror = serving(&host, "/run/oci", "x");
    let empty = Server::start(&host, |_, stream| respond(stream, "404 Not Found", &[], b""));
    configure(
        &host,
        &format!(
            "[[registry]]\nlocation = \"registry.example.com\"\n[[registry.mirror]]\nlocation = \"{}\"\n\
             [[registry.mirror]]\nlocation = \"{}/cache\"\n",
            empty.address, mirror.address
        ),
    );
    let output = pull(&host, &["registry.example.com/team/app"]).code(0);

    let output = output.says(&format!(
        "mirror {}: GET http://{}/v2/team/app/manifests/latest: 404 Not Found\n",
        empty.address, empty.address
    ));
    assert!(
        mirror.paths().iter().all(|path| path.starts_with("/v2/cache/team/app/")),
        "{:?}",
        mirror.paths()
    );
    let document: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(document["image"]["reference"], "registry.example.com/team/app:latest");
    let asked: Vec<&str> = document["image"]["fetched"]["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["url"].as_str().unwrap())
        .collect();
    assert!(
        asked.iter().any(|url| url.contains(&empty.address))
            && asked.iter().any(|url| url.contains(&mirror.address))
    );
}

/// A mirror and its registry, `registry.example.com`.
fn configure_mirror(host: &Host, mirror: &Server, registry: &Server) {
    let text = format!(
        "[[registry]]\nprefix = \"registry.example.com\"\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
        registry.address, mirror.address
    );
    configure(host, &text);
}

#[test]
fn the_registry_goes_on_where_a_mirror_has_failed() {
    let host = Host::new();
    let mirror = large_layout(&host).serve_but(&host, |n, _, stream, blob| {
        if n == 0 {
            respond_in_part(stream, blob, 150_000);
        } else {
            respond(stream, "503 Service Unavailable", &[], b"");
        }
        Answered::Yes
    });
    let registry = Layout::at(host.path("/run/oci")).serve(&host);
    configure_mirror(&host, &mirror, &registry);
    let output = patient_pull(&host, &["--retry=1", "registry.example.com/x"])
        .code(0)
        .says("; trying again in 0.2 s\n");
    let url = format!("http://{}/v2/x/blobs/{}", mirror.address, Layout::at(host.path("/run/oci")).layer());
    let output = output.says(&format!("mirror {}: GET {url}: 503 Service Unavailable\n", mirror.address));
    assert_whole(&host, &serde_json::from_str(&output.stdout).unwrap());
    // The registry sends nothing but what is missing.
    assert_eq!(registry.requests().iter().map(Request::range).collect::<Vec<_>>(), [Some(150_000)]);
    assert_eq!(mirror.blobs().filter_map(|request| request.range()).collect::<Vec<_>>(), [150_000]);
}

#[test]
fn a_mirror_may_lack_any_part_of_an_image() {
    // The manifest for the platform, the configuration, a layer: what the mirror lacks the registry has.
    let host = Host::new();
    small_layout(&host, "/run/oci", "x");
    let layout = || Layout::at(host.path("/run/oci"));
    let manifest: Value = serde_json::from_slice(&layout().blob(&layout().manifest()).unwrap()).unwrap();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": layout().manifest(),
        "size": layout().blob(&layout().manifest()).unwrap().len(), "platform": {"os": "linux", "architecture": "amd64"}}]});
    let parts =
        [layout().manifest(), manifest["config"]["digest"].as_str().unwrap().to_owned(), layout().layer()];
    for part in parts {
        let (all, lacked, index) = (layout(), part.clone(), index.to_string());
        let mirror = Server::start(&host, move |request, stream| {
            if request.path.ends_with("/latest") {
                respond(stream, "200 OK", &[("Content-Type", INDEX)], index.as_bytes());
            } else if request.path.ends_with(&lacked) {
                respond(stream, "404 Not Found", &[], b"");
            } else {
                all.answer(request, stream);
            }
        });
        let registry = layout().serve(&host);
        configure_mirror(&host, &mirror, &registry);
        pull(&host, &["--pull=always", "registry.example.com/x"])
            .code(0)
            .says(&format!("/{part}: 404 Not Found\n"));
        assert!(registry.paths()[0].ends_with(&part), "{:?}", registry.paths());
        host.run(&["pull", "rm", "registry.example.com/x", "-f"]).ok();
    }
}

#[test]
fn what_all_places_lack_is_the_last_ones_word() {
    let host = Host::new();
    let lacking = |_: usize, _: &Request, stream: &mut std::net::TcpStream, _: &[u8]| {
        respond(stream, "404 Not Found", &[], b"");
        Answered::Yes
    };
    let mirror = small_layout(&host, "/run/oci", "x").serve_but(&host, lacking);
    let registry = Layout::at(host.path("/run/oci")).serve_but(&host, lacking);
    configure_mirror(&host, &mirror, &registry);
    let layer = Layout::at(host.path("/run/oci")).layer();
    pull(&host, &["-q", "registry.example.com/x"]).fails(
        1,
        &format!(
            "pull: cannot pull registry.example.com/x:latest: layer {layer}: GET http://{}/v2/x/blobs/{layer}: 404 Not Found\n",
            registry.address
        ),
    );
}

#[test]
fn a_mirror_for_digests_is_not_asked_for_a_tag() {
    let host = Host::new();
    let (mirror, registry) = (serving(&host, "/run/oci", "x"), serving(&host, "/run/oci", "x"));
    configure(
        &host,
        &format!(
            "[[registry]]\nlocation = \"{}\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"{}\"\n",
            registry.address, mirror.address
        ),
    );
    let digest = Layout::at(host.path("/run/oci")).manifest();
    pull(&host, &["-q", &format!("{}/x", registry.address)]).code(0);
    assert!(mirror.requests().is_empty());
    let before = registry.requests().len();
    pull(&host, &["-q", "--pull=always", &format!("{}/x@{digest}", registry.address)]).code(0);
    assert_eq!(registry.requests().len(), before);
}

#[test]
fn a_location_takes_the_place_of_the_registry_and_blocked_is_blocked() {
    let host = Host::new();
    let elsewhere = serving(&host, "/run/oci", "x");
    configure(
        &host,
        &format!(
            "[[registry]]\nprefix = \"a.example.com/x\"\nlocation = \"{}/y\"\n[[registry]]\nprefix = \"bad.example.com\"\nblocked = true\n",
            elsewhere.address
        ),
    );
    pull(&host, &["-q", "a.example.com/x/app"]).code(0);
    assert!(elsewhere.paths().iter().all(|path| path.starts_with("/v2/y/app/")), "{:?}", elsewhere.paths());
    pull(&host, &["-q", "bad.example.com/app"]).fails(
        1,
        "pull: cannot pull bad.example.com/app:latest: registry bad.example.com is blocked in registries.conf\n",
    );
    configure(&host, "[[registry]\n");
    pull(&host, &["-q", "a.example.com/app"]).code(1).says("cannot read /run/registries.conf: ");
}

/// An address that is not loopback, on this host alone.
fn with_own_address() -> Host {
    let host = Host::new();
    host.sh("ip addr add 10.9.9.9/32 dev lo").ok();
    host.settled()
}

#[test]
fn an_insecure_registry_may_have_any_certificate_or_none() {
    let host = Host::new();
    host.sh(
        "cd /run && openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=other 2> /dev/null",
    )
    .ok();
    let storage = tests::registry::storage();
    let registry = tests::registry::Registry::start(
        &host,
        storage.to_str().unwrap(),
        "  tls: {certificate: /run/cert.pem, key: /run/key.pem}\n",
    );
    let name = format!("{}/busybox", registry.address);
    configure(&host, "");
    pull(&host, &["-q", &name]).code(1).says("certificate");
    configure(&host, &format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.address));
    pull(&host, &["-q", &name]).code(0);
}

#[test]
fn a_proxy_is_used_but_not_for_loopback() {
    let host = with_own_address();
    let proxy = serving(&host, "/run/oci", "x");
    let run = |name: &str, no_proxy: &str| {
        let mut command = host.command(&["pull", "-q", "--retry=0", "--plain-http", "--pull=always", name]);
        command.env("HTTP_PROXY", format!("http://{}", proxy.address)).env("NO_PROXY", no_proxy);
        tests::host::finish(command, None)
    };
    run("registry.invalid/x", "").code(0);
    assert!(
        proxy.paths().iter().all(|path| path.starts_with("http://registry.invalid/v2/x/")),
        "{:?}",
        proxy.paths()
    );
    let before = proxy.requests().len();
    run("10.9.9.9:1/x", "10.9.9.9").code(1).says("Connection refused");
    run("127.0.0.1:1/x", "").code(1).says("Connection refused");
    assert_eq!(proxy.requests().len(), before);
}
