//! `info` and `version`.

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::Global;
use crate::lookup;
use crate::record::{Record, State};
use crate::spawn::Tools;
use crate::store::Store;
use crate::stored::Stored;
use crate::template::Template;

/// Show what is here: containers, images, directories, the kernel
#[derive(clap::Args, Clone, Debug)]
pub struct Info {
    /// A Go template, or json
    #[arg(short, long)]
    format: Option<String>,
}

/// Show the version
#[derive(clap::Args, Clone, Debug)]
pub struct Version {
    /// A Go template, or json
    #[arg(short, long)]
    format: Option<String>,
}

pub fn info(global: &Global, options: &Info) -> Result<u8> {
    let store = Store::new(&global.roots);
    let states: Vec<State> = lookup::all(&store)?
        .iter()
        .filter_map(|id| Record::read(&store, id).ok().flatten())
        .map(|record| record.state())
        .collect();
    let count = |wanted: &[State]| states.iter().filter(|state| wanted.contains(state)).count();
    let images = Stored::all(&Tools::new(global)?).map(|images| images.len()).unwrap_or_default();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim_end().to_owned();
    let controllers = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    print(
        options.format.as_deref(),
        &json!({
            "Containers": states.len(),
            "ContainersRunning": count(&[State::Running]),
            "ContainersPaused": count(&[State::Paused]),
            "ContainersStopped": count(&[State::Created, State::Exited]),
            "Images": images,
            "Driver": "overlay2",
            "LoggingDriver": "json-file",
            "CgroupVersion": if controllers { "2" } else { "1" },
            "KernelVersion": read("/proc/sys/kernel/osrelease"),
            "Architecture": std::env::consts::ARCH,
            "NCPU": std::thread::available_parallelism().map(usize::from).unwrap_or_default(),
            "Name": read("/proc/sys/kernel/hostname"),
            "DockerRootDir": global.roots.root,
            "RunRoot": global.roots.run.run_root,
            "ServerVersion": env!("CARGO_PKG_VERSION"),
        }),
    )
}

pub fn version(options: &Version) -> Result<u8> {
    let version =
        json!({"Version": env!("CARGO_PKG_VERSION"), "Os": "linux", "Arch": std::env::consts::ARCH});
    print(options.format.as_deref(), &json!({"Client": version, "Server": version}))
}

/// `Key: value` lines, nested ones indented, unless another form was asked for.
fn print(format: Option<&str>, value: &Value) -> Result<u8> {
    match format {
        Some("json") => stage::print_json(value)?,
        Some(template) => stage::print(&(Template::parse(template)?.render(value)? + "\n"))?,
        None => stage::print(&lines(value, 0))?,
    }
    Ok(0)
}

fn lines(value: &Value, indent: usize) -> String {
    let mut text = String::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        text += &" ".repeat(indent);
        match value {
            Value::Object(_) => text += &format!("{key}:\n{}", lines(value, indent + 1)),
            Value::String(word) => text += &format!("{key}: {word}\n"),
            other => text += &format!("{key}: {other}\n"),
        }
    }
    text
}
