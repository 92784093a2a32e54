//! `commit`: a new image of what a container has changed: pull makes a layer of the writable directory, on top of the
//! container's image.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value, json};
use stage::Explain;

use super::import::made;
use crate::cli::Global;
use crate::record::{Record, State, now};
use crate::spawn::Tools;
use crate::store::Store;
use crate::volumes::Volumes;
use crate::{ask, change, gc, lookup, rootfs, shape};

/// Make an image of what a container has changed
#[derive(clap::Args, Clone, Debug)]
pub struct Commit {
    /// Author, such as "Jane Doe <jane@example.org>"
    #[arg(short, long, value_name = "NAME")]
    author: Option<String>,
    /// Dockerfile instruction for the image's configuration
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Comment in the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Freeze the container meanwhile; --pause=false lets it run
    #[arg(short, long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_value = "true",
        default_missing_value = "true", action = clap::ArgAction::Set)]
    pause: bool,
    /// Name or id
    container: String,
    /// The image's name (else it has none)
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

/// Prints the new image's id.
pub fn commit(global: &Global, options: &Commit) -> Result<u8> {
    stage::need_root()?;
    let store = Store::new(&global.roots);
    gc::sweep(global, &store);
    let id = lookup::container(&store, &options.container)?;
    let record = Record::read(&store, &id)?.with_context(|| format!("No such container: {id}"))?;
    let tools = Tools::new(global)?;
    check(&record)?;
    rootfs::with_upper(global, &store, &record, |upper| {
        let words = words(global, &store, &record, options, upper)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if options.pause && record.state() == State::Running {
            return frozen(&tools, &record, &words);
        }
        made(ask::document(&tools, "pull", &words)?)
    })
}

fn check(record: &Record) -> Result<()> {
    if record.image_id.is_some() {
        return Ok(());
    }
    Err(anyhow!("it was not made of an image"))
        .with_context(|| format!("cannot commit container {}", record.id.short()))
        .hint("gocker-sh export writes its files, gocker-sh import makes an image of them")
}

/// Nothing of the container changes meanwhile.
fn frozen(tools: &Tools, record: &Record, words: &[&str]) -> Result<u8> {
    let id = &record.id;
    if ask::code(tools, "cgctl", &["freeze", id.as_str()])? != 0 {
        bail!("cannot commit container {}: cgctl failed", id.short());
    }
    let document = ask::document(tools, "pull", words);
    let thawed = ask::code(tools, "cgctl", &["thaw", id.as_str()])?;
    let code = made(document?)?;
    if thawed != 0 {
        bail!("cannot let container {} go on: cgctl failed", id.short());
    }
    Ok(code)
}

/// What pull is asked.
fn words(
    global: &Global,
    store: &Store,
    record: &Record,
    options: &Commit,
    upper: &str,
) -> Result<Vec<String>> {
    let container = shape::container(store, &Volumes::new(&global.roots), record)?;
    let mut config = of_image(&container["Config"]);
    change::apply_all(&mut config, &options.change)?;
    let created = now();
    let mut step = json!({"created": created, "created_by": record.command.join(" ")});
    let mut said = json!({"created": created, "config": config});
    if let Some(author) = &options.author {
        said["author"] = author.as_str().into();
        step["author"] = author.as_str().into();
    }
    if let Some(message) = &options.message {
        step["comment"] = message.as_str().into();
    }
    said["history"] = json!([step]);
    let mut words: Vec<String> = record.image_id.iter().map(|image| format!("--onto={image}")).collect();
    words.push(format!("--config={said}"));
    words.extend(options.name.iter().map(|name| format!("--name={name}")));
    words.push(format!("rootfs:{upper}"));
    Ok(words)
}

/// What an image's configuration can say (OCI image-spec, config.md), of what docker's says of a container.
const KEYS: [&str; 9] =
    ["Cmd", "Entrypoint", "Env", "ExposedPorts", "Labels", "StopSignal", "User", "Volumes", "WorkingDir"];

fn of_image(container: &Value) -> Map<String, Value> {
    let is_set = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    let said = KEYS.iter().map(|key| ((*key).to_owned(), container[*key].clone()));
    said.filter(|(_, value)| is_set(value)).collect()
}
