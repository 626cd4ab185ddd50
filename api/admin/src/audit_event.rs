//! Audit events as the services give them: with their content, or their place in the chain alone.

use only1mcp_domain::audit::{self, AuditEvent, EventOutcome, Expired, SealedEvent};
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;

use crate::core::Core;
use crate::subjects::opened_event;

pub(crate) fn outcome_name(outcome: EventOutcome) -> &'static str {
    match outcome {
        EventOutcome::Success => "success",
        EventOutcome::Failure => "failure",
        EventOutcome::Denied => "denied",
        EventOutcome::Unknown => "unknown",
    }
}

/// The event with its content.
pub(crate) fn whole(core: &Core, sealed: &SealedEvent, event: &AuditEvent) -> pb::AuditRecord {
    let told = opened_event(core, &core.ports.cluster.view().state, event);
    pb::AuditRecord { sealed: Some(sealed.into()), event: Some(told), expired: None }
}

/// The event with its bytes, which nobody can read.
pub(crate) fn unreadable(sealed: &SealedEvent) -> pb::AuditRecord {
    pb::AuditRecord { sealed: Some(sealed.into()), event: None, expired: None }
}

/// The event's place in the chain alone.
pub(crate) fn place(sealed: &SealedEvent) -> pb::AuditRecord {
    let place = m::SealedEvent { canonical: Default::default(), ..sealed.into() };
    pb::AuditRecord { sealed: Some(place), event: None, expired: None }
}

/// The content of a sealed event, or `None`: its payload was dropped, or its bytes cannot be read, which is worth a line
/// in the log.
pub(crate) fn decoded(sealed: &SealedEvent) -> Option<AuditEvent> {
    if Expired::parse(&sealed.bytes).is_some() {
        return None;
    }
    audit::decode(&sealed.bytes)
        .inspect_err(|error| tracing::error!(index = sealed.index.0, %error, "unreadable audit event"))
        .ok()
}
