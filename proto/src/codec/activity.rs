//! Batches of what a node did. A batch carries its records as bytes, because their digest is over those bytes.

use bytes::Buf;
use only1mcp_domain::activity::{
    Admission, Batch, CallOutcome, Caller, Completion, ItemKind, NoticeKind, Record, Refusal, SessionEvent,
    Unauthenticated,
};
use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::{Incarnation, NodeId, Revision};
use only1mcp_domain::limits;
use only1mcp_domain::time::TimestampMs;
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, skip_field};

use super::error::{DecodeError, Problem};
use super::parts::{
    Decoded, Raw as _, Text as _, enumeration, message, optional_raw, optional_text, parsed, raw, record,
    required, text, text_list, wire_enum, write_list, write_text,
};
use crate::log::record::Kind;
use crate::{log, model};

wire_enum!(ItemKind, log::ItemKind, "ItemKind", [Tool, Prompt, Resource, Administration]);
wire_enum!(NoticeKind, log::NoticeKind, "NoticeKind", [Startup, Shutdown, Alarm]);
wire_enum!(
    CallOutcome,
    log::CallOutcome,
    "CallOutcome",
    [Success, ToolError, UpstreamError, UpstreamFailed, TimedOut, Cancelled, Withheld, Unknown]
);

/// The bytes that are journaled, and whose SHA3-256 is the batch's digest.
pub fn encode_records(records: &[Record]) -> Vec<u8> {
    log::Records { records: records.iter().map(Into::into).collect() }.encode_to_vec()
}

/// Reads what [`encode_records`] wrote.
pub fn decode_records(bytes: &[u8]) -> Result<Vec<Record>, DecodeError> {
    let found = count_records(bytes)?;
    if found > limits::BATCH_RECORDS_MAX {
        let (found, max) = (found as u64, limits::BATCH_RECORDS_MAX as u64);
        return Err(DecodeError::new("Batch.records", Problem::TooLarge { found, max }));
    }
    let wire: log::Records = message("Batch.records", bytes, limits::BATCH_BYTES_MAX)?;
    wire.records.into_iter().map(TryInto::try_into).collect()
}

/// Counts without decoding: an empty record is two bytes here and hundreds in memory.
fn count_records(mut bytes: &[u8]) -> Decoded<usize> {
    let malformed = |error| DecodeError::invalid("Batch.records", error);
    let mut count = 0;
    while bytes.has_remaining() {
        let (tag, wire_type) = decode_key(&mut bytes).map_err(malformed)?;
        skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).map_err(malformed)?;
        count += usize::from(tag == 1 && wire_type == WireType::LengthDelimited);
    }
    Ok(count)
}

impl From<&Batch> for log::Batch {
    fn from(batch: &Batch) -> Self {
        Self {
            node: batch.node.0,
            incarnation: batch.incarnation.0,
            sequence: batch.sequence,
            digest: batch.digest.written(),
            records: encode_records(&batch.records).into(),
        }
    }
}

impl TryFrom<log::Batch> for Batch {
    type Error = DecodeError;

    fn try_from(wire: log::Batch) -> Result<Self, DecodeError> {
        Ok(Self {
            node: NodeId(wire.node),
            incarnation: Incarnation(wire.incarnation),
            sequence: wire.sequence,
            digest: raw("Batch.digest", &wire.digest)?,
            records: decode_records(&wire.records)?,
        })
    }
}

