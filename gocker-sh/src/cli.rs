//! The command line: which commands there are, and what each is given.

use std::path::PathBuf;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use stage::{Codes, Roots};

use crate::cmd::{
    attach, commit, completion, cp, create, diff, doctor, events, explain, export, group, history, import,
    info, inspect, kill, login, logs, network, pause, port, rename, restart, save, start, stats, stop, tag,
    top, update, volume, wait, why,
};
use crate::options::{Exec, Run};
use crate::{absent, exec, gc, get, images, ps, rm, rmi, run, watch};

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
    /// Show every stage's command line, its document and its time; in a file, as JSON lines
    #[arg(long, global = true, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub trace: Option<Option<PathBuf>>,
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
    /// Create a container without starting it
    Create(Box<create::Create>),
    /// Start containers that do not run
    Start(start::Start),
    /// Ask containers to end, kill those that do not
    Stop(stop::Stop),
    /// Stop containers and start them again
    Restart(restart::Restart),
    /// Send a signal to containers
    Kill(kill::Kill),
    /// Freeze the processes of containers
    Pause(pause::Pause),
    /// Let the processes of containers go on
    Unpause(pause::Unpause),
    /// Wait until containers have ended, print their exit codes
    Wait(wait::Wait),
    /// See what a running container prints, and type to it
    Attach(attach::Attach),
    /// Show what a container has printed
    Logs(logs::Logs),
    /// Give a container another name
    Rename(rename::Rename),
    /// Show all that is known of containers and images
    Inspect(inspect::Inspect),
    /// Show the processes of a container
    Top(top::Top),
    /// Show what containers use
    Stats(stats::Stats),
    /// Show which ports of the host lead to a container
    Port(port::Port),
    /// Copy files from a container or to it
    Cp(cp::Cp),
    /// Show what a container has changed in its image
    Diff(diff::Diff),
    /// Write the files of a container as a tar archive
    Export(export::Export),
    /// Change the limits of containers
    Update(update::Update),
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
    /// Give an image another name
    Tag(tag::Tag),
    /// Write images to an archive
    Save(save::Save),
    /// Read images from an archive
    Load(save::Load),
    /// Make an image of the files in a tar archive
    Import(import::Import),
    /// Make an image of what a container has changed
    Commit(commit::Commit),
    /// Store credentials for a registry, once it has taken them
    Login(login::Login),
    /// Remove the stored credentials for a registry
    Logout(login::Logout),
    /// Show how an image was built
    History(history::History),
    /// Networks that containers are connected to
    Network(network::Command),
    /// Volumes that outlive containers
    Volume(volume::Command),
    /// Show what happens to containers
    Events(events::Events),
    /// Show what is here: containers, images, directories, the kernel
    Info(info::Info),
    /// Show the version
    Version(info::Version),
    /// Commands of containers, by docker's longer names
    Container(group::Containers),
    /// Commands of images, by docker's longer names
    Image(group::Images),
    /// Commands of all that is here
    System(group::System),
    /// Tell how a container was made, and how to look at each part of it
    Explain(explain::Explain),
    /// Show everything on the host that belongs to a container
    Why(why::Why),
    /// Say what this host can and cannot do for containers
    Doctor(doctor::Doctor),
    /// Print what a shell needs to complete command lines
    Completion(completion::Completion),
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
        Command::Create(options) => create::create(global, &options),
        Command::Start(options) => start::start(global, &options),
        Command::Stop(options) => stop::stop(global, &options),
        Command::Restart(options) => restart::restart(global, &options),
        Command::Kill(options) => kill::kill(global, &options),
        Command::Pause(options) => pause::pause(global, &options),
        Command::Unpause(options) => pause::unpause(global, &options),
        Command::Wait(options) => wait::wait(global, &options),
        Command::Attach(options) => attach::command(global, &options),
        Command::Logs(options) => logs::logs(global, &options),
        Command::Rename(options) => rename::rename(global, &options),
        Command::Inspect(options) => inspect::inspect(global, &options),
        Command::Top(options) => top::top(global, &options),
        Command::Stats(options) => stats::stats(global, &options),
        Command::Port(options) => port::port(global, &options),
        Command::Cp(options) => cp::cp(global, &options),
        Command::Diff(options) => diff::diff(global, &options),
        Command::Export(options) => export::export(global, &options),
        Command::Update(options) => update::update(global, &options),
        Command::Tag(options) => tag::tag(global, &options),
        Command::Save(options) => save::save(global, &options),
        Command::Load(options) => save::load(global, &options),
        Command::Import(options) => import::import(global, &options),
        Command::Commit(options) => commit::commit(global, &options),
        Command::Login(options) => login::login(global, &options),
        Command::Logout(options) => login::logout(global, &options),
        Command::History(options) => history::history(global, &options),
        Command::Network(options) => network::command(global, &options),
        Command::Volume(options) => volume::command(global, &options),
        Command::Events(options) => events::events(global, &options),
        Command::Info(options) => info::info(global, &options),
        Command::Version(options) => info::version(&options),
        Command::Container(options) => group::containers(global, options),
        Command::Image(options) => group::images(global, options),
        Command::System(options) => group::system(global, options),
        Command::Explain(options) => explain::explain(global, &options),
        Command::Why(options) => why::why(global, &options),
        Command::Doctor(options) => doctor::doctor(global, &options),
        Command::Completion(options) => completion::completion(Cli::command(), &options),
        Command::Exec(options) => exec::exec(global, &options),
        Command::Ps(options) => ps::ps(global, &options),
        Command::Rm(options) => rm::rm(global, &options),
        Command::Images(options) => images::images(global, &options),
        Command::Pull(options) => get::pull(global, &options),
        Command::Rmi(options) => rmi::rmi(global, &options),
        Command::Gc(options) => gc::command(global, &options),
        Command::Other(words) => absent::answer("", &words),
    }
}

/// `main` of the tool.
pub fn main() -> std::process::ExitCode {
    // A watcher lives long: that it does without a parser of command lines keeps it small.
    let mut words = std::env::args().skip(1);
    if let (Some(watch::VERB), Some(id)) = (words.next().as_deref(), words.next()) {
        let code =
            watch::watch(Roots::from_environment(), &id, words.next().as_deref()).unwrap_or(Codes::FAILED);
        return std::process::ExitCode::from(code);
    }
    stage::main(CODES, carry_out)
}
