//! `pull`: an image reference becomes verified, unpacked layers. Section "image" of the document.
#![forbid(unsafe_code)]

mod blob;
mod chunks;
mod cli;
mod decompress;
mod digest;
mod disk;
mod download;
mod fetch;
mod fsck;
mod garbage;
mod gc;
mod image;
mod inspect;
mod interrupt;
mod layer;
mod load;
mod lockfile;
mod login;
mod ls;
mod manifest;
mod obtain;
mod platform;
mod reference;
mod registry;
mod report;
mod rm;
mod save;
mod section;
mod size;
mod source;
mod store;
mod tag;
mod tarball;
mod unpack;

use std::process::ExitCode;

fn main() -> ExitCode {
    stage::main(stage::Codes::STAGE, cli::run)
}
