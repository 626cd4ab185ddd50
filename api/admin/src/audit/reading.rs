//! That the trail, or a tenant's costs, was read stands in the trail, before anything of it leaves.

use only1mcp_domain::activity::{AuditRead, AuditReadKind};
use only1mcp_domain::ids::TenantId;
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;

use super::Trail;
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;

/// Errors: `Overloaded`, where the node can take no more records.
pub(super) fn of_trail(
    core: &Core,
    call: &Call,
    kind: AuditReadKind,
    trail: &Trail,
    asked: String,
    events: u64,
) -> Result<(), AdminError> {
    tell(core, call, kind, (trail.authority(), *trail == Trail::Everyone), asked, events)
}

/// As `of_trail`, of one tenant's records.
pub(crate) fn record(
    core: &Core,
    call: &Call,
    kind: AuditReadKind,
    tenant: &TenantId,
    asked: String,
    records: u64,
) -> Result<(), AdminError> {
    tell(core, call, kind, (tenant.clone(), false), asked, records)
}

fn tell(
    core: &Core,
    call: &Call,
    kind: AuditReadKind,
    (tenant, everyone): (TenantId, bool),
    asked: String,
    events: u64,
) -> Result<(), AdminError> {
    let now = TimestampMs(core.ports.host.now_ms());
    let read = AuditRead {
        kind,
        caller: call.caller(),
        tenant,
        everyone,
        asked,
        events,
        count: 1,
        first_at: now,
        last_at: now,
    };
    if core.ports.host.record_audit_read(read) { Ok(()) } else { Err(AdminError::Overloaded) }
}

/// A filter as its fields that are set.
pub(super) fn filter_text(filter: &pb::AuditFilter) -> String {
    let texts = [
        ("principal", &filter.principal),
        ("kind", &filter.kind),
        ("outcome", &filter.outcome),
        ("item", &filter.item),
    ];
    let numbers = [
        ("from_ms", filter.from_ms),
        ("to_ms", filter.to_ms),
        ("from_index", filter.from_index),
        ("to_index", filter.to_index),
    ];
    let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
    let numbers = numbers.into_iter().filter(|(_, number)| *number != 0);
    let set: Vec<String> = texts
        .map(|(name, text)| format!("{name}={text}"))
        .chain(numbers.map(|(name, number)| format!("{name}={number}")))
        .collect();
    if set.is_empty() { "all".to_owned() } else { set.join(" ") }
}

/// The indexes `from ..= to`.
pub(super) fn range_text(from: u64, to: u64) -> String {
    format!("index {from} to {to}")
}
