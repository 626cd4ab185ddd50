//! Every rule of Only1MCP: what the replicated state is, how it changes, who may do what, and how the audit chain is
//! linked. Pure: no clock, no randomness, no file, no socket, no unordered map; equal inputs give equal bytes on every
//! node.
//!
//! It never performs I/O and never logs. Start at `state.rs` (what there is), `command.rs` (what can happen),
//! `apply/` (how it happens) and `decide/` (who may).

#![deny(clippy::float_arithmetic)]

pub mod activity;
pub mod apply;
pub mod audit;
pub mod command;
pub mod cost;
pub mod decide;
pub mod ids;
pub mod ledger;
pub mod limits;
pub mod lookup;
pub mod model;
pub mod money;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod outcome;
pub mod price;
pub mod row;
pub mod secret;
pub mod state;
pub mod time;

pub use outcome::{Applied, Effect, Outcome, Rejection};
pub use state::State;
