//! Duties: given to one node at a time, and brought forward by that node alone.

use crate::apply::audit::Report;
use crate::apply::change::Change;
use crate::apply::member;
use crate::apply::retention;
use crate::apply::tenant::not_found;
use crate::apply::validate::{ensure, text};
use crate::audit::Severity;
use crate::command::{DutyProgress, Via};
use crate::ids::NodeId;
use crate::limits;
use crate::model::{Duty, DutyId};
use crate::outcome::Rejection;

/// `after`: the fence that the proposer saw, so that of two leaders one alone assigns.
pub(super) fn assign(
    change: &mut Change<'_>,
    id: &DutyId,
    node: NodeId,
    after: u64,
) -> Result<Report, Rejection> {
    let old = find(change, id)?;
    fenced(&old, after)?;
    if !change.state.is_member(node) {
        return Err(member::not_found(node));
    }
    let from = old.node.map_or_else(|| "nobody".to_owned(), |node| node.to_string());
    let report = Report::changed(None, None)
        .detail("node", node.to_string())
        .detail("from", from)
        .detail("cursor", old.cursor.0.to_string())
        .severity(Severity::Info);
    let duty = Duty { node: Some(node), assigned_at: change.log_index, told_at: change.now(), ..old };
    change.put_duty(id.clone(), duty);
    Ok(report)
}

/// From its holder alone, and only while it holds it.
pub(super) fn advance(change: &mut Change<'_>, progress: &DutyProgress) -> Result<Report, Rejection> {
    let old = find(change, &progress.duty)?;
    fenced(&old, progress.fence)?;
    by_holder(change, &old)?;
    ensure(progress.cursor >= old.cursor, "cursor", "goes back")?;
    ensure(progress.cursor <= change.state.chain.index, "cursor", "is past the end of the audit trail")?;
    text("last_error", &progress.last_error, limits::DUTY_ERROR_BYTES_MAX)?;
    let duty = Duty {
        cursor: progress.cursor,
        attempts: progress.attempts,
        last_error: progress.last_error.clone(),
        told_at: change.now(),
        ..old
    };
    change.put_duty(progress.duty.clone(), duty);
    if progress.duty == DutyId::Retention && progress.attempts == 0 {
        retention::looked(change);
    }
    Ok(Report::silent())
}

/// The actor has the duty, by that assignment.
pub(super) fn holds(change: &Change<'_>, id: &DutyId, fence: u64) -> Result<(), Rejection> {
    let duty = find(change, id)?;
    fenced(&duty, fence)?;
    by_holder(change, &duty)
}

fn by_holder(change: &Change<'_>, duty: &Duty) -> Result<(), Rejection> {
    let holder = matches!(change.actor().via, Via::Node(node) if duty.node == Some(node));
    if holder { Ok(()) } else { Err(Rejection::DutyFenced { assigned_at: duty.assigned_at }) }
}

/// What a removed node had is nobody's, and whatever it still sends is too late.
pub(super) fn released(change: &mut Change<'_>, node: NodeId) {
    let held = change.state.duties.iter().filter(|(_, duty)| duty.node == Some(node));
    let held: Vec<(DutyId, Duty)> = held.map(|(id, duty)| (id.clone(), duty.clone())).collect();
    for (id, duty) in held {
        change.put_duty(id, Duty { node: None, assigned_at: change.log_index, ..duty });
    }
}

/// Retention is a duty of every cluster that understands it, without anybody having asked for it.
fn find(change: &Change<'_>, id: &DutyId) -> Result<Duty, Rejection> {
    let known = change.state.duties.get(id).cloned();
    let own =
        (*id == DutyId::Retention && retention::understood(change.state).is_ok()).then(Duty::unassigned);
    known.or(own).ok_or_else(|| not_found("duty", &id.to_string()))
}

fn fenced(duty: &Duty, fence: u64) -> Result<(), Rejection> {
    if duty.assigned_at == fence {
        return Ok(());
    }
    Err(Rejection::DutyFenced { assigned_at: duty.assigned_at })
}
