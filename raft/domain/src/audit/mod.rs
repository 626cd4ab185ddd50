//! The audit chain: events, their canonical bytes, and the hashes that link them (P3).

mod canonical;
mod chain;
mod event;
pub mod merkle;
#[cfg(test)]
mod merkle_tests;
mod retention;
mod signers;
mod statement;

pub use canonical::{CanonicalError, decode, encode};
pub use chain::{ChainFault, ChainHead, SealedEvent, Verifier, event_digest, link};
pub use event::{AuditEvent, EventActor, EventKind, EventOutcome, EventResource, Severity};
pub use retention::{
    DROP_ACTION, DROP_COUNT, DROP_DIGEST, DROP_FIRST, DROP_LAST, DROP_NUMBER, DropRule, Expired,
    RetentionClass, stays,
};
pub use signers::{SIGNER_DETAIL, SIGNER_NONE, Signers};
pub use statement::{CONTENT_DETAIL, Statement};
