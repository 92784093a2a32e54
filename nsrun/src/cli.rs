//! The command line: which verbs there are, and what each is given.

use anyhow::{Result, anyhow, bail};
use clap::{Parser, Subcommand};
use stage::{Codes, Explain};

use crate::oci::options::{
    DeleteOptions, EngineOptions, EventsOptions, KillOptions, ListOptions, MakeOptions, Name, Operand,
    PsOptions, RunBundleOptions, UpdateOptions,
};
use crate::oci::{self, create, delete, events, features, kill, log, pause, ps, start, state, update};
use crate::options::{ExecOptions, RunOptions, SpecOptions};
use crate::record::StateRoot;
use crate::{exec, ls, run};

const USAGE: &str = "\
nsrun [OPTIONS] [-- COMMAND [ARG]...]
       nsrun exec|undo|ls|spec ...
       nsrun create|start|state|kill|delete|run|ps|pause|resume|update|events|list|features ...";

const EXAMPLES: &str = "\
Examples:
  pull alpine | mount-overlay | netns | cgctl -m 64M | nsrun -it -- sh
  nsrun --rootfs /srv/debian -it -- bash
  nsrun --rootfs /srv/debian --network host -e LANG=C -w /tmp -- env
  nsrun exec -it $ID sh
  nsrun spec --rootfs /srv/debian --bundle b -- sh && crun run -b b test
  nsrun ls | jq -r '.[].id'
As an OCI runtime:
  nsrun run --bundle b box
  nsrun create --bundle b box && nsrun start box && nsrun kill box KILL && nsrun delete box
  podman --runtime /usr/local/bin/nsrun run --rm alpine true";

/// What engines read of it: a name, a version, and that of the runtime specification.
const VERSION: &str = concat!("version ", env!("CARGO_PKG_VERSION"), "\nspec: 1.3.0");

/// Run a command in namespaces of its own, on a root file system of its own
#[derive(Parser)]
#[command(name = "nsrun", version, long_version = VERSION, override_usage = USAGE, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    roots: StateRoot,
    /// Show each effect on the host as the shell command that would have it
    #[arg(short, long, visible_alias = "debug", global = true)]
    verbose: bool,
    #[command(flatten)]
    engine: EngineOptions,
    #[command(flatten)]
    run: RunOptions,
    #[command(subcommand)]
    verb: Option<Verb>,
}

// Deferred: a verb's options are looked at only if it is the one. A doc comment of theirs would head its help, so
// they have none.
#[derive(Subcommand)]
#[command(defer = true)]
enum Verb {
    /// Run a command in a running container
    Exec(ExecOptions),
    /// End what runs in a container, and forget it
    Undo {
        /// The container
        id: Name,
    },
    /// List the containers, as JSON
    Ls,
    /// Print the OCI runtime configuration that a run would execute
    Spec(Box<SpecOptions>),
    /// Make a container from a bundle; it waits for start
    Create(MakeOptions),
    /// Begin the program of a created container
    Start(Operand),
    /// Run a container from a bundle: create, start, wait, delete
    Run(RunBundleOptions),
    /// Print what a container is doing, as JSON
    State(Operand),
    /// Send a signal to a container
    Kill(KillOptions),
    /// Remove a container that does not run
    Delete(DeleteOptions),
    /// Stop every process of a container where it is
    Pause(Operand),
    /// Let the processes of a paused container go on
    Resume(Operand),
    /// List the processes of a container
    Ps(PsOptions),
    /// Change the limits of a container
    Update(Box<UpdateOptions>),
    /// Print what a container uses, as JSON lines
    Events(EventsOptions),
    /// List the containers, as a table
    List(ListOptions),
    /// Print what nsrun knows of the OCI runtime specification, as JSON
    Features,
}

/// Does what the command line says. Answers with the exit code.
fn carry_out(cli: Cli) -> Result<u8> {
    stage::show_effects(cli.verbose);
    if let Some(file) = &cli.engine.log {
        log::open(file, cli.engine.log_format)?;
    }
    check(&cli).and_then(|()| dispatch(cli)).inspect_err(log::error)
}

/// # Errors
/// An engine wants what nsrun does not do.
fn check(Cli { engine, verb, .. }: &Cli) -> Result<()> {
    // With every other verb it says of a group that is there, or is not, what the record knows better.
    if engine.systemd_cgroup && matches!(verb, None | Some(Verb::Create(_) | Verb::Run(_))) {
        return Err(anyhow!("cannot use --systemd-cgroup: nsrun makes cgroups without systemd")).hint(
            "tell the engine to use cgroupfs: --cgroup-manager cgroupfs, native.cgroupdriver=cgroupfs",
        );
    }
    match engine.rootless.as_deref() {
        None | Some("false" | "auto") => Ok(()),
        Some(word) => bail!("cannot use --rootless={word}: nsrun needs root"),
    }
}

fn dispatch(cli: Cli) -> Result<u8> {
    let roots = &cli.roots;
    let done = match cli.verb {
        None => return run::run(roots, &cli.run),
        Some(Verb::Exec(options)) => return exec::exec(roots, &options),
        Some(Verb::Run(options)) => return oci::run::run(roots, &options),
        Some(Verb::Undo { id }) => delete::undo(roots, &id.0),
        Some(Verb::Ls) => ls::ls(roots),
        Some(Verb::Spec(options)) => run::spec(&options),
        Some(Verb::Create(options)) => create::create(roots, &options),
        Some(Verb::Start(operand)) => start::start(roots, &operand.id.0),
        Some(Verb::State(operand)) => state::state(roots, &operand.id.0),
        Some(Verb::Kill(options)) => kill::kill(roots, &options),
        Some(Verb::Delete(options)) => delete::delete(roots, &options),
        Some(Verb::Pause(operand)) => pause::pause(roots, &operand.id.0),
        Some(Verb::Resume(operand)) => pause::resume(roots, &operand.id.0),
        Some(Verb::Ps(options)) => ps::ps(roots, &options),
        Some(Verb::Update(options)) => update::update(roots, &options),
        Some(Verb::Events(options)) => events::events(roots, &options),
        Some(Verb::List(options)) => state::list(roots, &options),
        Some(Verb::Features) => features::features(),
    };
    done.map(|()| 0)
}

/// `main` of the tool.
pub fn main() -> std::process::ExitCode {
    stage::main(Codes::RUNNER, carry_out)
}
