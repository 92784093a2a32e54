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
        "  hint: does it exist? if it does, log in with pull login {}, or use --creds USER:PASSWORD; --explain-auth says what was tried\n",
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
    let layout = small_layout(&host, "/run/oci", "x");
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

/// An authority, and a certificate of it that is good for servers and clients.
fn certificates(host: &Host) {
    host.sh(
        r#"cd /run && exec 2>/dev/null
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority
        openssl req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=localhost
        printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > names
        openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem"#,
    )
    .ok();
}

/// A registry with a certificate that the machine does not trust, until it is told to.
#[test]
fn certificates_are_checked() {
    let host = Host::new();
    certificates(&host);
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

/// A registry that wants `ada:lovelace`, and an image in it.
fn guarded(host: &Host) -> Server {
    let layout = small_layout(host, "/run/oci", "x");
    Server::start(host, move |request, stream| {
        if request.header("authorization") == Some(ADA) && request.path == "/v2/" {
            respond(stream, "200 OK", &[], b"{}");
        } else if request.header("authorization") == Some(ADA) {
            layout.answer(request, stream);
        } else {
            respond(stream, "401 Unauthorized", &[("WWW-Authenticate", "Basic realm=\"x\"")], b"");
        }
    })
}

/// Pulls with these variables in the environment, and says where credentials were looked for.
fn explained(host: &Host, name: &str, variables: &[(&str, &str)]) -> tests::Output {
    let mut command = host.command(&["pull", "-q", "--pull=always", "--explain-auth", name]);
    command.envs(variables.iter().copied());
    tests::host::finish(command, None)
}

#[test]
fn credentials_are_looked_for_in_order_and_that_can_be_seen() {
    let host = Host::new();
    let server = guarded(&host);
    let name = format!("{}/x", server.address);
    let entry = |user: &str, auth: &str| {
        json!({"auths": {server.address.as_str(): {"auth": auth}}, "by": user}).to_string()
    };
    let (right, wrong) = (entry("ada", "YWRhOmxvdmVsYWNl"), entry("eve", "ZXZlOng="));
    host.sh("mkdir -p /run/home/.docker /run/home/.config/containers /run/xdg/containers").ok();
    let write = |path: &str, text: &str| std::fs::write(host.path(path), text).unwrap();
    let home = [("HOME", "/run/home"), ("XDG_RUNTIME_DIR", "/run/xdg")];
    explained(&host, &name, &home).code(1).says(&format!(
        "auth: for {name}:\nauth: DOCKER_AUTH_CONFIG: is not there\nauth: /run/xdg/containers/auth.json: is not there\n\
         auth: /run/home/.config/containers/auth.json: is not there\nauth: /run/home/.docker/config.json: is not there\n\
         auth: /run/home/.dockercfg: is not there\nauth: no credentials: asking as anybody\n"
    ));
    write(
        "/run/home/.dockercfg",
        &json!({server.address.as_str(): {"auth": "YWRhOmxvdmVsYWNl"}}).to_string(),
    );
    let output = explained(&host, &name, &home)
        .code(0)
        .says(&format!("auth: /run/home/.dockercfg: auths[\"{}\"]: user \"ada\"\n", server.address));
    assert!(!output.stderr.contains("lovelace") && !output.stderr.contains("YWRh"), "{output}");
    // Each of these comes before the one above.
    for path in [
        "/run/home/.docker/config.json",
        "/run/home/.config/containers/auth.json",
        "/run/xdg/containers/auth.json",
    ] {
        write(path, &wrong);
        explained(&host, &name, &home).code(1).says(&format!("auth: {path}: auths[")).says("user \"eve\"\n");
        write(path, &right);
        explained(&host, &name, &home).code(0).says(&format!("auth: {path}: auths["));
        write(path, &wrong);
    }
    let file = [home[0], home[1], ("REGISTRY_AUTH_FILE", "/run/own.json")];
    write("/run/own.json", &right);
    explained(&host, &name, &file).code(0).says("auth: /run/own.json: auths[");
    let text = [home[0], ("DOCKER_AUTH_CONFIG", right.as_str())];
    explained(&host, &name, &text).code(0).says("auth: DOCKER_AUTH_CONFIG: auths[");
    host.run(&["pull", "-q", "--pull=always", "--explain-auth", "--creds=ada:lovelace", &name])
        .code(0)
        .says("auth: --creds: user \"ada\"\n");
}

/// A credential helper that knows `ada` for one host, and writes down what it is asked.
fn helper(host: &Host, known: &str) {
    let script = format!(
        "#!/bin/sh\nread -r what; echo \"$1 $what\" >> /run/asked\ncase \"$1 $what\" in\n\
         'get {known}') echo '{{\"ServerURL\":\"x\",\"Username\":\"ada\",\"Secret\":\"lovelace\"}}' ;;\n\
         store*|erase*) ;;\n*) echo 'credentials not found in native keychain'; exit 1 ;;\nesac\n"
    );
    host.sh("mkdir -p /run/bin /run/docker").ok();
    std::fs::write(host.path("/run/bin/docker-credential-own"), script).unwrap();
    host.sh("chmod 755 /run/bin/docker-credential-own").ok();
}

fn with_helper(host: &Host, words: &[&str], stdin: Option<&str>) -> tests::Output {
    let mut command = host.command(&[&["pull"], words].concat());
    let path = command.get_envs().find(|(name, _)| *name == "PATH").unwrap().1.unwrap().to_owned();
    command.env("DOCKER_CONFIG", "/run/docker").env("PATH", format!("/run/bin:{}", path.to_str().unwrap()));
    tests::host::finish(command, stdin)
}

#[test]
fn helpers_are_asked_for_their_registry_alone() {
    let host = Host::new();
    let server = guarded(&host);
    let name = format!("{}/x", server.address);
    helper(&host, &server.address);
    let configure = |text: serde_json::Value| {
        std::fs::write(host.path("/run/docker/config.json"), text.to_string()).unwrap();
        host.sh("rm -f /run/asked").ok();
    };
    configure(json!({"credHelpers": {server.address.as_str(): "own", "other.example.com": "other"}}));
    let always = ["-q", "--pull=always", "--explain-auth", name.as_str()];
    with_helper(&host, &always, None)
        .code(0)
        .says(": credHelpers calls docker-credential-own: user \"ada\"\n");
    host.sh("cat /run/asked").prints(&format!("get {}", server.address));
    configure(json!({"credsStore": "own"}));
    with_helper(&host, &always, None)
        .code(0)
        .says(": credsStore calls docker-credential-own: user \"ada\"\n");
    configure(json!({"credHelpers": {server.address.as_str(): "missing"}}));
    with_helper(&host, &always, None)
        .code(1)
        .says("cannot run docker-credential-missing: No such file or directory");
    configure(json!({"credHelpers": {"other.example.com": "own"}, "credsStore": ""}));
    with_helper(&host, &always, None).code(1).says("does it exist? if it does, log in with pull login");
    host.sh("test ! -e /run/asked").ok();
}

#[test]
fn an_identity_token_is_for_the_token_server() {
    let host = Host::new();
    let layout = small_layout(&host, "/run/oci", "x");
    let tokens = Server::start(&host, |request, stream| {
        let form = "grant_type=refresh_token&client_id=gocker-pull&scope=repository%3Ax%3Apull&service=s&refresh_token=secret";
        if request.body == form && request.header("authorization").is_none() {
            // It is good for a second.
            respond(stream, "200 OK", &[], br#"{"access_token":"open","expires_in":1}"#);
        } else {
            respond(stream, "401 Unauthorized", &[], request.body.as_bytes());
        }
    });
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"s\"", tokens.address);
    let server = Server::start(&host, move |request, stream| {
        if request.header("authorization") == Some("Bearer open") {
            layout.answer(request, stream);
        } else {
            respond(stream, "401 Unauthorized", &[("WWW-Authenticate", &challenge)], b"");
        }
    });
    log_in(&host, &json!({server.address.as_str(): {"auth": "", "identitytoken": "secret"}}));
    pull(&host, &["--explain-auth", &format!("{}/x", server.address)]).code(0).says("]: an identity token\n");
    assert!(server.requests().iter().all(|request| request.header("authorization") != Some("secret")));
}

/// A registry that takes each token once: the next request has to fetch another.
#[test]
fn a_token_that_has_expired_is_replaced() {
    let host = Host::new();
    let layout = small_layout(&host, "/run/oci", "x");
    let count = std::sync::atomic::AtomicUsize::new(0);
    let tokens = Server::start(&host, move |_, stream| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        respond(
            stream,
            "200 OK",
            &[],
            json!({"token": format!("t{n}"), "expires_in": 300}).to_string().as_bytes(),
        );
    });
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"s\"", tokens.address);
    let used = std::sync::Mutex::new(std::collections::HashSet::new());
    let server = Server::start(&host, move |request, stream| {
        let token = request.header("authorization").unwrap_or_default().to_owned();
        if token.starts_with("Bearer t") && used.lock().unwrap().insert(token) {
            layout.answer(request, stream);
        } else {
            respond(stream, "401 Unauthorized", &[("WWW-Authenticate", &challenge)], b"");
        }
    });
    pull(&host, &[&format!("{}/x", server.address)]).code(0);
    assert_eq!(tokens.requests().len(), 3, "for the manifest, the configuration and the layer");
}

