//! The ways out of a cluster: what stands in its audit trail, delivered elsewhere. Webhooks are the first.
//!
//! It owns delivery: what is sent, how it is signed, when it is sent again, and how far it has come. It decides nothing
//! about the state; it sees the cluster through [`ports`] alone.
//!
//! A webhook is a *duty*: the log gives it to one node ([`plan`], which the leader carries out), and that assignment's
//! log index fences all that the node says of its progress. The holder reads its own audit rows from the replicated
//! cursor on, sends what concerns the webhook, in order, each until it is taken, and has the cursor advanced.
//! A node sends only while its state is fresh, so that a holder that is cut off falls silent before another is chosen
//! ([`silence`]). Delivery is at least once all the same: a node may die between the answer and the log, or its process
//! may stand still in the middle of a request. The receiver knows a repetition by its id, the event's audit index.
//! Start at `runner.rs`, then `worker.rs`.

mod assign;
mod attempt;
mod backoff;
mod message;
mod metrics;
mod places;
pub mod ports;
mod runner;
mod sign;
mod signals;
mod worker;

pub use assign::{Assignment, plan, silence};
pub use metrics::MetricsSnapshot;
pub use runner::Runner;
