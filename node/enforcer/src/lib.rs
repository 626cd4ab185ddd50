//! Local enforcement: the compiled policy, freshness, the admission of calls and the batching of a node's activity.
//!
//! It opens no socket and no file: the cluster, the journal, clocks and randomness come in through `ports.rs`.
//! Start at `enforcer.rs` (the way of one call), then `batcher.rs` (how records become durable and replicated).

mod admitted;
mod allowance;
mod audit_reads;
mod authenticate;
mod batcher;
#[cfg(feature = "bench-purse")]
pub mod bench;
mod bound;
mod enforcer;
mod fallback;
mod freshness;
mod journal_record;
mod metrics;
mod minute;
#[cfg(feature = "mutants")]
mod mutants;
mod pace;
mod ports;
mod priced;
mod purse;
mod recall;
mod recover;
mod refusals;
mod session_permit;
mod view;
mod zones;

pub use admitted::{Admitted, Receipt, Refused};
pub use batcher::ActivityError;
pub use enforcer::{CallFacts, Enforcer, Service};
pub use freshness::Freshness;
pub use metrics::{Buckets, BucketsSnapshot, Metrics, MetricsSnapshot};
pub use ports::{
    BatchNote, Clock, ClusterPort, Entropy, Flushed, InTheClear, JournalPort, JournalRecordAt, Note, Parts,
    PersonalPort, ProposeFailure,
};
pub use priced::Used;
pub use recall::{RecallUnknown, Recalled};
pub use session_permit::SessionPermit;
pub use view::View;
pub use zones::SystemZones;
