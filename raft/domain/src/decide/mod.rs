//! Who may do what: one evaluator for calls and lists. Pure: policy and context in, decision out.
//!
//! Start at `evaluate.rs`; `compiled.rs` is the index it reads; `explain.rs` says why in words.

mod compiled;
mod evaluate;
mod explain;
mod reason;
mod request;

pub use compiled::{CompiledPolicy, CompiledTenant};
pub use explain::{Explanation, PathReport, explain};
pub use reason::Reason;
pub use request::{Action, Context, Decision, Denial, Evidence, Request, RolePath};
