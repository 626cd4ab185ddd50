//! Who may do what: one evaluator for calls and lists. Pure: policy and context in, decision out.
//!
//! Start at `evaluate.rs`; `compiled.rs` is the index it reads; `explain.rs` says why in words.

mod alternatives;
mod compiled;
mod evaluate;
mod explain;
mod finder;
mod guard;
mod index;
mod items;
mod moved;
mod permissions;
mod reason;
mod remedy;
mod request;
mod roles;
mod rules;
mod scan;
mod tenant;

pub use compiled::CompiledPolicy;
pub use explain::{Explanation, PathReport, explain};
pub use items::{split_item, upstream_in};
pub use reason::Reason;
pub use request::{Action, Context, Decision, Denial, Evidence, Request, RolePath};
pub use tenant::CompiledTenant;
