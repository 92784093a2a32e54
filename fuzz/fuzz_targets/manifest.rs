//! Whatever a registry sends as a manifest, an index or a configuration: it is refused or within the limits.
#![no_main]
#![allow(dead_code)]

#[path = "../../pull/src/digest.rs"]
mod digest;
#[path = "../../pull/src/manifest.rs"]
mod manifest;
#[path = "../../pull/src/platform.rs"]
mod platform;

use libfuzzer_sys::fuzz_target;
use manifest::Node;
use platform::Platform;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((node, media_type)) = manifest::parse(bytes, None) {
        assert!(manifest::ACCEPTED.contains(&media_type.as_str()));
        match node {
            Node::Manifest(manifest) => assert!(manifest.layers.len() <= 500),
            Node::Index(entries) => {
                if let Ok(chosen) = manifest::choose(&entries, &Platform::host()) {
                    assert!(entries.iter().any(|(entry, _)| entry == chosen));
                }
            }
        }
    }
    for layers in 0..3 {
        if let Ok(config) = manifest::config(bytes, layers) {
            assert_eq!(config.diff_ids.len(), layers);
        }
    }
});
