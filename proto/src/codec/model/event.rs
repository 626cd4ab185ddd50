//! Audit events, readable, and sealed as they stand in the chain.

use only1mcp_domain::audit::{
    AuditEvent, EventActor, EventKind, EventOutcome, EventResource, SealedEvent, Severity,
};
use only1mcp_domain::ids::{AuditIndex, NodeId, Revision};
use only1mcp_domain::model::{Slot, SlotPart};
use only1mcp_domain::time::TimestampMs;

use crate::codec::error::DecodeError;
use crate::codec::parts::{
    Raw as _, Text as _, enumeration, optional_raw, parsed, raw, record, required, text, wire_enum,
};
use crate::model;

wire_enum!(Severity, model::Severity, "Severity", [Info, Notice, Warning, Critical]);
wire_enum!(EventOutcome, model::EventOutcome, "EventOutcome", [Success, Failure, Denied, Unknown]);
wire_enum!(
    EventKind,
    model::EventKind,
    "EventKind",
    [
        LoginSuccess,
        LoginFailure,
        LogoutUser,
        SessionExpired,
        MfaSuccess,
        MfaFailure,
        AccessGranted,
        AccessDenied,
        PermissionChanged,
        RoleAssigned,
        RoleRevoked,
        DataAccess,
        DataModification,
        DataDeletion,
        DataExport,
        DataImport,
        ConfigurationChange,
        ServerAdded,
        ServerRemoved,
        ServerModified,
        SecurityAlert,
        PolicyViolation,
        AnomalyDetected,
        AuditLogAccess,
        AuditLogExport,
        ComplianceCheck,
        SystemStartup,
        SystemShutdown,
        BackupCreated,
        BackupRestored,
    ]
);

impl From<&EventActor> for model::EventActor {
    fn from(actor: &EventActor) -> Self {
        Self { tenant: actor.tenant.clone(), id: actor.id.clone(), via: actor.via.clone() }
    }
}

impl From<model::EventActor> for EventActor {
    fn from(wire: model::EventActor) -> Self {
        Self { tenant: wire.tenant, id: wire.id, via: wire.via }
    }
}

impl From<&AuditEvent> for model::AuditEvent {
    fn from(event: &AuditEvent) -> Self {
        let detail = |(name, value): &(String, String)| model::EventDetail {
            name: name.clone(),
            value: value.clone(),
        };
        Self {
            kind: model::EventKind::from(event.kind).into(),
            severity: model::Severity::from(event.severity).into(),
            tenant: event.tenant.written(),
            actor: Some((&event.actor).into()),
            impersonator: event.impersonator.as_ref().map(Into::into),
            action: event.action.clone(),
            resource: Some(model::EventResource {
                kind: event.resource.kind.clone(),
                id: event.resource.id.clone(),
            }),
            outcome: model::EventOutcome::from(event.outcome).into(),
            reason: event.reason.clone(),
            call: event.call.map(|id| id.written()),
            decision: event.decision.map(|id| id.written()),
            revision: event.revision.map(|revision| revision.0),
            node: event.node.0,
            observed_at_ms: event.observed_at.0,
            log_time_ms: event.log_time.0,
            request_id: event.request_id.clone(),
            session_id: event.session_id.clone(),
            ip_address: event.ip_address.map(|ip| ip.to_string()),
            user_agent: event.user_agent.clone(),
            geo_location: event.geo_location.clone(),
            before_state: event.before_state.clone(),
            after_state: event.after_state.clone(),
            diff: event.diff.clone(),
            details: event.details.iter().map(detail).collect(),
            personal: event.personal.iter().map(write_part).collect(),
            signature: event.signature.clone().map(Into::into),
        }
    }
}

impl TryFrom<model::AuditEvent> for AuditEvent {
    type Error = DecodeError;

    fn try_from(wire: model::AuditEvent) -> Result<Self, DecodeError> {
        let resource = required("AuditEvent.resource", wire.resource)?;
        let ip = wire.ip_address.as_deref();
        Ok(Self {
            kind: enumeration::<model::EventKind, _>("AuditEvent.kind", wire.kind)?,
            severity: enumeration::<model::Severity, _>("AuditEvent.severity", wire.severity)?,
            tenant: text("AuditEvent.tenant", &wire.tenant)?,
            actor: required("AuditEvent.actor", wire.actor)?.into(),
            impersonator: wire.impersonator.map(Into::into),
            action: wire.action,
            resource: EventResource { kind: resource.kind, id: resource.id },
            outcome: enumeration::<model::EventOutcome, _>("AuditEvent.outcome", wire.outcome)?,
            reason: wire.reason,
            call: optional_raw("AuditEvent.call", wire.call.as_deref())?,
            decision: optional_raw("AuditEvent.decision", wire.decision.as_deref())?,
            revision: wire.revision.map(Revision),
            node: NodeId(wire.node),
            observed_at: TimestampMs(wire.observed_at_ms),
            log_time: TimestampMs(wire.log_time_ms),
            request_id: wire.request_id,
            session_id: wire.session_id,
            ip_address: ip.map(|ip| parsed("AuditEvent.ip_address", ip)).transpose()?,
            user_agent: wire.user_agent,
            geo_location: wire.geo_location,
            before_state: wire.before_state,
            after_state: wire.after_state,
            diff: wire.diff,
            details: wire.details.into_iter().map(|detail| (detail.name, detail.value)).collect(),
            personal: wire.personal.into_iter().map(read_part).collect::<Result<_, _>>()?,
            signature: wire.signature.map(|bytes| bytes.to_vec()),
        })
    }
}

/// What is inside is for whoever has the key to add.
fn write_part((part, slot): &(SlotPart, Slot)) -> model::SealedPart {
    model::SealedPart {
        part: part.number().into(),
        slot: Some(slot.into()),
        status: String::new(),
        inside: Vec::new(),
    }
}

fn read_part(wire: model::SealedPart) -> Result<(SlotPart, Slot), DecodeError> {
    let number = u8::try_from(wire.part).ok().and_then(SlotPart::from_number);
    Ok((required("SealedPart.part", number)?, record("SealedPart.slot", wire.slot)?))
}

impl From<&SealedEvent> for model::SealedEvent {
    fn from(event: &SealedEvent) -> Self {
        Self {
            index: event.index.0,
            canonical: event.bytes.clone().into(),
            digest: event.digest.written(),
            hash: event.hash.written(),
        }
    }
}

impl TryFrom<model::SealedEvent> for SealedEvent {
    type Error = DecodeError;

    fn try_from(wire: model::SealedEvent) -> Result<Self, DecodeError> {
        Ok(Self {
            index: AuditIndex(wire.index),
            bytes: wire.canonical.to_vec(),
            digest: raw("SealedEvent.digest", &wire.digest)?,
            hash: raw("SealedEvent.hash", &wire.hash)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_kinds_carry_the_domains_numbers() {
        for kind in EventKind::ALL {
            let wire = model::EventKind::from(*kind);
            assert_eq!(u32::try_from(i32::from(wire)).unwrap(), kind.number(), "{kind:?}");
        }
    }
}
