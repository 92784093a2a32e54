//! `nsrun`: runs one command in namespaces of its own, on a root file system of its own.
//!
//! The command line and the document become an OCI runtime configuration (`spec/`), which one core executes
//! (`container/`). It makes no network device, no cgroup and no overlay: it is given them, and enters them.
#![deny(unsafe_code)]

mod call;
mod cli;
mod container;
mod document;
mod exec;
mod facts;
mod gate;
mod json;
mod ls;
mod oci;
mod options;
mod record;
mod report;
mod run;
mod seccomp;
mod spec;
mod start;
mod status;
mod stdio;
mod sys;
mod terminal;
mod wait;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
