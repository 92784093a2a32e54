//! `make bench`: what a cold pull costs, as ratios against a shell pipeline, docker and podman, in turns in one run.
//!
//! Everything is on one throwaway host: a loopback registry, and stores on a tmpfs, the same for all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "it removes only what it made")]

use std::path::Path;
use std::time::Instant;

use serde_json::json;
use tests::images::{self, Compression};
use tests::registry::Registry;
use tests::{Host, bins};

/// How often each contestant pulls each image; the median counts.
const ROUNDS: usize = 5;
const REGISTRY: &str = "127.0.0.1:5000";

/// What is compared with.
struct Peer {
    name: &'static str,
    /// Removes what the last run has left.
    reset: &'static str,
    /// Pulls `$1`.
    pull: &'static str,
    at_most: f64,
    /// docker 20.10 does not know zstd.
    zstd: bool,
}

const OURS: Peer = Peer {
    name: "pull",
    reset: "pull rm -f $1 > /dev/null 2>&1; pull gc > /dev/null",
    pull: "pull -q $1 > /dev/null",
    at_most: 1.0,
    zstd: true,
};

const PEERS: [Peer; 3] = [
    Peer {
        name: "shell",
        reset: "rm -rf /run/shell; mkdir /run/shell",
        pull: r#"name=${1#*/}; name=${name%:*}; base=http://127.0.0.1:5000/v2/$name
            curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json' $base/manifests/latest > /run/shell/manifest
            n=0; jq -r '.layers[] | .digest + " " + .mediaType' /run/shell/manifest | while read -r digest type; do
                n=$((n + 1)); mkdir /run/shell/$n; case $type in *zstd) d='zstd -dc' ;; *) d='gzip -dc' ;; esac
                curl -sf $base/blobs/$digest | tee >(sha256sum > /run/shell/$n.sum) | $d | tar -x -C /run/shell/$n || exit 1
            done"#,
        at_most: 0.6,
        zstd: true,
    },
    Peer {
        name: "docker",
        reset: "docker -H unix:///run/d.sock rmi $1 > /dev/null 2>&1; docker -H unix:///run/d.sock system prune -f > /dev/null",
        pull: "docker -H unix:///run/d.sock pull -q $1 > /dev/null",
        at_most: 0.4,
        zstd: false,
    },
    Peer {
        name: "podman",
        reset: "podman --root /run/p --runroot /run/pr --tmpdir /run/pt --storage-driver overlay rmi $1 > /dev/null 2>&1; true",
        pull: "podman --root /run/p --runroot /run/pr --tmpdir /run/pt --storage-driver overlay pull -q --tls-verify=false $1 > /dev/null",
        at_most: 0.4,
        zstd: true,
    },
];

const START_DOCKER: &str = "
    dockerd --bridge none --iptables=false --storage-driver overlay2 --data-root /run/dd --exec-root /run/de \\
        --pidfile /run/d.pid -H unix:///run/d.sock > /run/d.log 2>&1 &
    for try in $(seq 100); do
        docker -H unix:///run/d.sock info > /dev/null 2>&1 && exit
        sleep 0.2
    done
    cat /run/d.log >&2; exit 1";
const STOP_DOCKER: &str = "
    kill $(cat /run/d.pid)
    while test -e /run/d.pid; do sleep 0.1; done
    umount -R /run/p 2> /dev/null; true";

fn main() {
    let host = Host::new();
    host.sh("mkdir -p /run/registry && mount -t tmpfs tmpfs /run/registry").ok();
    let registry = Registry::start(&host, "/run/registry", "");
    let names = push_images(&host, &registry);
    host.sh(START_DOCKER).ok();
    for name in names {
        race(&host, name);
    }
    let here = median_here(&host, &format!("{REGISTRY}/busybox:latest"));
    println!("an image that is here: {here:.2} ms (aim: 10, {})", verdict(here <= 10.0));
    host.sh(STOP_DOCKER).ok();
    drop(registry);
    // What the peers leave on the throwaway host goes with it.
    drop(host.settled());
}

