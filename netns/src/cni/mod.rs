//! netns as a CNI plugin (specification 1.1 and those before): called with CNI_COMMAND in its environment, a network's
//! configuration on stdin, and one of a plugin's names.

mod answer;
mod attach;
mod chained;
mod failure;
mod host_local;
mod ranges;
mod request;

use std::process::ExitCode;

use serde_json::{Value, json};
use stage::print_json;

use failure::{Failure, Outcome};
use request::{Command, Request};

/// The versions of the specification that it speaks, the newest last.
pub const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// As which plugin the binary was called: the name it was started under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plugin {
    /// Under its own name, as `bridge`, or under any other: an interface on a bridge, with an address.
    Bridge,
    /// `loopback`: brings up `lo`.
    Loopback,
    /// `host-local`: addresses, for the plugin that calls it.
    HostLocal,
    /// `portmap`: publishes ports of what a `bridge` before it in the chain made.
    Portmap,
}

impl Plugin {
    fn named(program: &str) -> Plugin {
        match program {
            "loopback" => Plugin::Loopback,
            "host-local" => Plugin::HostLocal,
            "portmap" => Plugin::Portmap,
            _ => Plugin::Bridge,
        }
    }
}

/// Whether an engine calls: CNI_COMMAND is set.
pub fn is_called() -> bool {
    std::env::var_os("CNI_COMMAND").is_some()
}

/// `main` for an engine: one JSON value on stdout, or none.
pub fn main() -> ExitCode {
    let program = std::env::args_os().next().unwrap_or_default();
    let program =
        std::path::Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut version = VERSIONS[VERSIONS.len() - 1].to_owned();
    let (answer, code) = match run(Plugin::named(&program), &mut version) {
        Ok(answer) => (answer, ExitCode::SUCCESS),
        Err(failure) => (Some(failure.as_json(&version)), ExitCode::FAILURE),
    };
    match answer.map_or(Ok(()), |answer| print_json(&answer)) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Carries out one command. `version` becomes the configuration's, once that is known.
fn run(plugin: Plugin, version: &mut String) -> Outcome<Option<Value>> {
    let command = Command::from_environment()?;
    let request = Request::read(command)?;
    version.clone_from(&request.config.cni_version);
    if command == Command::Version {
        return Ok(Some(json!({"cniVersion": version, "supportedVersions": VERSIONS})));
    }
    if !VERSIONS.contains(&version.as_str()) {
        let details = format!("it speaks {}", VERSIONS.join(", "));
        return Err(Failure::new(1, format!("incompatible CNI version {version:?}")).details(details));
    }
    stage::need_root().map_err(|error| Failure::own(&error))?;
    stage::signals::hold().map_err(|error| Failure::own(&error))?;
    match (plugin, command) {
        (_, Command::Version) => Ok(None),
        (Plugin::Bridge, Command::Add) => attach::add(&request).map(Some),
        (Plugin::Bridge, Command::Del) => attach::del(&request).map(|()| None),
        (Plugin::Bridge, Command::Check) => attach::check(&request).map(|()| None),
        (Plugin::Bridge, Command::Gc) => attach::gc(&request).map(|()| None),
        (Plugin::Bridge, Command::Status) => attach::status().map(|()| None),
        (Plugin::Portmap, Command::Add) => chained::publish(&request).map(Some),
        (Plugin::Portmap, Command::Del) => chained::unpublish(&request).map(|()| None),
        (Plugin::HostLocal, Command::Add) => host_local::add(&request).map(Some),
        (Plugin::HostLocal, Command::Del) => host_local::del(&request).map(|()| None),
        (Plugin::HostLocal, Command::Check) => host_local::check(&request).map(|()| None),
        (Plugin::HostLocal, Command::Gc) => host_local::gc(&request).map(|()| None),
        (Plugin::Loopback, Command::Add) => chained::loopback(&request).map(Some),
        (Plugin::Loopback | Plugin::Portmap | Plugin::HostLocal, _) => Ok(None),
    }
}
