//! The audit chain: events, their canonical bytes, and the hashes that link them (P3).

mod canonical;
mod chain;
mod event;

pub use canonical::{CanonicalError, decode, encode};
pub use chain::{ChainFault, ChainHead, SealedEvent, Verifier, event_digest, link};
pub use event::{AuditEvent, EventActor, EventKind, EventOutcome, EventResource, Severity};
