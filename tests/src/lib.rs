//! The harness: throwaway hosts, images, a registry, and other people's tools to check with.
//!
//! It knows the binaries only by name, as a user does; it links none of their code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
#![allow(
    clippy::disallowed_methods,
    reason = "the tests remove only what they made below their own directory"
)]

pub mod bins;
pub mod disk;
pub mod engines;
pub mod host;
pub mod images;
pub mod inject;
pub mod output;
pub mod registry;
pub mod schema;
pub mod snapshot;

pub use disk::Disk;
pub use host::Host;
pub use output::Output;

/// A test that needs what this machine lacks says so, is listed at the end of `make test`, and ends.
#[macro_export]
macro_rules! skip {
    ($($why:tt)*) => {{
        $crate::output::skipped(&format!($($why)*));
        return;
    }};
}

/// Whether this is the virtual machine of tests/guest, where everything takes 4 to 10 times as long.
pub fn in_guest() -> bool {
    std::env::var_os("GOCKER_GUEST").is_some()
}

/// 64 random hex digits: an id for `--id`.
pub fn new_id() -> String {
    let mut bytes = [0u8; 32];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), &mut bytes).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
