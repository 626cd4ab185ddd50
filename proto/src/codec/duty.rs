//! Duties, and how far their holders have come.

use only1mcp_domain::command::DutyProgress;
use only1mcp_domain::ids::{AuditIndex, NodeId};
use only1mcp_domain::model::{Duty, DutyId};
use only1mcp_domain::row::RowValue;
use only1mcp_domain::time::TimestampMs;

use super::error::DecodeError;
use super::parts::{Decoded, Text as _, record, required, text};
use crate::log;
use crate::log::duty_id::Kind;

impl From<&DutyId> for log::DutyId {
    fn from(id: &DutyId) -> Self {
        let kind = match id {
            DutyId::Webhook { tenant, webhook } => {
                Kind::Webhook(log::WebhookDuty { tenant: tenant.written(), webhook: webhook.written() })
            }
            DutyId::Retention => Kind::Retention(log::RetentionDuty {}),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<log::DutyId> for DutyId {
    type Error = DecodeError;

    fn try_from(wire: log::DutyId) -> Result<Self, DecodeError> {
        Ok(match required("DutyId.kind", wire.kind)? {
            Kind::Webhook(duty) => Self::Webhook {
                tenant: text("WebhookDuty.tenant", &duty.tenant)?,
                webhook: text("WebhookDuty.webhook", &duty.webhook)?,
            },
            Kind::Retention(_) => Self::Retention,
        })
    }
}

impl From<&DutyProgress> for log::AdvanceDuty {
    fn from(progress: &DutyProgress) -> Self {
        Self {
            duty: Some((&progress.duty).into()),
            fence: progress.fence,
            cursor: progress.cursor.0,
            attempts: progress.attempts,
            last_error: progress.last_error.clone(),
        }
    }
}

impl TryFrom<log::AdvanceDuty> for DutyProgress {
    type Error = DecodeError;

    fn try_from(wire: log::AdvanceDuty) -> Result<Self, DecodeError> {
        Ok(Self {
            duty: record("AdvanceDuty.duty", wire.duty)?,
            fence: wire.fence,
            cursor: AuditIndex(wire.cursor),
            attempts: wire.attempts,
            last_error: wire.last_error,
        })
    }
}

pub(super) fn write_duty(id: &DutyId, duty: &Duty) -> log::DutyRow {
    log::DutyRow {
        duty: Some(id.into()),
        node: duty.node.map(|node| node.0),
        assigned_at: duty.assigned_at,
        cursor: duty.cursor.0,
        attempts: duty.attempts,
        last_error: duty.last_error.clone(),
        told_at_ms: duty.told_at.0,
    }
}

pub(super) fn read_duty(wire: log::DutyRow) -> Decoded<RowValue> {
    let duty = Duty {
        node: wire.node.map(NodeId),
        assigned_at: wire.assigned_at,
        cursor: AuditIndex(wire.cursor),
        attempts: wire.attempts,
        last_error: wire.last_error,
        told_at: TimestampMs(wire.told_at_ms),
    };
    Ok(RowValue::Duty { id: record("DutyRow.duty", wire.duty)?, duty })
}
