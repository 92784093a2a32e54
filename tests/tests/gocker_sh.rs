//! Tests of `gocker-sh`.

use tests::Host;
use tests::host::Running;

mod behaviours;
mod clean_up;
mod codes;
mod commands;
mod crowd;
mod detached;
mod images;
mod listings;
mod looking;
mod many;
mod networks;
mod options;
mod removal;
mod script;
mod swapped;

/// What a container does that is to be looked at from outside: it says that it is up, and ends with its stdin.
const STAY: &str = "echo up; exec cat";

/// Starts `gocker-sh run -i OPTIONS busybox`, and returns when it is up.
fn start(host: &Host, options: &[&str]) -> Running {
    let mut running =
        host.start(&[&["gocker-sh", "run", "-i"], options, &["busybox", "sh", "-c", STAY]].concat());
    running.wait_for_line("up");
    running
}

/// Runs `gocker-sh run --rm OPTIONS` to its end.
fn run(host: &Host, options: &[&str]) -> tests::Output {
    host.run(&[&["gocker-sh", "run", "--rm"], options].concat())
}
