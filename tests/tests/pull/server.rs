//! A small HTTP server on the loopback of a throwaway host that answers as a test wants.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, setns};
use tests::Host;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// With its query.
    pub path: String,
    /// Name in lower case and value.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first byte of the range that is asked for.
    pub fn range(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// Serves until it is dropped.
pub struct Server {
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// `answer` writes a whole HTTP response (or less) to the connection, which is then closed.
    pub fn start(host: &Host, answer: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Server {
        let namespace = std::fs::File::open(format!("/proc/{}/ns/net", host.pid)).unwrap();
        let (sender, receiver) = channel();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        // A network namespace is a thread's own; its sockets stay in it.
        let thread = std::thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            sender.send(listener.try_clone().unwrap()).unwrap();
            let (answer, seen) = (&answer, &seen);
            std::thread::scope(|scope| {
                while let Ok((stream, _)) = listener.accept() {
                    scope.spawn(move || serve(stream, answer, seen));
                }
            });
        });
        let listener: TcpListener = receiver.recv().unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Server { address, requests, listener, thread: Some(thread) }
    }

    /// What has been asked for so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The requests for blobs so far.
    pub fn blobs(&self) -> impl Iterator<Item = Request> {
        self.requests().into_iter().filter(|request| request.path.contains("/blobs/"))
    }

    /// The paths that have been asked for so far.
    pub fn paths(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.path).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both).unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &(impl Fn(&Request, &mut TcpStream) + Sync),
    seen: &Mutex<Vec<Request>>,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    // A TLS handshake is no request: it is cut off.
    if reader.by_ref().take(8192).read_line(&mut line).is_err()
        || !(line.starts_with("GET ") || line.starts_with("POST "))
    {
        return;
    }
    let path = line.split(' ').nth(1).unwrap().to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let request = Request { path, headers, body: String::from_utf8(body).unwrap() };
    seen.lock().unwrap().push(request.clone());
    answer(&request, &mut stream);
}

/// Writes a response with this body.
pub fn respond(stream: &mut TcpStream, status: &str, headers: &[(&str, &str)], body: &[u8]) {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    // Whoever asked may have gone.
    stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(body)).ok();
}

/// Writes a response with this body, or with the part of it that was asked for.
pub fn respond_range(request: &Request, stream: &mut TcpStream, media_type: &str, body: &[u8]) {
    let headers = [("Content-Type", media_type)];
    match request.range() {
        Some(from) if from < body.len() => {
            let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
            let headers = [headers[0], ("Content-Range", range.as_str())];
            respond(stream, "206 Partial Content", &headers, &body[from..]);
        }
        _ => respond(stream, "200 OK", &headers, body),
    }
}

/// Writes the beginning of a response, and only so many bytes of its body.
pub fn respond_in_part(stream: &mut TcpStream, body: &[u8], bytes: usize) {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..bytes])).ok();
}

/// Waits until the other side has gone.
pub fn hang(stream: &mut TcpStream) {
    std::io::copy(stream, &mut std::io::sink()).ok();
}

/// Whether a request has had its answer, such as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    Yes,
    No,
}

/// An OCI layout as a registry serves it: repository `x`, tag `latest`.
pub struct Layout {
    dir: std::path::PathBuf,
}

impl Layout {
    pub fn at(dir: std::path::PathBuf) -> Layout {
        Layout { dir }
    }

    pub fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        std::fs::read(self.dir.join("blobs/sha256").join(digest.strip_prefix("sha256:")?)).ok()
    }

    /// The digest of the image's manifest.
    pub fn manifest(&self) -> String {
        let index: serde_json::Value =
            serde_json::from_slice(&std::fs::read(self.dir.join("index.json")).unwrap()).unwrap();
        index["manifests"][0]["digest"].as_str().unwrap().to_owned()
    }

    /// The digest of the image's first layer.
    pub fn layer(&self) -> String {
        self.layers().remove(0)
    }

    /// The digests of the image's layers, base first.
    pub fn layers(&self) -> Vec<String> {
        let manifest: serde_json::Value =
            serde_json::from_slice(&self.blob(&self.manifest()).unwrap()).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
    }

    /// Serves it.
    pub fn serve(self, host: &Host) -> Server {
        Server::start(host, move |request, stream| self.answer(request, stream))
    }

    /// Serves it, but for its first layer: `trick` answers the n-th request for that, or leaves it to be answered.
    pub fn serve_but(
        self,
        host: &Host,
        trick: impl Fn(usize, &Request, &mut TcpStream, &[u8]) -> Answered + Send + Sync + 'static,
    ) -> Server {
        let (layer, count) = (self.layer(), AtomicUsize::new(0));
        let blob = self.blob(&layer).unwrap();
        Server::start(host, move |request, stream| {
            let left = !request.path.ends_with(&layer)
                || trick(count.fetch_add(1, Ordering::SeqCst), request, stream, &blob) == Answered::No;
            if left {
                self.answer(request, stream);
            }
        })
    }

    /// Serves it, but for the first answer of its first layer.
    pub fn serve_but_once(
        self,
        host: &Host,
        trick: impl Fn(&mut TcpStream, &[u8]) + Send + Sync + 'static,
    ) -> Server {
        self.serve_but(host, move |n, _, stream, blob| {
            if n > 0 {
                return Answered::No;
            }
            trick(stream, blob);
            Answered::Yes
        })
    }

    /// Answers as a registry without any trick.
    pub fn answer(&self, request: &Request, stream: &mut TcpStream) {
        let mut last = request.path.rsplit('/').next().unwrap().to_owned();
        if last == "latest" {
            last = self.manifest();
        }
        let media_type = if request.path.contains("/manifests/") {
            "application/vnd.oci.image.manifest.v1+json"
        } else {
            "application/octet-stream"
        };
        match self.blob(&last) {
            Some(bytes) => respond_range(request, stream, media_type, &bytes),
            None => {
                let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
                respond(stream, "404 Not Found", &[("Content-Type", "application/json")], body);
            }
        }
    }
}
