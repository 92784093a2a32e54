//! Every test that runs the binaries. One test binary, so that the linker runs once; a module for each tool.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cgctl;
mod dependencies;
mod docs;
mod gocker_sh;
mod guest;
mod harness;
mod mount_overlay;
mod netns;
mod nsrun;
mod pipeline;
mod pull;
mod stage;
