//! Retention: what is set, what would go, and how events whose payload went are shown.

use std::collections::BTreeSet;
use std::sync::Arc;

use only1mcp_domain::audit::{Expired, RetentionClass, SealedEvent};
use only1mcp_domain::command::Command;
use only1mcp_domain::ids::{AuditIndex, TenantId};
use only1mcp_domain::model::{Dropped, DutyId};
use only1mcp_domain::state::State;
use only1mcp_proto::admin as pb;

use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;

/// Segments told of in one answer.
const SEGMENTS_MAX: usize = 16;

/// What the log says is gone is not shown, though this node may have its file still to make anew.
pub(super) fn hide(state: &State, events: &mut [SealedEvent]) {
    for event in events {
        if let Some((mark, _)) = state.expired(event) {
            event.bytes = mark.bytes();
        }
    }
}

/// Of an event whose payload is gone: by which class, and where that is recorded.
pub(super) fn told(state: &State, event: &SealedEvent) -> Option<pb::ExpiredPayload> {
    Expired::parse(&event.bytes)?;
    let (mark, record) = state.expired(event)?;
    Some(pb::ExpiredPayload { record: record.0, class: mark.class.name().to_owned() })
}

/// Where an export of everybody's events begins that is to be verifiable by itself: with the whole segment, where payloads
/// of the one that `from` stands in are gone.
/// Errors: `RecordOutside`, where the record of such a segment does not stand within `to`.
pub(super) fn verifiable_from(state: &State, from: u64, to: u64) -> Result<u64, AdminError> {
    if from > to {
        return Ok(from);
    }
    let gone = |dropped: &&Arc<Dropped>| dropped.record.0 > 0;
    let first =
        state.drops_at(AuditIndex(from)).find(gone).map_or(AuditIndex(from), |dropped| dropped.drop.first);
    let within = state.dropped.range((first, 0)..=(AuditIndex(to), u32::MAX)).map(|(_, dropped)| dropped);
    match within.filter(gone).find(|dropped| dropped.record.0 > to) {
        None => Ok(first.0),
        Some(dropped) => Err(AdminError::RecordOutside { index: dropped.drop.first, record: dropped.record }),
    }
}

pub(super) async fn show(
    core: &Core,
    call: &Call,
    message: pb::GetRetentionRequest,
) -> Result<pb::GetRetentionResponse, AdminError> {
    let view = core.read(call, message.consistency, &call.identity.tenant).await?;
    let state: &State = &view.state;
    let days = state.retention.days;
    let classes = RetentionClass::ALL.into_iter().map(|class| pb::get_retention_response::Class {
        name: class.name().to_owned(),
        days: days.of(class),
    });
    let duty = state.duties.get(&DutyId::Retention);
    let records: BTreeSet<AuditIndex> = state.dropped.values().map(|dropped| dropped.record).collect();
    Ok(pb::GetRetentionResponse {
        read: core.read_info(&view),
        revision: state.retention.revision,
        classes: classes.collect(),
        wanted: state.retention.wanted,
        node: duty.and_then(|duty| duty.node).map_or(0, |node| node.0),
        looked_at_ms: duty.filter(|duty| duty.cursor.0 > 0).map_or(0, |duty| duty.told_at.0),
        last_error: duty.map(|duty| duty.last_error.clone()).unwrap_or_default(),
        dropped: state.dropped.values().map(|dropped| u64::from(dropped.drop.dropped)).sum(),
        records: records.iter().filter(|record| record.0 > 0).count().try_into().unwrap_or(u64::MAX),
    })
}

pub(super) async fn set(
    core: &Core,
    call: &Call,
    message: pb::SetRetentionRequest,
) -> Result<pb::SetRetentionResponse, AdminError> {
    let result = core.write(call, &message, TenantId::system(), |draft, view| {
        let mut days = view.state.retention.days;
        for (name, wanted) in &message.days {
            let class = RetentionClass::parse(name);
            let unknown = || AdminError::invalid("days", format!("there is no class {name:?}"));
            days.set(class.ok_or_else(unknown)?, *wanted);
        }
        // Of two who change it at one time, one alone does.
        let if_revision = draft.if_revision.or(Some(view.state.retention.revision));
        Ok(Command::SetRetention { days, if_revision })
    });
    Ok(pb::SetRetentionResponse { result: result.await? })
}

pub(super) async fn run(
    core: &Core,
    call: &Call,
    message: pb::RunRetentionRequest,
) -> Result<pb::RunRetentionResponse, AdminError> {
    let write = core.write(call, &message, TenantId::system(), |_, _| Ok(Command::RunRetention));
    Ok(pb::RunRetentionResponse { result: write.await? })
}

pub(super) async fn plan(
    core: &Core,
    call: &Call,
    message: pb::PlanRetentionRequest,
) -> Result<pb::PlanRetentionResponse, AdminError> {
    let view = core.read(call, None, &TenantId::system()).await?;
    let _walk = core.chain_walks.try_acquire().map_err(|_| AdminError::Overloaded)?;
    let (mut segments, mut next_index) = (Vec::new(), message.from_index.max(1));
    while segments.len() < SEGMENTS_MAX {
        let due = core.ports.cluster.retention_due(AuditIndex(next_index)).await;
        let due = due.map_err(|failure| super::unread(failure, next_index, next_index))?;
        let Some(due) = due else {
            next_index = 0;
            break;
        };
        next_index = due.last.0.saturating_add(1);
        let counts = due.counts.into_iter().filter(|(_, payloads)| *payloads > 0);
        let counts: Vec<_> = counts
            .map(|(class, payloads)| pb::plan_retention_response::Count {
                class: class.name().to_owned(),
                payloads,
            })
            .collect();
        if !counts.is_empty() {
            let (first, last) = (due.first.0, due.last.0);
            segments.push(pb::plan_retention_response::Segment { first, last, counts });
        }
        if tokio::time::Instant::now() >= call.deadline {
            break;
        }
    }
    Ok(pb::PlanRetentionResponse { read: core.read_info(&view), segments, next_index })
}
