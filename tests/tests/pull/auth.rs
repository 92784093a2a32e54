//! Registries that want to know who asks: docker-registry with basic authentication and with a token server.

use serde_json::json;
use tests::Host;
use tests::registry::{Registry, storage};

use super::server::{Layout, Server, respond};
use super::small_layout;

/// `ada:lovelace`, as `htpasswd -nbB` writes it.
const HTPASSWD: &str = "ada:$2b$05$abcdefghijklmnopqrstuuugyJgZetmHGvxwCJ1rpgM8bgT8KJ8.i\n";
const ADA: &str = "Basic YWRhOmxvdmVsYWNl";

fn with_basic(host: &Host) -> Registry {
    std::fs::write(host.path("/run/htpasswd"), HTPASSWD).unwrap();
    let auth = "auth:\n  htpasswd: {realm: test, path: /run/htpasswd}\n";
    Registry::start(host, storage().to_str().unwrap(), auth)
}

fn log_in(host: &Host, auths: &serde_json::Value) {
    host.sh("mkdir -p /run/docker").ok();
    std::fs::write(host.path("/run/docker/config.json"), json!({"auths": auths}).to_string()).unwrap();
}

/// Pulls with docker's configuration at /run/docker.
fn pull(host: &Host, words: &[&str]) -> tests::Output {
    let mut command = host.command(&[&["pull", "-q"], words].concat());
    command.env("DOCKER_CONFIG", "/run/docker");
    tests::host::finish(command, None)
}

#[test]
fn basic_authentication() {
    let host = Host::new();
    let registry = with_basic(&host);
    let name = format!("{}/busybox", registry.address);
    let hint = format!(
        "  hint: does it exist? if it does, log in with docker login {}, or use --creds USER:PASSWORD\n",
        registry.address
    );
    let denied = format!(
        "pull: cannot pull {name}:latest: GET http://{}/v2/busybox/manifests/latest: authentication required\n{hint}",
        registry.address
    );
    pull(&host, &[&name]).fails(1, &denied);
    pull(&host, &["--creds", "ada:wrong", &name]).fails(1, &denied);
    pull(&host, &["--creds", "ada", &name]).code(2);
    pull(&host, &["--creds", "ada:lovelace", "--name", "one", &name]).code(0);
    log_in(&host, &json!({"other.example.com": {"auth": "YWRhOmxvdmVsYWNl"}}));
    pull(&host, &["--name", "two", &name]).fails(1, &denied);
    log_in(&host, &json!({registry.address.as_str(): {"auth": "YWRhOmxvdmVsYWNl"}}));
    pull(&host, &[&name]).code(0);
    std::fs::write(host.path("/run/docker/config.json"), "{").unwrap();
    pull(&host, &["--pull=always", &name]).code(1).says("cannot read /run/docker/config.json: ");
}

/// A key, its certificate, and a token that the key's owner has signed for pulling busybox.
fn token(host: &Host) -> String {
    host.sh(
        r#"cd /run && openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=test 2>/dev/null
        url() { base64 -w0 | tr '+/' '-_' | tr -d '='; }
        der=$(openssl x509 -in cert.pem -outform DER | base64 -w0)
        head=$(printf '{"typ":"JWT","alg":"RS256","x5c":["%s"]}' "$der" | url)
        now=$(date +%s)
        claims=$(printf '{"iss":"test-issuer","sub":"ada","aud":"test-service","exp":%s,"nbf":%s,"iat":%s,"jti":"1","access":[{"type":"repository","name":"busybox","actions":["pull"]}]}' $((now + 300)) $((now - 10)) "$now" | url)
        printf '%s.%s' "$head" "$claims" | openssl dgst -sha256 -sign key.pem -binary | url > signature
        printf '%s.%s.%s' "$head" "$claims" "$(cat signature)""#,
    )
    .ok()
}

