//! Whatever is typed: a reference that is accepted is complete, and reads the same when it is written out.
#![no_main]
#![allow(dead_code)]

#[path = "../../pull/src/digest.rs"]
mod digest;
#[path = "../../pull/src/reference.rs"]
mod reference;

use libfuzzer_sys::fuzz_target;
use reference::Reference;

fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<Reference>() else { return };
    let whole = reference.to_string();
    assert_eq!(whole.parse::<Reference>().unwrap(), reference, "{text:?} {whole:?}");
    assert_eq!(reference.familiar().parse::<Reference>().unwrap(), reference, "{text:?}");
    // It becomes a path below the store's directory of names.
    assert!(!whole.starts_with('/') && whole.split('/').all(|element| !matches!(element, "" | "." | "..")));
});
