//! `make bench`: what a cold pull costs, as ratios against a shell pipeline, docker and podman, in turns in one run.
//!
//! Everything is on one throwaway host: a loopback registry, and stores on a tmpfs, the same for all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "it removes only what it made")]

use std::path::Path;
use std::time::Instant;

use serde_json::json;
use tests::engines::{Engine, Engines};
use tests::images::{self, Compression};
use tests::registry::Registry;
use tests::{Host, Output, bins};

/// How often each contestant pulls each image; the median counts.
const ROUNDS: usize = 3;
const REGISTRY: &str = "127.0.0.1:5000";

/// A contestant.
struct Racer {
    name: &'static str,
    /// Removes what the last run has left. Like the next line for bash, with the image as `$1`, and the beginnings of
    /// command lines as `$docker` and `$podman`.
    reset: &'static str,
    /// Pulls the image.
    pull: &'static str,
    /// docker 20.10 does not know zstd.
    zstd: bool,
}

const OURS: Racer = Racer {
    name: "pull",
    reset: "pull rm -f $1 > /dev/null 2>&1; pull gc > /dev/null",
    pull: "pull -q $1 > /dev/null",
    zstd: true,
};

/// What is compared with, and at most how many times as long as each of them pull may take.
const PEERS: [(Racer, f64); 3] = [
    (
        Racer {
            name: "shell",
            reset: "rm -rf /run/shell; mkdir /run/shell",
            pull: r#"name=${1#*/}; name=${name%:*}; base=http://127.0.0.1:5000/v2/$name
            curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json' $base/manifests/latest > /run/shell/manifest
            n=0; jq -r '.layers[] | .digest + " " + .mediaType' /run/shell/manifest | while read -r digest type; do
                n=$((n + 1)); mkdir /run/shell/$n; case $type in *zstd) d='zstd -dc' ;; *) d='gzip -dc' ;; esac
                curl -sf $base/blobs/$digest | tee >(sha256sum > /run/shell/$n.sum) | $d | tar -x -C /run/shell/$n || exit 1
            done"#,
            zstd: true,
        },
        0.6,
    ),
    (
        Racer {
            name: "docker",
            reset: "eval $docker rmi $1 > /dev/null 2>&1; eval $docker system prune -f > /dev/null",
            pull: "eval $docker pull -q $1 > /dev/null",
            zstd: false,
        },
        0.4,
    ),
    (
        Racer {
            name: "podman",
            reset: "eval $podman rmi $1 > /dev/null 2>&1; true",
            pull: "eval $podman pull -q --tls-verify=false $1 > /dev/null",
            zstd: true,
        },
        0.4,
    ),
];

fn main() {
    let host = Host::new();
    host.sh("mkdir -p /run/registry && mount -t tmpfs tmpfs /run/registry").ok();
    let host = host.settled();
    let registry = Registry::start(&host, "/run/registry", "");
    let names = push_images(&host, &registry);
    let engines = Engines::start(&host);
    for name in names {
        race(&host, name);
    }
    let here = median_here(&host, &format!("{REGISTRY}/busybox:latest"));
    println!("an image that is here: {here:.2} ms (aim: 10, {})", verdict(here <= 10.0));
    drop(engines);
    drop(registry);
}

/// Everybody pulls the image, in turns.
fn race(host: &Host, name: &str) {
    let image = format!("{REGISTRY}/{name}:latest");
    let peers = PEERS.iter().filter(|(peer, _)| peer.zstd || !name.ends_with("-zstd"));
    let (racers, aims): (Vec<&Racer>, Vec<f64>) = peers.map(|(peer, aim)| (peer, *aim)).unzip();
    let racers = [&[&OURS], racers.as_slice()].concat();
    let mut times = vec![Vec::new(); racers.len()];
    for _ in 0..ROUNDS {
        for (racer, times) in racers.iter().zip(&mut times) {
            bash(host, racer.reset, &image);
            let begin = Instant::now();
            bash(host, racer.pull, &image).ok();
            times.push(begin.elapsed().as_secs_f64());
            bash(host, racer.reset, &image);
        }
    }
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    let memory = peak(host, &image);
    let reached = verdict(memory <= 32 << 10);
    println!("{name}: pull {:.3} s, peak {memory} KiB (aim: 32768, {reached})", medians[0]);
    for ((peer, theirs), aim) in racers.iter().zip(&medians).skip(1).zip(aims) {
        let ratio = medians[0] / theirs;
        let reached = verdict(ratio <= aim);
        println!("    {:8} {theirs:.3} s, ratio {ratio:.2} (aim: {aim}, {reached})", peer.name);
    }
}

fn bash(host: &Host, script: &str, image: &str) -> Output {
    let script =
        format!("docker='{}'; podman='{}'; {script}", Engine::Docker.words(), Engine::Podman.words());
    host.run(&["bash", "-c", &script, "sh", image])
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
    let script = "import resource, subprocess, sys\nsubprocess.run(['pull', '-q', sys.argv[1]], check=True, stdout=subprocess.DEVNULL)\n\
                  print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let peak = host.run(&["python3", "-c", script, image]).ok().trim().parse().unwrap();
    bash(host, OURS.reset, image);
    peak
}

/// Milliseconds until an image that is here is told of.
fn median_here(host: &Host, image: &str) -> f64 {
    host.run(&["pull", "-q", image]).ok();
    let script = "import subprocess, sys, time\ntimes = []\nfor _ in range(50):\n    begin = time.perf_counter()\n    \
                  subprocess.run(['pull', sys.argv[1]], check=True, stdout=subprocess.DEVNULL)\n    times.append(time.perf_counter() - begin)\n\
                  print(sorted(times)[25] * 1000)";
    host.run(&["python3", "-c", script, image]).ok().trim().parse().unwrap()
}
