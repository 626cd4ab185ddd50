//! The record of a reading of the audit trail.

use only1mcp_domain::activity::{AuditRead, AuditReadKind};
use only1mcp_domain::time::TimestampMs;

use super::error::DecodeError;
use super::parts::{Text as _, enumeration, record, text, wire_enum};
use crate::log;

wire_enum!(
    AuditReadKind,
    log::AuditReadKind,
    "AuditReadKind",
    [Query, Verify, Export, Watch, CostReport, CostExport]
);

impl From<&AuditRead> for log::AuditRead {
    fn from(read: &AuditRead) -> Self {
        Self {
            kind: log::AuditReadKind::from(read.kind).into(),
            caller: Some((&read.caller).into()),
            tenant: read.tenant.written(),
            everyone: read.everyone,
            asked: read.asked.clone(),
            events: read.events,
            count: read.count,
            first_at_ms: read.first_at.0,
            last_at_ms: read.last_at.0,
        }
    }
}

impl TryFrom<log::AuditRead> for AuditRead {
    type Error = DecodeError;

    fn try_from(wire: log::AuditRead) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: enumeration::<log::AuditReadKind, _>("AuditRead.kind", wire.kind)?,
            caller: record("AuditRead.caller", wire.caller)?,
            tenant: text("AuditRead.tenant", &wire.tenant)?,
            everyone: wire.everyone,
            asked: wire.asked,
            events: wire.events,
            count: wire.count,
            first_at: TimestampMs(wire.first_at_ms),
            last_at: TimestampMs(wire.last_at_ms),
        })
    }
}
