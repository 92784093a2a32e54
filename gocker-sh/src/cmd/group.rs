//! `container`, `image` and `system`: docker's other way to say the same.

use anyhow::Result;

use super::{
    attach, commit, cp, create, df, diff, events, export, history, import, info, inspect, kill, logs, pause,
    port, prune, rename, restart, save, start, stats, stop, tag, top, update, wait,
};
use crate::cli::Global;
use crate::options::{Exec, Run};
use crate::{exec, get, images, ps, rm, rmi, run};

/// Commands of containers, by docker's longer names
#[derive(clap::Args)]
pub struct Containers {
    #[command(subcommand)]
    verb: ContainerVerb,
}

#[derive(clap::Subcommand)]
#[command(defer = true)]
enum ContainerVerb {
    Attach(attach::Attach),
    Commit(commit::Commit),
    Cp(cp::Cp),
    Create(Box<create::Create>),
    Diff(diff::Diff),
    Exec(Exec),
    Export(export::Export),
    Inspect(inspect::Inspect),
    Kill(kill::Kill),
    Logs(logs::Logs),
    #[command(visible_aliases = ["list", "ps"])]
    Ls(ps::Ps),
    Pause(pause::Pause),
    Port(port::Port),
    Prune(prune::Prune),
    Rename(rename::Rename),
    Restart(restart::Restart),
    #[command(visible_alias = "remove")]
    Rm(rm::Rm),
    Run(Box<Run>),
    Start(start::Start),
    Stats(stats::Stats),
    Stop(stop::Stop),
    Top(top::Top),
    Unpause(pause::Unpause),
    Update(update::Update),
    Wait(wait::Wait),
}

pub fn containers(global: &Global, command: Containers) -> Result<u8> {
    match command.verb {
        ContainerVerb::Attach(options) => attach::command(global, &options),
        ContainerVerb::Commit(options) => commit::commit(global, &options),
        ContainerVerb::Cp(options) => cp::cp(global, &options),
        ContainerVerb::Create(options) => create::create(global, &options),
        ContainerVerb::Diff(options) => diff::diff(global, &options),
        ContainerVerb::Exec(options) => exec::exec(global, &options),
        ContainerVerb::Export(options) => export::export(global, &options),
        ContainerVerb::Inspect(options) => inspect::inspect(global, &options.only(inspect::Kind::Container)),
        ContainerVerb::Kill(options) => kill::kill(global, &options),
        ContainerVerb::Logs(options) => logs::logs(global, &options),
        ContainerVerb::Ls(options) => ps::ps(global, &options),
        ContainerVerb::Pause(options) => pause::pause(global, &options),
        ContainerVerb::Port(options) => port::port(global, &options),
        ContainerVerb::Prune(options) => prune::containers(global, &options),
        ContainerVerb::Rename(options) => rename::rename(global, &options),
        ContainerVerb::Restart(options) => restart::restart(global, &options),
        ContainerVerb::Rm(options) => rm::rm(global, &options),
        ContainerVerb::Run(options) => run::run(global, &options),
        ContainerVerb::Start(options) => start::start(global, &options),
        ContainerVerb::Stats(options) => stats::stats(global, &options),
        ContainerVerb::Stop(options) => stop::stop(global, &options),
        ContainerVerb::Top(options) => top::top(global, &options),
        ContainerVerb::Unpause(options) => pause::unpause(global, &options),
        ContainerVerb::Update(options) => update::update(global, &options),
        ContainerVerb::Wait(options) => wait::wait(global, &options),
    }
}

/// Commands of images, by docker's longer names
#[derive(clap::Args)]
pub struct Images {
    #[command(subcommand)]
    verb: ImageVerb,
}

#[derive(clap::Subcommand)]
#[command(defer = true)]
enum ImageVerb {
    History(history::History),
    Import(import::Import),
    Inspect(inspect::Inspect),
    Load(save::Load),
    #[command(visible_alias = "list")]
    Ls(images::Images),
    Prune(prune::Prune),
    Pull(get::Pull),
    #[command(visible_alias = "remove")]
    Rm(rmi::Rmi),
    Save(save::Save),
    Tag(tag::Tag),
}

pub fn images(global: &Global, command: Images) -> Result<u8> {
    match command.verb {
        ImageVerb::History(options) => history::history(global, &options),
        ImageVerb::Inspect(options) => inspect::inspect(global, &options.only(inspect::Kind::Image)),
        ImageVerb::Import(options) => import::import(global, &options),
        ImageVerb::Load(options) => save::load(global, &options),
        ImageVerb::Save(options) => save::save(global, &options),
        ImageVerb::Tag(options) => tag::tag(global, &options),
        ImageVerb::Ls(options) => images::images(global, &options),
        ImageVerb::Prune(options) => prune::images(global, &options),
        ImageVerb::Pull(options) => get::pull(global, &options),
        ImageVerb::Rm(options) => rmi::rmi(global, &options),
    }
}

/// Commands of all that is here
#[derive(clap::Args)]
pub struct System {
    #[command(subcommand)]
    verb: SystemVerb,
}

#[derive(clap::Subcommand)]
#[command(defer = true)]
enum SystemVerb {
    Df(df::Df),
    Events(events::Events),
    Info(info::Info),
    Prune(prune::Prune),
}

pub fn system(global: &Global, command: System) -> Result<u8> {
    match command.verb {
        SystemVerb::Df(options) => df::df(global, &options),
        SystemVerb::Events(options) => events::events(global, &options),
        SystemVerb::Info(options) => info::info(global, &options),
        SystemVerb::Prune(options) => prune::system(global, &options),
    }
}