/// Everybody pulls the image, in turns.
fn race(host: &Host, name: &str) {
    let image = format!("{REGISTRY}/{name}:latest");
    let peers = PEERS.iter().filter(|peer| peer.zstd || !name.ends_with("-zstd"));
    let racers: Vec<&Peer> = std::iter::once(&OURS).chain(peers).collect();
    let mut times = vec![Vec::new(); racers.len()];
    for _ in 0..ROUNDS {
        for (racer, times) in racers.iter().zip(&mut times) {
            host.run(&["bash", "-c", racer.reset, "sh", &image]);
            let begin = Instant::now();
            host.run(&["bash", "-c", racer.pull, "sh", &image]).ok();
            times.push(begin.elapsed().as_secs_f64());
        }
    }
    for racer in &racers {
        host.run(&["bash", "-c", racer.reset, "sh", &image]);
    }
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    let memory = peak(host, &image);
    let reached = verdict(memory <= 32 << 10);
    println!("{name}: pull {:.3} s, peak {memory} KiB (aim: 32768, {reached})", medians[0]);
    for (peer, theirs) in racers.iter().zip(&medians).skip(1) {
        let (ratio, aim) = (medians[0] / theirs, peer.at_most);
        println!(
            "    {:8} {theirs:.3} s, ratio {ratio:.2} (aim: {aim}, {})",
            peer.name,
            verdict(ratio <= aim)
        );
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "MISSED" }
}

/// busybox, twelve small layers, Debian, and a large one; the last two also with zstd.
fn push_images(host: &Host, registry: &Registry) -> Vec<&'static str> {
    let dir = bins::cache().join("bench");
    std::fs::create_dir_all(&dir).unwrap();
    let python = images::layouts().join("python");
    registry.push(host, &format!("oci:{}:latest", images::layouts().join("busybox").display()), "busybox");
    registry.push(host, &format!("oci:{}:latest", python.display()), "debian");
    let tree = dir.join("tree");
    images::once(&tree, |new| unpack(&python, new));
    let make = |name: &str, layers: usize, paths: &dyn Fn(usize) -> String, compression: Compression| {
        let layout = dir.join(name);
        images::once(&layout, |new| {
            let layers: Vec<_> = (0..layers).map(|n| (renamed(&tree, &paths(n), n), compression)).collect();
            images::layout(new, "latest", &layers, &json!({}));
        });
        registry.push(host, &format!("oci:{}:latest", layout.display()), name);
    };
    make(
        "twelve",
        12,
        &|n| format!("usr/share/doc/[{}-{}]*", char::from(b'a' + n as u8), char::from(b'b' + n as u8)),
        Compression::Gzip,
    );
    make("large", 6, &|_| "usr lib var etc".to_owned(), Compression::Gzip);
    make("debian-zstd", 1, &|_| ".".to_owned(), Compression::Zstd);
    make("large-zstd", 6, &|_| "usr lib var etc".to_owned(), Compression::Zstd);
    vec!["busybox", "twelve", "debian", "large", "debian-zstd", "large-zstd"]
}

fn unpack(layout: &Path, new: &Path) {
    std::fs::create_dir(new).unwrap();
    let script = "m=$(jq -r '.manifests[0].digest[7:]' index.json); l=$(jq -r '.layers[0].digest[7:]' blobs/sha256/$m); tar -xzf blobs/sha256/$l -C \"$0\"";
    let status =
        std::process::Command::new("sh").args(["-c", script]).arg(new).current_dir(layout).status().unwrap();
    assert!(status.success());
}

/// A tar stream of these paths of the tree, below a directory of its own.
fn renamed(tree: &Path, paths: &str, n: usize) -> Vec<u8> {
    let script = format!("tar -c --transform 's,^,layer{n}/,S' --ignore-failed-read {paths}");
    let output = std::process::Command::new("sh").args(["-c", &script]).current_dir(tree).output().unwrap();
    assert!(!output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The largest resident size of a cold pull, in KiB.
fn peak(host: &Host, image: &str) -> u64 {
    host.run(&["bash", "-c", OURS.reset, "sh", image]);
    let script = "import resource, subprocess, sys\nsubprocess.run(['pull', '-q', sys.argv[1]], check=True, stdout=subprocess.DEVNULL)\n\
                  print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    host.run(&["python3", "-c", script, image]).ok().trim().parse().unwrap()
}

/// Milliseconds until an image that is here is told of.
fn median_here(host: &Host, image: &str) -> f64 {
    host.run(&["pull", "-q", image]).ok();
    let script = "import subprocess, sys, time\ntimes = []\nfor _ in range(50):\n    begin = time.perf_counter()\n    \
                  subprocess.run(['pull', sys.argv[1]], check=True, stdout=subprocess.DEVNULL)\n    times.append(time.perf_counter() - begin)\n\
                  print(sorted(times)[25] * 1000)";
    host.run(&["python3", "-c", script, image]).ok().trim().parse().unwrap()
}
