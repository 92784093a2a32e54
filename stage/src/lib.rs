//! The contract between the stages: the document, its exit codes and messages, undo, ids, roots and locks.
//!
//! Everything here is something all tools would otherwise write for themselves and then differ in. It does
//! not know what a mount, a link or a cgroup is. `stage/README.md` is the specification.
#![forbid(unsafe_code)]

mod document;
mod effect;
mod error;
mod file;
mod hosts;
mod id;
mod lock;
mod output;
mod roots;
mod run;
pub mod signals;
mod tree;
mod undo;

pub use document::{Document, Section};
pub use effect::{say, shell, show_effects};
pub use error::{Explain, Explained};
pub use file::{Durability, replace_file};
pub use hosts::{Hosts, HostsParts};
pub use id::Id;
pub use lock::Lock;
pub use output::{may_draw, print, print_json};
pub use roots::{Roots, RunRoot, make_private_dir};
pub use run::{Codes, main, need_root};
pub use tree::remove_tree;
pub use undo::{Undo, attempt_all, undoable};
