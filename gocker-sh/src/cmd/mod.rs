//! The commands, one a module: what each is given, and what it does with the modules beside this one.

pub mod attach;
pub mod commit;
pub mod completion;
pub mod cp;
pub mod create;
pub mod df;
pub mod diff;
pub mod doctor;
pub mod events;
pub mod explain;
pub mod export;
pub mod group;
pub mod history;
pub mod import;
pub mod info;
pub mod inspect;
pub mod kill;
pub mod login;
pub mod logs;
pub mod network;
pub mod pause;
pub mod port;
pub mod prune;
pub mod rename;
pub mod restart;
pub mod save;
pub mod start;
pub mod stats;
pub mod stop;
pub mod tag;
pub mod top;
pub mod update;
pub mod volume;
pub mod wait;
pub mod why;

use anyhow::Result;
use serde_json::Value;
use stage::{Codes, Id};

use crate::cli::Global;
use crate::store::Store;
use crate::template::Template;
use crate::{gc, lookup};

/// Does the same for each word, and prints it when that is done: a failure is said, and the others have their turn. The
/// exit code.
pub fn each_word(words: &[String], mut act: impl FnMut(&str) -> Result<()>) -> Result<u8> {
    let mut code = 0;
    for word in words {
        match act(word) {
            Ok(()) => stage::print(&format!("{word}\n"))?,
            Err(error) => {
                say(&error);
                code = Codes::FAILED;
            }
        }
    }
    Ok(code)
}

/// What `inspect --format` asks for.
pub enum Inspected {
    /// One array, for people.
    Usual,
    /// The same on one line.
    Json,
    /// A line for each.
    Template(Template),
}

impl Inspected {
    pub fn parse(format: Option<&str>) -> Result<Inspected> {
        Ok(match format {
            None => Inspected::Usual,
            Some("json") => Inspected::Json,
            Some(text) => Inspected::Template(Template::parse(text)?),
        })
    }

    pub fn print(&self, found: &[Value]) -> Result<()> {
        match self {
            Inspected::Usual => {
                stage::print(&(serde_json::to_string_pretty(found)?.replace("  ", "    ") + "\n"))
            }
            Inspected::Json => stage::print_json(&found),
            Inspected::Template(template) => {
                found.iter().try_for_each(|value| stage::print(&(template.render(value)? + "\n")))
            }
        }
    }
}

/// Does the same to each of several containers: a failure is said, and the others have their turn. The exit code.
pub fn each(global: &Global, words: &[String], act: impl Fn(&Store, &Id, &str) -> Result<()>) -> Result<u8> {
    stage::need_root()?;
    let store = Store::new(&global.roots);
    gc::sweep(global, &store);
    let mut code = 0;
    for word in words {
        let done = lookup::container(&store, word).and_then(|id| act(&store, &id, word));
        if let Err(error) = done {
            say(&error);
            code = Codes::FAILED;
        }
    }
    Ok(code)
}

/// One of several errors, with its hint.
pub fn say(error: &anyhow::Error) {
    stage::say(&format!("gocker-sh: {error:#}"));
    if let Some(hint) = stage::Explained::of(error).and_then(|known| known.hint.as_deref()) {
        stage::say(&format!("  hint: {hint}"));
    }
}
