//! Images for the tests, made here: busybox alone, and Debian with python3.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bins;

/// What the shared store and the shared registry hold.
pub const IMAGES: [&str; 2] = ["busybox", "python"];

/// A layer of an image: its tar stream, before compression.
pub type Tar = Vec<u8>;

/// How a layer travels.
#[derive(Clone, Copy)]
pub enum Compression {
    Gzip,
    Zstd,
    None,
}

/// `sha256:...` of these bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Writes an OCI image layout (image-layout.md) with one image, tagged `tag`.
///
/// `config` is the `config` object of the image configuration (Cmd, Env, ...).
pub fn layout(dir: &Path, tag: &str, layers: &[(Tar, Compression)], config: &Value) {
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8], media_type: &str| {
        let digest = digest(bytes);
        std::fs::write(blobs.join(&digest[7..]), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    };
    let mut descriptors = Vec::new();
    for (tar, compression) in layers {
        let (bytes, suffix) = compress(tar, *compression);
        descriptors.push(put(&bytes, &format!("application/vnd.oci.image.layer.v1.tar{suffix}")));
    }
    let diff_ids: Vec<String> = layers.iter().map(|(tar, _)| digest(tar)).collect();
    let spec = json!({"architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z", "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let spec = put(&serde_json::to_vec(&spec).unwrap(), "application/vnd.oci.image.config.v1+json");
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": spec, "layers": descriptors});
    let mut manifest =
        put(&serde_json::to_vec(&manifest).unwrap(), "application/vnd.oci.image.manifest.v1+json");
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    manifest["platform"] = json!({"architecture": "amd64", "os": "linux"});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    std::fs::write(dir.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    std::fs::write(dir.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
}

fn compress(tar: &[u8], compression: Compression) -> (Vec<u8>, &'static str) {
    match compression {
        Compression::None => (tar.to_vec(), ""),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(tar).unwrap();
            (encoder.finish().unwrap(), "+gzip")
        }
        Compression::Zstd => (filter(&["zstd", "-q", "-c"], tar), "+zstd"),
    }
}

/// stdout of a command with this on its stdin.
fn filter(argv: &[&str], stdin: &[u8]) -> Vec<u8> {
    let mut child = Command::new(argv[0])
        .args(&argv[1..])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || pipe.write_all(stdin).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{argv:?}");
        output.stdout
    })
}

/// The tar stream that GNU tar makes of a directory.
pub fn tar_of(dir: &Path) -> Tar {
    let output = Command::new("tar")
        .args(["--xattrs", "--numeric-owner", "--sort=name", "-C"])
        .arg(dir)
        .args(["-c", "."])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A root file system with nothing but busybox and its links, at `dir`.
pub fn busybox_rootfs(dir: &Path) {
    for sub in ["bin", "etc", "root", "tmp", "var", "home", "usr/bin"] {
        std::fs::create_dir_all(dir.join(sub)).unwrap();
    }
    std::fs::copy("/bin/busybox", dir.join("bin/busybox")).unwrap();
    let list = Command::new("/bin/busybox").arg("--list").output().unwrap();
    for applet in String::from_utf8(list.stdout).unwrap().lines().filter(|name| *name != "busybox") {
        std::os::unix::fs::symlink("busybox", dir.join("bin").join(applet)).unwrap();
    }
    std::fs::write(
        dir.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\napp:x:1000:1000::/home/app:/bin/sh\n",
    )
    .unwrap();
    std::fs::write(dir.join("etc/group"), "root:x:0:\napp:x:1000:\nextra:x:2000:app\nnogroup:x:65534:\n")
        .unwrap();
    let mode = |path: &str, mode: u32| {
        std::fs::set_permissions(dir.join(path), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    mode("tmp", 0o1777);
    mode("root", 0o700);
}

/// The shared OCI layouts, by image name: made once and kept in the cache.
pub fn layouts() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = bins::cache().join("layouts");
        std::fs::create_dir_all(&dir).unwrap();
        once(&dir.join("busybox"), |new| {
            let rootfs = new.with_extension("rootfs");
            busybox_rootfs(&rootfs);
            layout(
                new,
                "latest",
                &[(tar_of(&rootfs), Compression::Gzip)],
                &json!({"Cmd": ["sh"], "Env": ["PATH=/bin:/usr/bin"]}),
            );
            std::fs::remove_dir_all(&rootfs).unwrap();
        });
        once(&dir.join("python"), |new| {
            let rootfs = new.with_extension("rootfs");
            debootstrap(&rootfs);
            let config = json!({"Cmd": ["python3"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]});
            layout(new, "latest", &[(tar_of(&rootfs), Compression::Gzip)], &config);
            std::fs::remove_dir_all(&rootfs).unwrap();
        });
        dir
    })
}

/// Debian with python3-minimal, from the archive that this machine's apt uses.
fn debootstrap(dir: &Path) {
    let sites = Command::new("apt-get")
        .args(["indextargets", "--format", "$(SITE)", "Created-By: Packages", "Codename: bookworm"])
        .output()
        .unwrap();
    let sites = String::from_utf8(sites.stdout).unwrap();
    let site = sites.lines().next().expect("apt-get update has not been run: no package lists");
    // Its mounts are nobody else's: a host of another test that begins meanwhile would have copies of them.
    let output = Command::new("unshare")
        .args(["--mount", "debootstrap", "--variant=minbase", "--include=python3-minimal", "bookworm"])
        .arg(dir)
        .arg(site)
        .output()
        .unwrap();
    assert!(output.status.success(), "debootstrap: {}", String::from_utf8_lossy(&output.stdout));
    std::fs::remove_dir_all(dir.join("var/cache/apt/archives")).unwrap();
}

/// Makes `path` by `make`, under a lock and a temporary name, unless it is there.
pub fn once(path: &Path, make: impl FnOnce(&Path)) {
    let lock = std::fs::File::create(path.with_extension("lock")).unwrap();
    let _lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).unwrap();
    if path.exists() {
        return;
    }
    let new = path.with_extension("new");
    std::fs::remove_dir_all(&new).ok();
    make(&new);
    std::fs::rename(new, path).unwrap();
}

/// A store of `pull` with every image of [`IMAGES`], by these names; made by the `pull` under test.
pub fn store() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        remove_stores_of_the_dead();
        let root = bins::cache().join(format!("store-{}", std::process::id()));
        for name in IMAGES {
            let output = Command::new(bins::dir().join("pull"))
                .arg("--root")
                .arg(&root)
                .args(["-q", "--name", name])
                .arg(format!("oci:{}:latest", layouts().join(name).display()))
                .output()
                .unwrap();
            assert!(output.status.success(), "pull: {}", String::from_utf8_lossy(&output.stderr));
        }
        root.join("pull")
    })
}

/// Nothing runs when a test process ends, so the next one clears up.
fn remove_stores_of_the_dead() {
    for entry in std::fs::read_dir(bins::cache()).unwrap().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix("store-"));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            std::fs::remove_dir_all(entry.path()).unwrap();
        }
    }
}
