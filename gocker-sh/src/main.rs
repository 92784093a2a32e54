//! `gocker-sh`: docker's commands, done by chaining the five stages as processes.
//!
//! It parses, chains, records and renders. It knows no mount, link, cgroup or namespace: whatever is done to the
//! host is done by a stage, and can be done by a shell script with the same stages.
#![deny(unsafe_code)]

mod absent;
mod ask;
mod chain;
mod change;
mod children;
mod cli;
mod cmd;
mod copy;
mod devices;
mod ending;
mod events;
mod exec;
mod facts;
mod filter;
mod gc;
mod get;
mod human;
mod image;
mod images;
mod life;
mod listing;
mod log;
mod lookup;
mod names;
mod options;
mod plan;
mod ps;
mod record;
mod reference;
mod rm;
mod rmi;
mod rootfs;
mod run;
mod script;
mod settle;
mod shape;
mod signal;
mod signals;
mod spawn;
mod store;
mod stored;
mod streams;
mod supervise;
mod swap;
#[expect(unsafe_code, reason = "sched_setattr(2) has no safe wrapper")]
mod sys;
mod teardown;
mod template;
mod trace;
mod usage;
mod volumes;
mod watch;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
