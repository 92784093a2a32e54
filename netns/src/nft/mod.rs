//! nf_tables: one table of our own per family, changed in atomic batches, without calling nft(8).

mod chain;
mod encode;
mod expression;
mod others;
mod port;
mod ruleset;
mod table;

pub use port::Port;
pub use ruleset::{Network, PortChange};
pub use table::{Dropped, Firewall, State};