impl From<&Record> for log::Record {
    fn from(record: &Record) -> Self {
        let kind = match record {
            Record::Admission(admission) => Kind::Admission(Box::new((&**admission).into())),
            Record::Completion(completion) => Kind::Completion(completion.into()),
            Record::Refusal(refusal) => Kind::Refusal(Box::new((&**refusal).into())),
            Record::SessionOpened(event) => Kind::SessionOpened((&**event).into()),
            Record::SessionClosed(event) => Kind::SessionClosed((&**event).into()),
            Record::Unauthenticated(failures) => Kind::Unauthenticated(failures.into()),
            Record::KeyUsed { key, at } => Kind::KeyUsed(log::KeyUsed { key: key.written(), at_ms: at.0 }),
            Record::Ask(ask) => Kind::Ask((&**ask).into()),
            Record::Return(parts) => Kind::Returned(super::ledger::write_returned(parts)),
            Record::Restarted { complete } => Kind::Restarted(*complete),
            Record::SettledThrough(at) => Kind::SettledThroughMs(at.0),
            Record::NodeNotice { kind, detail } => Kind::NodeNotice(log::NodeNotice {
                kind: log::NoticeKind::from(*kind).into(),
                detail: detail.clone(),
            }),
            Record::AuditRead(read) => Kind::AuditRead((&**read).into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<log::Record> for Record {
    type Error = DecodeError;

    fn try_from(wire: log::Record) -> Result<Self, DecodeError> {
        Ok(match required("Record.kind", wire.kind)? {
            Kind::Admission(admission) => Self::Admission(Box::new((*admission).try_into()?)),
            Kind::Completion(completion) => Self::Completion(completion.try_into()?),
            Kind::Refusal(refusal) => Self::Refusal(Box::new((*refusal).try_into()?)),
            Kind::SessionOpened(event) => Self::SessionOpened(Box::new(event.try_into()?)),
            Kind::SessionClosed(event) => Self::SessionClosed(Box::new(event.try_into()?)),
            Kind::Unauthenticated(failures) => Self::Unauthenticated(failures.try_into()?),
            Kind::KeyUsed(used) => {
                Self::KeyUsed { key: text("KeyUsed.key", &used.key)?, at: TimestampMs(used.at_ms) }
            }
            Kind::Ask(ask) => Self::Ask(Box::new(ask.try_into()?)),
            Kind::Returned(returned) => Self::Return(super::ledger::read_returned(returned)?),
            Kind::Restarted(complete) => Self::Restarted { complete },
            Kind::SettledThroughMs(at) => Self::SettledThrough(TimestampMs(at)),
            Kind::NodeNotice(notice) => Self::NodeNotice {
                kind: enumeration::<log::NoticeKind, _>("NodeNotice.kind", notice.kind)?,
                detail: notice.detail,
            },
            Kind::AuditRead(read) => Self::AuditRead(Box::new(read.try_into()?)),
        })
    }
}

impl From<&Caller> for log::Caller {
    fn from(caller: &Caller) -> Self {
        Self {
            tenant: caller.tenant.written(),
            principal: caller.principal.written(),
            key: write_text(caller.key.as_ref()),
            session: caller.session.map(|id| id.written()),
            project: write_text(caller.project.as_ref()),
            ip: caller.ip.map(|ip| ip.to_string()),
            user_agent: caller.user_agent.clone(),
            personal: caller.personal.as_ref().map(Into::into),
            request_id: caller.request_id.clone(),
        }
    }
}

impl TryFrom<log::Caller> for Caller {
    type Error = DecodeError;

    fn try_from(wire: log::Caller) -> Result<Self, DecodeError> {
        Ok(Self {
            tenant: text("Caller.tenant", &wire.tenant)?,
            principal: text("Caller.principal", &wire.principal)?,
            key: optional_text("Caller.key", wire.key.as_deref())?,
            session: optional_raw("Caller.session", wire.session.as_deref())?,
            project: optional_text("Caller.project", wire.project.as_deref())?,
            ip: wire.ip.as_deref().map(|ip| parsed("Caller.ip", ip)).transpose()?,
            user_agent: wire.user_agent,
            personal: wire.personal.map(TryInto::try_into).transpose()?,
            request_id: wire.request_id,
        })
    }
}

impl From<&Admission> for log::Admission {
    fn from(admission: &Admission) -> Self {
        Self {
            call: admission.call.written(),
            caller: Some((&admission.caller).into()),
            kind: log::ItemKind::from(admission.kind).into(),
            item: admission.item.clone(),
            upstream: admission.upstream.written(),
            argument_digest: admission.argument_digest.written(),
            decision: admission.decision.written(),
            grant: admission.grant.written(),
            role_path: write_list(&admission.role_path),
            revision: admission.revision.0,
            mode: model::SealMode::from(admission.mode).into(),
            observed_at_ms: admission.observed_at.0,
            tenant: admission.tenant.written(),
            holds: admission.holds.iter().map(Into::into).collect(),
            quote: admission.quote.as_deref().map(Into::into),
            tags: admission.tags.clone(),
            counts: admission.counts.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<log::Admission> for Admission {
    type Error = DecodeError;

    fn try_from(wire: log::Admission) -> Result<Self, DecodeError> {
        Ok(Self {
            call: raw("Admission.call", &wire.call)?,
            caller: record("Admission.caller", wire.caller)?,
            tenant: text("Admission.tenant", &wire.tenant)?,
            kind: enumeration::<log::ItemKind, _>("Admission.kind", wire.kind)?,
            item: wire.item,
            upstream: text("Admission.upstream", &wire.upstream)?,
            argument_digest: raw("Admission.argument_digest", &wire.argument_digest)?,
            decision: raw("Admission.decision", &wire.decision)?,
            grant: text("Admission.grant", &wire.grant)?,
            role_path: text_list("Admission.role_path", &wire.role_path)?,
            revision: Revision(wire.revision),
            mode: enumeration::<model::SealMode, _>("Admission.mode", wire.mode)?,
            observed_at: TimestampMs(wire.observed_at_ms),
            holds: wire.holds.into_iter().map(TryInto::try_into).collect::<Decoded<_>>()?,
            counts: wire.counts.into_iter().map(TryInto::try_into).collect::<Decoded<_>>()?,
            quote: wire.quote.map(TryInto::try_into).transpose()?.map(Box::new),
            tags: wire.tags,
        })
    }
}

impl From<&Completion> for log::Completion {
    fn from(completion: &Completion) -> Self {
        Self {
            call: completion.call.written(),
            tenant: completion.tenant.written(),
            outcome: log::CallOutcome::from(completion.outcome).into(),
            result_digest: completion.result_digest.written(),
            result_bytes: completion.result_bytes,
            duration_ms: completion.duration_ms,
            observed_at_ms: completion.observed_at.0,
            charges: completion.charges.iter().map(Into::into).collect(),
            cost: completion.cost.as_deref().map(Into::into),
        }
    }
}

impl TryFrom<log::Completion> for Completion {
    type Error = DecodeError;

    fn try_from(wire: log::Completion) -> Result<Self, DecodeError> {
        Ok(Self {
            call: raw("Completion.call", &wire.call)?,
            tenant: text("Completion.tenant", &wire.tenant)?,
            outcome: enumeration::<log::CallOutcome, _>("Completion.outcome", wire.outcome)?,
            result_digest: raw("Completion.result_digest", &wire.result_digest)?,
            result_bytes: wire.result_bytes,
            duration_ms: wire.duration_ms,
            observed_at: TimestampMs(wire.observed_at_ms),
            charges: wire.charges.into_iter().map(TryInto::try_into).collect::<Decoded<_>>()?,
            cost: wire.cost.map(TryInto::try_into).transpose()?.map(Box::new),
        })
    }
}

impl From<&Refusal> for log::Refusal {
    fn from(refusal: &Refusal) -> Self {
        Self {
            decision: refusal.decision.written(),
            caller: Some((&refusal.caller).into()),
            kind: log::ItemKind::from(refusal.kind).into(),
            item: refusal.item.clone(),
            reason: refusal.reason.number(),
            revision: refusal.revision.0,
            count: refusal.count,
            first_at_ms: refusal.first_at.0,
            last_at_ms: refusal.last_at.0,
            tenant: refusal.tenant.written(),
        }
    }
}

impl TryFrom<log::Refusal> for Refusal {
    type Error = DecodeError;

    fn try_from(wire: log::Refusal) -> Result<Self, DecodeError> {
        let unknown = Problem::UnknownNumber { number: wire.reason.into() };
        let reason = Reason::from_number(wire.reason).ok_or(DecodeError::new("Refusal.reason", unknown))?;
        Ok(Self {
            decision: raw("Refusal.decision", &wire.decision)?,
            caller: record("Refusal.caller", wire.caller)?,
            tenant: text("Refusal.tenant", &wire.tenant)?,
            kind: enumeration::<log::ItemKind, _>("Refusal.kind", wire.kind)?,
            item: wire.item,
            reason,
            revision: Revision(wire.revision),
            count: wire.count,
            first_at: TimestampMs(wire.first_at_ms),
            last_at: TimestampMs(wire.last_at_ms),
        })
    }
}

impl From<&SessionEvent> for log::SessionEvent {
    fn from(event: &SessionEvent) -> Self {
        Self {
            caller: Some((&event.caller).into()),
            client_name: event.client_name.clone(),
            client_version: event.client_version.clone(),
            protocol_version: event.protocol_version.clone(),
            observed_at_ms: event.observed_at.0,
            tenant: event.tenant.written(),
        }
    }
}

impl TryFrom<log::SessionEvent> for SessionEvent {
    type Error = DecodeError;

    fn try_from(wire: log::SessionEvent) -> Result<Self, DecodeError> {
        Ok(Self {
            caller: record("SessionEvent.caller", wire.caller)?,
            tenant: text("SessionEvent.tenant", &wire.tenant)?,
            client_name: wire.client_name,
            client_version: wire.client_version,
            protocol_version: wire.protocol_version,
            observed_at: TimestampMs(wire.observed_at_ms),
        })
    }
}

impl From<&Unauthenticated> for log::Unauthenticated {
    fn from(failures: &Unauthenticated) -> Self {
        let sources = failures.sources.iter();
        Self {
            count: failures.count,
            sources: sources
                .map(|(ip, count)| log::UnauthenticatedSource { ip: ip.to_string(), count: *count })
                .collect(),
            first_at_ms: failures.first_at.0,
            last_at_ms: failures.last_at.0,
        }
    }
}

impl TryFrom<log::Unauthenticated> for Unauthenticated {
    type Error = DecodeError;

    fn try_from(wire: log::Unauthenticated) -> Result<Self, DecodeError> {
        let source =
            |s: log::UnauthenticatedSource| Ok((parsed("UnauthenticatedSource.ip", &s.ip)?, s.count));
        Ok(Self {
            count: wire.count,
            sources: wire.sources.into_iter().map(source).collect::<Result<_, DecodeError>>()?,
            first_at: TimestampMs(wire.first_at_ms),
            last_at: TimestampMs(wire.last_at_ms),
        })
    }
}
