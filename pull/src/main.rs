//! `pull`: an image reference becomes verified, unpacked layers. Section "image" of the document.
#![forbid(unsafe_code)]

mod blob;
mod cli;
mod decompress;
mod digest;
mod fetch;
mod image;
mod interrupt;
mod layer;
mod ls;
mod manifest;
mod obtain;
mod platform;
mod progress;
mod reference;
mod registry;
mod rm;
mod section;
mod source;
mod store;
mod tarball;
mod unpack;

use std::process::ExitCode;

fn main() -> ExitCode {
    stage::main(stage::Codes::STAGE, cli::run)
}
