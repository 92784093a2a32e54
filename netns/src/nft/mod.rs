//! nf_tables: one table of our own per family, changed in atomic batches, without calling nft(8).

mod encode;
mod expression;
mod ruleset;
mod table;

#[allow(unused_imports, reason = "used as soon as there is a command line")]
pub use table::{Firewall, State};
