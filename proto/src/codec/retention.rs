//! Retention of audit payloads.

use std::sync::Arc;

use only1mcp_domain::audit::{DropRule, RetentionClass};
use only1mcp_domain::command::Command;
use only1mcp_domain::ids::AuditIndex;
use only1mcp_domain::model::{Dropped, PayloadDrop, Retention, RetentionDays};
use only1mcp_domain::row::RowValue;
use only1mcp_domain::time::TimestampMs;

use super::error::{DecodeError, Problem};
use super::parts::{Decoded, Raw as _, Text as _, raw, record, required, text};
use crate::log;

impl From<&RetentionDays> for log::RetentionDays {
    fn from(days: &RetentionDays) -> Self {
        Self {
            default: days.default,
            authentication: days.authentication,
            data_access: days.data_access,
            configuration: days.configuration,
            security: days.security,
            compliance: days.compliance,
        }
    }
}

impl From<log::RetentionDays> for RetentionDays {
    fn from(wire: log::RetentionDays) -> Self {
        Self {
            default: wire.default,
            authentication: wire.authentication,
            data_access: wire.data_access,
            configuration: wire.configuration,
            security: wire.security,
            compliance: wire.compliance,
        }
    }
}

impl From<&PayloadDrop> for log::PayloadDrop {
    fn from(drop: &PayloadDrop) -> Self {
        let held = drop.rule.held.iter();
        Self {
            first: drop.first.0,
            last: drop.last.0,
            number: drop.number,
            from: drop.from.written(),
            address: drop.address.written(),
            bytes: drop.bytes,
            classes: drop.rule.classes.iter().map(|class| class.number().into()).collect(),
            held: held
                .map(|(tenant, principal)| log::HeldPerson {
                    tenant: tenant.written(),
                    principal: principal.written(),
                })
                .collect(),
            newest_ms: drop.newest.0,
            dropped: drop.dropped,
            digest: drop.digest.written(),
        }
    }
}

fn class(number: u32) -> Decoded<RetentionClass> {
    let known = u8::try_from(number).ok().and_then(RetentionClass::from_number);
    known.ok_or_else(|| {
        DecodeError::new("PayloadDrop.classes", Problem::UnknownNumber { number: number.into() })
    })
}

impl TryFrom<log::PayloadDrop> for PayloadDrop {
    type Error = DecodeError;

    fn try_from(wire: log::PayloadDrop) -> Result<Self, DecodeError> {
        let held = wire.held.iter().map(|person| {
            Ok((text("HeldPerson.tenant", &person.tenant)?, text("HeldPerson.principal", &person.principal)?))
        });
        Ok(Self {
            first: AuditIndex(wire.first),
            last: AuditIndex(wire.last),
            number: wire.number,
            from: raw("PayloadDrop.from", &wire.from)?,
            address: raw("PayloadDrop.address", &wire.address)?,
            bytes: wire.bytes,
            rule: DropRule {
                classes: wire.classes.iter().map(|number| class(*number)).collect::<Decoded<_>>()?,
                held: held.collect::<Decoded<_>>()?,
            },
            newest: TimestampMs(wire.newest_ms),
            dropped: wire.dropped,
            digest: raw("PayloadDrop.digest", &wire.digest)?,
        })
    }
}

pub(super) fn read_set(wire: log::SetRetention) -> Decoded<Command> {
    let days = required("SetRetention.days", wire.days)?.into();
    Ok(Command::SetRetention { days, if_revision: wire.if_revision })
}

pub(super) fn read_drop(wire: log::DropPayloads) -> Decoded<Command> {
    let drop = Box::new(record("DropPayloads.drop", wire.drop)?);
    Ok(Command::DropPayloads { fence: wire.fence, drop })
}

pub(super) fn write_retention(retention: &Retention) -> log::RetentionRow {
    let Retention { revision, days, wanted } = retention;
    log::RetentionRow { revision: *revision, days: Some(days.into()), wanted: *wanted }
}

pub(super) fn read_retention(wire: log::RetentionRow) -> Decoded<RowValue> {
    let days = required("RetentionRow.days", wire.days)?.into();
    Ok(RowValue::Retention(Retention { revision: wire.revision, days, wanted: wire.wanted }))
}

pub(super) fn write_dropped(dropped: &Dropped) -> log::DroppedRow {
    log::DroppedRow { drop: Some((&dropped.drop).into()), record: dropped.record.0 }
}

pub(super) fn read_dropped(wire: log::DroppedRow) -> Decoded<RowValue> {
    let drop = record("DroppedRow.drop", wire.drop)?;
    Ok(RowValue::Dropped(Arc::new(Dropped { drop, record: AuditIndex(wire.record) })))
}