#[test]
fn a_token_server_hands_out_what_opens_docker_registry() {
    let host = Host::new();
    let token = token(&host);
    let server = Server::start(&host, move |request, stream| {
        let wanted = "/token?service=test-service&scope=repository%3Abusybox%3Apull";
        match (request.path == wanted, request.header("authorization")) {
            (true, Some(ADA)) => {
                respond(stream, "200 OK", &[], json!({"token": token}).to_string().as_bytes())
            }
            (true, _) => {
                let body = br#"{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}"#;
                respond(stream, "401 Unauthorized", &[], body);
            }
            (false, _) => respond(stream, "404 Not Found", &[], request.path.as_bytes()),
        }
    });
    let auth = format!(
        "auth:\n  token: {{realm: 'http://{}/token', service: test-service, issuer: test-issuer, rootcertbundle: /run/cert.pem}}\n",
        server.address
    );
    let registry = Registry::start(&host, storage().to_str().unwrap(), &auth);
    let name = format!("{}/busybox", registry.address);
    let denied = pull(&host, &[&name]).code(1).says("scope=repository%3Abusybox%3Apull: who are you?\n");
    assert!(denied.says("  hint: does it exist? if it does, log in").stdout.is_empty());
    let before = server.requests().len();
    log_in(
        &host,
        &json!({format!("http://{}", registry.address): {"username": "ada", "password": "lovelace"}}),
    );
    pull(&host, &[&name]).code(0);
    assert_eq!(server.requests().len(), before + 1, "one token serves for all requests");
    // It is a token for busybox, and for nothing else.
    pull(&host, &[&format!("{}/python", registry.address)]).code(1);
}

#[test]
fn credentials_stay_with_their_host() {
    let host = Host::new();
    small_layout(&host, "/run/oci", "x");
    let layout = Layout::at(host.path("/run/oci"));
    let layer = layout.layer();
    let store = Layout::at(host.path("/run/oci"));
    let elsewhere = Server::start(&host, move |request, stream| store.answer(request, stream));
    let target = format!("http://{}", elsewhere.address.replace("127.0.0.1", "localhost"));
    let server = Server::start(&host, move |request, stream| {
        if request.header("authorization") != Some(ADA) {
            respond(stream, "401 Unauthorized", &[("WWW-Authenticate", "Basic realm=\"x\"")], b"");
        } else if request.path.ends_with(&layer) {
            respond(stream, "302 Found", &[("Location", &format!("{target}{}", request.path))], b"");
        } else {
            layout.answer(request, stream);
        }
    });
    log_in(&host, &json!({server.address.as_str(): {"auth": "YWRhOmxvdmVsYWNl"}}));
    pull(&host, &[&format!("{}/x", server.address)]).code(0);
    let [request] = &elsewhere.requests()[..] else { panic!("{:?}", elsewhere.requests()) };
    assert_eq!(request.header("authorization"), None);
}

#[test]
fn another_kind_of_authentication_is_named() {
    let host = Host::new();
    let server = Server::start(&host, |_, stream| {
        respond(stream, "401 Unauthorized", &[("WWW-Authenticate", "Negotiate")], b"");
    });
    pull(&host, &[&format!("{}/x", server.address)]).fails(
        1,
        &format!(
            "pull: cannot pull {}/x:latest: authentication \"Negotiate\" is not supported\n",
            server.address
        ),
    );
}

/// A registry with a certificate that the machine does not trust, until it is told to.
#[test]
fn certificates_are_checked() {
    let host = Host::new();
    host.sh(
        r#"cd /run && exec 2>/dev/null
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority
        openssl req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=localhost
        printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > names
        openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem"#,
    )
    .ok();
    let registry = Registry::start(
        &host,
        storage().to_str().unwrap(),
        "  tls: {certificate: /run/cert.pem, key: /run/key.pem}\n",
    );
    let name = format!("{}/busybox", registry.address);
    pull(&host, &[&name])
        .code(1)
        .says(&format!("GET https://{}/v2/busybox/manifests/latest: ", registry.address))
        .says("certificate");
    pull(&host, &["--cacert", "/run/none.pem", &name])
        .code(1)
        .says("cannot read certificates of /run/none.pem: ");
    pull(&host, &["--cacert", "/run/ca.pem", &name]).code(0);
}
