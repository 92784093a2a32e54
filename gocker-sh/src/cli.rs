//! The command line: which commands there are, and what each is given.

use anyhow::Result;
use clap::{Parser, Subcommand};
use stage::{Codes, Roots};

use crate::options::{Exec, Run};
use crate::{absent, exec, gc, get, images, ps, rm, rmi, run};

/// docker's: 125 for a wrong command line, 1 for what fails; `run` and `exec` say 125 themselves.
pub const CODES: Codes = Codes { failed: Codes::FAILED, usage: Codes::NOT_RUN };

const EXAMPLES: &str = "\
Examples:
  gocker-sh run --rm -it alpine
  gocker-sh run --rm --mem=64 --cpus=0.5 busybox wc -c /proc/meminfo
  gocker-sh run --rm --rootfs / sh          a throwaway copy of this system
  gocker-sh exec -it web sh
  gocker-sh ps -a --json | jq .
  gocker-sh --trace run --rm busybox true   every stage, its document and its time";

/// Run containers by chaining pull, mount-overlay, netns, cgctl and nsrun
#[derive(Parser)]
#[command(name = "gocker-sh", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(clap::Args)]
pub struct Global {
    #[command(flatten)]
    pub roots: Roots,
    /// Show every stage's command line, its document and its time
    #[arg(long, global = true)]
    pub trace: bool,
    /// Show each effect on the host as the shell command that would have it
    #[arg(long, global = true)]
    pub verbose: bool,
}

// Deferred: a command's options are looked at only if it is the one. Their own first line then heads its help.
#[derive(Subcommand)]
#[command(defer = true)]
enum Command {
    /// Run a command in a new container
    Run(Box<Run>),
    /// Run a command in a running container
    Exec(Exec),
    /// List containers
    Ps(ps::Ps),
    /// Remove containers
    Rm(rm::Rm),
    /// List images
    Images(images::Images),
    /// Pull an image
    Pull(get::Pull),
    /// Remove images
    Rmi(rmi::Rmi),
    /// Undo what killed commands have left
    Gc(gc::Gc),
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// Does what the command line says. Answers with the exit code.
fn carry_out(cli: Cli) -> Result<u8> {
    let global = &cli.global;
    match cli.command {
        Command::Run(options) => run::run(global, &options),
        Command::Exec(options) => exec::exec(global, &options),
        Command::Ps(options) => ps::ps(global, &options),
        Command::Rm(options) => rm::rm(global, &options),
        Command::Images(options) => images::images(global, &options),
        Command::Pull(options) => get::pull(global, &options),
        Command::Rmi(options) => rmi::rmi(global, &options),
        Command::Gc(options) => gc::command(global, &options),
        Command::Other(words) => absent::answer(&words),
    }
}

/// `main` of the tool.
pub fn main() -> std::process::ExitCode {
    stage::main(CODES, carry_out)
}