#[test]
fn logging_in_is_checked_and_kept_as_docker_keeps_it() {
    let host = Host::new();
    let server = guarded(&host);
    let (address, name) = (server.address.as_str(), format!("{}/x", server.address));
    helper(&host, "nothing");
    std::fs::write(host.path("/run/docker/config.json"), r#"{"detachKeys":"ctrl-a"}"#).unwrap();
    let login = ["login", "-u", "ada", "--password-stdin", address];
    with_helper(&host, &login, Some("wrong\n"))
        .code(1)
        .says(&format!("pull: cannot log in to {address}: GET http://"));
    host.sh("cat /run/docker/config.json").prints(r#"{"detachKeys":"ctrl-a"}"#);
    with_helper(&host, &login, Some("lovelace\n"))
        .code(0)
        .says("Login Succeeded: stored in /run/docker/config.json\n");
    host.sh("stat -c %a /run/docker/config.json; jq -c . /run/docker/config.json").prints(&format!(
        "600\n{{\"auths\":{{\"{address}\":{{\"auth\":\"YWRhOmxvdmVsYWNl\"}}}},\"detachKeys\":\"ctrl-a\"}}"
    ));
    with_helper(&host, &["-q", &name], None).code(0);
    // skopeo reads it, too.
    let mut command =
        host.command(&["skopeo", "inspect", "--tls-verify=false", "--raw", &format!("docker://{name}")]);
    command.env("REGISTRY_AUTH_FILE", "/run/docker/config.json");
    tests::host::finish(command, None).ok();
    with_helper(&host, &["logout", address], None).code(0).says("Removed the login for ");
    with_helper(&host, &["logout", address], None).code(0).says("Not logged in to ");
    host.sh("jq -c . /run/docker/config.json").prints(r#"{"auths":{},"detachKeys":"ctrl-a"}"#);
    std::fs::write(host.path("/run/docker/config.json"), r#"{"credsStore":"own"}"#).unwrap();
    with_helper(&host, &login, Some("lovelace")).code(0).says("stored in docker-credential-own\n");
    host.sh("tail -n 1 /run/asked").prints(&format!(
        "store {{\"ServerURL\":\"{address}\",\"Username\":\"ada\",\"Secret\":\"lovelace\"}}"
    ));
    with_helper(&host, &["login", address], None).code(1).says("stdin is not a terminal");
    with_helper(&host, &["login", "--password-stdin", address], Some("x")).code(2);
    with_helper(&host, &["login", "-u", "a", "--password-stdin", "host/path"], Some("x"))
        .code(1)
        .says("without a path");
}

/// `pull login` at a terminal: answers each prompt ($1 with a line, $2 with a line or, if it is `^C`, an interrupt), says
/// whether there was echo at each and in the end, then the exit code and what was seen.
const AT_TERMINAL: &str = r#"
import os, pty, sys, termios
name, password, *command = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
def echo():
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)
seen = b""
def more():
    global seen
    try:
        got = os.read(terminal, 1024)
    except OSError:
        got = b""
    seen += got
    return got
for prompt, answer in ((b"Username: ", name), (b"Password: ", password)):
    while prompt not in seen:
        assert more(), seen
    print(prompt.decode().strip(), echo())
    os.write(terminal, b"\x03" if answer == "^C" else answer.encode() + b"\n")
while more():
    pass
print("end", echo())
print("code", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(seen.decode())
"#;

#[test]
fn a_password_is_asked_for_without_echo() {
    let host = Host::new();
    let server = guarded(&host);
    let run = |password: &str| {
        host.run(&[
            "env",
            "DOCKER_CONFIG=/run/docker",
            "python3",
            "-c",
            AT_TERMINAL,
            "ada",
            password,
            "pull",
            "login",
            &server.address,
        ])
        .ok()
    };
    let seen = run("lovelace");
    assert!(seen.starts_with("Username: True\nPassword: False\nend True\ncode 0\n"), "{seen}");
    assert!(seen.contains("Login Succeeded: stored in /run/docker/config.json"), "{seen}");
    assert!(seen.contains("Username: ada") && !seen.contains("lovelace"), "{seen}");
    let seen = run("^C");
    assert!(seen.starts_with("Username: True\nPassword: False\nend True\ncode 1\n"), "{seen}");
    assert!(seen.contains("interrupted by SIGINT"), "{seen}");
}

/// docker-registry with TLS and htpasswd: the authority is known from certs.d, the login is stored.
#[test]
fn a_registry_with_tls_and_passwords() {
    let host = Host::new();
    certificates(&host);
    std::fs::write(host.path("/run/htpasswd"), HTPASSWD).unwrap();
    let registry = Registry::start(
        &host,
        storage().to_str().unwrap(),
        "  tls: {certificate: /run/cert.pem, key: /run/key.pem}\nauth:\n  htpasswd: {realm: test, path: /run/htpasswd}\n",
    );
    let name = format!("{}/busybox", registry.address);
    let dir = format!("/run/home/.config/containers/certs.d/{}", registry.address);
    host.sh(&format!("mkdir -p {dir} /run/home/.docker")).ok();
    let run = |words: &[&str], stdin: Option<&str>| {
        let mut command = host.command(&[&["pull"], words].concat());
        command.env("HOME", "/run/home");
        tests::host::finish(command, stdin)
    };
    run(&["-q", &name], None).code(1).says("certificate");
    host.sh(&format!("cp /run/ca.pem {dir}/ca.crt")).ok();
    run(&["-q", &name], None).code(1).says("authentication required");
    run(&["login", "-u", "ada", "--password-stdin", &registry.address], Some("lovelace\n")).code(0);
    run(&["-q", &name], None).code(0);
    run(&["-q", "--pull=always", "--creds=ada:wrong", &name], None).code(1);
    host.sh(&format!("cp /run/cert.pem {dir}/x.cert")).ok();
    run(&["-q", "--pull=always", &name], None)
        .code(1)
        .says(&format!("{dir}/x.cert lacks its key {dir}/x.key\n"));
}

/// A registry that wants to see a certificate of ours.
#[test]
fn a_client_certificate_is_shown() {
    let host = Host::new();
    certificates(&host);
    let registry = Registry::start(
        &host,
        storage().to_str().unwrap(),
        "  tls: {certificate: /run/cert.pem, key: /run/key.pem, clientcas: [/run/ca.pem]}\n",
    );
    let name = format!("{}/busybox", registry.address);
    let dir = format!("/run/home/.config/containers/certs.d/{}", registry.address);
    host.sh(&format!("mkdir -p {dir} && cp /run/ca.pem {dir}/ca.crt")).ok();
    let run = || {
        let mut command = host.command(&["pull", "-q", "--retry=0", &name]);
        command.env("HOME", "/run/home");
        tests::host::finish(command, None)
    };
    run().code(1);
    host.sh(&format!("cp /run/cert.pem {dir}/own.cert; cp /run/key.pem {dir}/own.key")).ok();
    run().code(0);
}
