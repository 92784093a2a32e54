//! Debian's docker-registry, on the loopback of a throwaway host.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::{Host, bins, images};

/// A registry that serves; it ends with the host.
pub struct Registry {
    /// `127.0.0.1:5000` on the host.
    pub address: String,
    child: Child,
}

/// Directory of a registry's blobs that holds every image of [`images::IMAGES`] as `NAME:latest`.
pub fn storage() -> PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = bins::cache().join("registry");
        images::layouts();
        images::once(&dir, |new| {
            let host = Host::new();
            let registry = Registry::start(&host, new.to_str().unwrap(), "");
            for name in images::IMAGES {
                registry.push(&host, &format!("oci:{}:latest", images::layouts().join(name).display()), name);
            }
            registry.stop();
        });
        dir
    })
    .clone()
}

impl Registry {
    /// Starts a registry on the host that stores in `directory` (as the host sees it). `extra` is YAML below the
    /// `http:` settings: TLS, authentication.
    pub fn start(host: &Host, directory: &str, extra: &str) -> Registry {
        let config = format!(
            "version: 0.1\nlog: {{level: info, formatter: json}}\nstorage:\n  filesystem: {{rootdirectory: {directory}}}\n  \
             delete: {{enabled: true}}\nhttp:\n  addr: 127.0.0.1:5000\n{extra}"
        );
        let path = host.path("/run/registry.yml");
        std::fs::write(&path, config).unwrap();
        let mut command = host.command(&["docker-registry", "serve", "/run/registry.yml"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let up = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("listening on")));
        assert!(up.is_some(), "docker-registry did not start");
        // Its log goes on: somebody must read it.
        std::thread::spawn(move || log.for_each(drop));
        Registry { address: "127.0.0.1:5000".to_owned(), child }
    }

    /// A registry with the shared images.
    pub fn shared(host: &Host) -> Registry {
        let storage = storage();
        Registry::start(host, storage.to_str().unwrap(), "")
    }

    /// Pushes an image with skopeo(1).
    pub fn push(&self, host: &Host, source: &str, name: &str) {
        let target = format!("docker://{}/{name}:latest", self.address);
        host.run(&[
            "skopeo",
            "copy",
            "--quiet",
            "--insecure-policy",
            "--dest-tls-verify=false",
            source,
            &target,
        ])
        .ok();
    }

    /// Ends it.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // nsenter's child is the registry: it is asked to end, and nsenter then ends with it.
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        for pid in std::fs::read_to_string(children).unwrap_or_default().split_whitespace() {
            Command::new("kill").args(["-KILL", pid]).status().ok();
        }
        self.child.wait().ok();
    }
}
