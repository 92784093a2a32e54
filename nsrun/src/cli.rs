//! The command line: which verbs there are, and what each is given.

use anyhow::Result;
use clap::{Parser, Subcommand};
use stage::{Codes, Id, RunRoot};

use crate::options::{ExecOptions, RunOptions, SpecOptions};
use crate::{exec, ls, run, undo};

const USAGE: &str = "\
nsrun [OPTIONS] [-- COMMAND [ARG]...]
       nsrun exec|undo|ls|spec ...";

const EXAMPLES: &str = "\
Examples:
  pull alpine | mount-overlay | netns | cgctl -m 64M | nsrun -it -- sh
  nsrun --rootfs /srv/debian -it -- bash
  nsrun --rootfs /srv/debian --network host -e LANG=C -w /tmp -- env
  nsrun exec -it $ID sh
  nsrun spec --rootfs /srv/debian --bundle b -- sh && crun run -b b test
  nsrun ls | jq -r '.[].id'";

/// Run a command in namespaces of its own, on a root file system of its own
#[derive(Parser)]
#[command(name = "nsrun", version, override_usage = USAGE, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    roots: RunRoot,
    /// Show each effect on the host as the shell command that would have it
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(flatten)]
    run: RunOptions,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Run a command in a running container
    Exec(ExecOptions),
    /// End what runs in a container, and forget it
    Undo {
        /// The container
        id: Id,
    },
    /// List the containers, as JSON
    Ls,
    /// Print the OCI runtime configuration that a run would execute
    Spec(Box<SpecOptions>),
}

/// Does what the command line says. Answers with the exit code.
fn carry_out(cli: Cli) -> Result<u8> {
    stage::show_effects(cli.verbose);
    match cli.verb {
        None => run::run(&cli.roots, &cli.run),
        Some(Verb::Exec(options)) => exec::exec(&cli.roots, &options),
        Some(Verb::Undo { id }) => undo::undo(&cli.roots, &id).map(|()| 0),
        Some(Verb::Ls) => ls::ls(&cli.roots).map(|()| 0),
        Some(Verb::Spec(options)) => run::spec(&cli.roots, &options).map(|()| 0),
    }
}

/// `main` of the tool.
pub fn main() -> std::process::ExitCode {
    stage::main(Codes::RUNNER, carry_out)
}
