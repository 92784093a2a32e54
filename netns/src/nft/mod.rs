//! nf_tables: one table of our own per family, changed in atomic batches, without calling nft(8).

mod encode;
mod expression;
mod ruleset;
mod table;

pub use table::{Firewall, State};
