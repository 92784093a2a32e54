//! SIGKILL at random moments: whatever it met, the next pull succeeds and fetches what is missing, and nothing else.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use tests::Host;
use tests::images::{self, Compression};

use super::server::{Layout, Server};
use super::{append, assert_nothing_half_done, tar_with};

const ROUNDS: u32 = 100;

/// Numbers that look random, and are the same in each run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// An image of three layers with many files and content that cannot be compressed.
fn layout(host: &Host, noise: &mut Noise) {
    let mut layer = |n: u32| {
        tar_with(|tar| {
            for file in 0..40 {
                let content: String =
                    (0..4000).map(|_| char::from(b' ' + u8::try_from(noise.next() % 90).unwrap())).collect();
                append(tar, &format!("{n}/{file}"), tar::EntryType::Regular, &content);
            }
        })
    };
    let layers: Vec<_> = (0..3).map(|n| (layer(n), Compression::Gzip)).collect();
    images::layout(&host.path("/run/oci"), "latest", &layers, &json!({}));
}

/// What is on disk of a layer: all of it unpacked, or so many bytes of its blob.
enum Kept {
    Layer,
    Bytes(usize),
}

fn kept(host: &Host, layers: &[(String, String)]) -> Vec<Kept> {
    let store = host.path("/var/lib/gocker/pull");
    let size = |path: String| {
        std::fs::metadata(store.join(path)).map_or(0, |meta| usize::try_from(meta.len()).unwrap())
    };
    let of = |(digest, diff_id): &(String, String)| {
        if store.join(format!("layers/sha256/{}", &diff_id[7..])).exists() {
            return Kept::Layer;
        }
        Kept::Bytes(
            size(format!("partial/{}", &digest[7..])).max(size(format!("blobs/sha256/{}", &digest[7..]))),
        )
    };
    layers.iter().map(of).collect()
}

#[test]
fn after_a_death_at_any_moment_the_next_pull_goes_on() {
    let host = Host::new();
    let mut noise = Noise(7);
    layout(&host, &mut noise);
    let served = Layout::at(host.path("/run/oci"));
    let server = Server::start(&host, move |request, stream| served.answer(request, stream));
    let name = format!("{}/x", server.address);
    let begin = Instant::now();
    let document = host.run(&["pull", "-q", &name]).json();
    let mut whole = u64::try_from(begin.elapsed().as_micros()).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let layers = document["image"]["layers"].as_array().unwrap().iter();
    let layers: Vec<_> = layers.map(|layer| (text(&layer["digest"]), text(&layer["diffID"]))).collect();
    let mut met = 0;
    for round in 0..ROUNDS {
        host.run(&["pull", "rm", &name]).ok();
        let mut child = host.command(&["pull", "-q", &name]);
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The moment itself is what is random here: no event stands for it.
        let until = Instant::now() + Duration::from_micros(noise.next() % whole);
        while let Some(rest) = until.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(rest);
        }
        let own =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
        if let Ok(pid) = own.trim().parse() {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).ok();
        }
        let killed = !child.wait().unwrap().success();
        met += u32::from(killed);
        // How long a pull takes depends on what else the machine does: the moments follow.
        whole = if killed { whole + whole / 8 } else { (whole - whole / 4).max(2_000) };
        let (before, asked) = (kept(&host, &layers), server.requests().len());
        host.run(&["pull", "-q", "--retry=0", &name]).ok();
        let requests = server.requests().split_off(asked);
        for ((digest, _), kept) in layers.iter().zip(before) {
            let ranges: Vec<_> = requests
                .iter()
                .filter(|r| r.path.ends_with(digest))
                .map(|r| r.range().unwrap_or(0))
                .collect();
            match kept {
                Kept::Layer => assert!(ranges.is_empty(), "round {round}: {digest} was here"),
                Kept::Bytes(bytes) => {
                    assert!(ranges.iter().all(|from| *from == bytes), "round {round}: {ranges:?} {bytes}")
                }
            }
        }
        host.sh("pull -q fsck | jq -c .problems").prints("[]");
        assert_nothing_half_done(&host);
    }
    assert!(met > ROUNDS / 4, "{met} were killed while they worked");
}
