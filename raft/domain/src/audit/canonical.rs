//! Canonical bytes of an event.

use crate::audit::AuditEvent;

/// Bytes that are no event.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CanonicalError {
    #[error("the event ends early")]
    Short,
    #[error("{0} bytes follow the event")]
    Trailing(usize),
    #[error("unknown format version {0}")]
    Version(u8),
    #[error("field {field}: {problem}")]
    Field { field: &'static str, problem: &'static str },
}

pub fn encode(event: &AuditEvent) -> Vec<u8> {
    let _ = event;
    unimplemented!()
}

pub fn decode(bytes: &[u8]) -> Result<AuditEvent, CanonicalError> {
    let _ = bytes;
    unimplemented!()
}
