//! Batches of what nodes did: taken in order, once each, and each record checked again against the state it lands on.

use crate::activity::{Admission, Batch, Record, RecordApplied, Unauthenticated};
use crate::apply::activity_event as event;
use crate::apply::audit::Report;
use crate::apply::change::Change;
use crate::apply::cost;
use crate::apply::ledger;
use crate::apply::member::not_found;
use crate::apply::recheck;
use crate::apply::validate::{Check, ensure, invalid, list_of};
use crate::ids::{ApiKeyId, AuditIndex, Incarnation, NodeId};
use crate::limits;
use crate::model::{NodeRole, SealMode};
use crate::outcome::{Outcome, Rejection};
use crate::state::{BatchSeen, NodeActivity, Versioned};
use crate::time::TimestampMs;

/// An exposed name: an upstream's id, two underscores, the item's own name or address.
const ITEM_BYTES_MAX: usize = limits::SLUG_BYTES_MAX + 2 + limits::RESOURCE_URI_BYTES_MAX;
/// `last_used_at` is kept to the minute.
const USE_MS: u64 = 60_000;

/// Fences what was open before, and tells how far it got. The window stays: a node that crashes before its journal has
/// a record of this opening learns at the next start, from the window, what of the incarnation before was posted.
/// INVARIANT: P3
pub(super) fn open(change: &mut Change<'_>, node: NodeId) -> Result<Report, Rejection> {
    refuse_removed(change, node)?;
    let old = change.state.activity.get(&node).cloned().unwrap_or_default();
    let incarnation = Incarnation(change.log_index.max(old.incarnation.0.saturating_add(1)));
    let last_sequence = old.last_sequence;
    let opened = NodeActivity { incarnation, window: old.window, ..NodeActivity::default() };
    change.put_activity(node, opened);
    ledger::reopened(change, node);
    Ok(Report::silent().answering(Outcome::IncarnationOpened { incarnation, last_sequence }))
}

pub(super) fn seal_journal(change: &mut Change<'_>, node: NodeId) -> Result<Report, Rejection> {
    refuse_removed(change, node)?;
    let old = change.state.activity.get(&node).cloned().unwrap_or_default();
    let last_sequence = old.last_sequence.to_string();
    change.put_activity(node, NodeActivity { journal_sealed: true, ..old });
    Ok(Report::changed(None, None).detail("last_sequence", last_sequence))
}

/// Takes `last + 1` of the open incarnation and nothing else. INVARIANT: P3
pub(super) fn post(change: &mut Change<'_>, batch: &Batch) -> Result<Report, Rejection> {
    refuse_removed(change, batch.node)?;
    let activity = change.state.activity.get(&batch.node).cloned().unwrap_or_default();
    if activity.incarnation != batch.incarnation || activity.incarnation == Incarnation::default() {
        return Err(Rejection::Fenced { incarnation: activity.incarnation.0 });
    }
    ensure(batch.sequence > 0, "sequence", "is zero")?;
    #[cfg(feature = "mutants")]
    if batch.sequence == activity.last_sequence && crate::mutants::is(crate::mutants::Mutant::BatchTwice) {
        let records = (0..).zip(&batch.records);
        let records = records.map(|(ordinal, record)| take(change, batch.node, record, ordinal)).collect();
        return Ok(Report::silent().answering(Outcome::BatchApplied { records }));
    }
    if batch.sequence <= activity.last_sequence {
        return seen_before(&activity, batch)
            .map(|first| Report::silent().answering(Outcome::BatchDuplicate { first_index: first.0 }));
    }
    let expected = activity.last_sequence.saturating_add(1);
    #[cfg(feature = "mutants")]
    let expected =
        if crate::mutants::is(crate::mutants::Mutant::GapAccepted) { batch.sequence } else { expected };
    if batch.sequence != expected {
        return Err(Rejection::Gap { expected, found: batch.sequence });
    }
    ensure(!activity.journal_sealed, "batch", "comes after the journal was sealed")?;
    check(batch, change.now())?;

    let first_index = AuditIndex(change.state.chain.index.0.saturating_add(1));
    note(change, batch, activity, first_index);
    let records = (0..).zip(&batch.records);
    let records = records.map(|(ordinal, record)| take(change, batch.node, record, ordinal)).collect();
    Ok(Report::silent().answering(Outcome::BatchApplied { records }))
}

fn refuse_removed(change: &Change<'_>, node: NodeId) -> Check {
    let record = change.state.nodes.get(&node).map(|record| &record.value).ok_or_else(|| not_found(node))?;
    match record.role {
        NodeRole::Learner | NodeRole::Voter => Ok(()),
        NodeRole::Removed => Err(Rejection::NodeBarred { name: record.name.clone() }),
    }
}

/// The first audit index a batch was given; 0 where that is not remembered any more.
fn seen_before(activity: &NodeActivity, batch: &Batch) -> Result<AuditIndex, Rejection> {
    // The window holds the latest sequences without gaps, oldest first.
    let age = activity.last_sequence.saturating_sub(batch.sequence);
    let age = usize::try_from(age).unwrap_or(usize::MAX);
    let at = activity.window.len().checked_sub(1).and_then(|last| last.checked_sub(age));
    let seen = at.and_then(|at| activity.window.get(at)).filter(|seen| seen.sequence == batch.sequence);
    match seen {
        Some(seen) if seen.digest != batch.digest => {
            Err(Rejection::BatchMismatch { sequence: batch.sequence })
        }
        Some(seen) => Ok(seen.first_index),
        None => Ok(AuditIndex(0)),
    }
}

fn note(change: &mut Change<'_>, batch: &Batch, mut activity: NodeActivity, first_index: AuditIndex) {
    let Batch { node, incarnation, sequence, digest, .. } = *batch;
    let seen = BatchSeen { incarnation, sequence, digest, first_index };
    activity.last_sequence = sequence;
    activity.window.push_back(seen);
    while activity.window.len() > limits::BATCH_WINDOW_MAX {
        if let Some(oldest) = activity.window.pop_front() {
            change.erase_batch_row(node, &oldest);
        }
    }
    change.put_batch_row(node, seen);
    change.put_activity(node, activity);
}

/// All of a batch or none of it.
fn check(batch: &Batch, now: TimestampMs) -> Check {
    list_of("records", batch.records.len(), limits::BATCH_RECORDS_MAX)?;
    batch.records.iter().try_for_each(|record| match record {
        Record::Admission(admission) => {
            item(&admission.item)?;
            ensure(!admission.role_path.is_empty(), "role_path", "is empty")?;
            list_of("role_path", admission.role_path.len(), limits::ROLE_DEPTH_MAX)?;
            let accounts = admission.holds.len().saturating_add(admission.counts.len());
            list_of("counts", accounts, limits::CALL_ACCOUNTS_MAX)?;
            list_of("tags", admission.tags.len(), limits::COST_TAGS_MAX)?;
            list_of("holds", admission.holds.len(), limits::CALL_ACCOUNTS_MAX)
        }
        Record::Refusal(refusal) => {
            ensure(refusal.count > 0, "count", "is zero")?;
            item(&refusal.item)
        }
        Record::Unauthenticated(failures) => {
            list_of("sources", failures.sources.len(), Unauthenticated::SOURCES_MAX)
        }
        Record::Completion(completion) => {
            list_of("charges", completion.charges.len(), limits::CALL_ACCOUNTS_MAX)?;
            cost::check(completion, now)
        }
        Record::Ask(ask) => list_of("parts", ask.parts.len(), limits::ASK_PARTS_MAX),
        Record::Return(parts) => list_of("parts", parts.len(), limits::ASK_PARTS_MAX),
        Record::AuditRead(read) => ensure(read.count > 0, "count", "is zero"),
        Record::Restarted { .. }
        | Record::SettledThrough(_)
        | Record::SessionOpened(_)
        | Record::SessionClosed(_)
        | Record::KeyUsed { .. }
        | Record::NodeNotice { .. } => Ok(()),
    })
}

pub(super) fn item(item: &str) -> Check {
    if item.len() <= ITEM_BYTES_MAX {
        return Ok(());
    }
    Err(invalid("item", format!("has {} bytes; at most {ITEM_BYTES_MAX} are allowed", item.len())))
}

fn take(change: &mut Change<'_>, node: NodeId, record: &Record, ordinal: u32) -> RecordApplied {
    let mut revoked_in_flight = false;
    let silent = RecordApplied { audit: None, revoked_in_flight };
    let event = match record {
        Record::Admission(admission) => {
            let standing = standing(change, admission);
            revoked_in_flight = standing == event::Standing::Revoked;
            event::admission(change, node, admission, standing)
        }
        Record::Completion(completion) => {
            let posted = ledger::charge(change, node, completion);
            let over = cost::count(change, completion);
            let event = event::completion(change, node, completion, &over);
            let sealed = change.seal(&event);
            cost::record(change, node, completion, &posted, sealed.index);
            ledger::tell(change, node, completion, &posted);
            return RecordApplied { audit: Some((sealed.index, sealed.hash)), revoked_in_flight };
        }
        Record::Ask(ask) => {
            ledger::ask(change, node, ask, ordinal);
            return silent;
        }
        Record::Return(parts) => {
            ledger::take_back(change, node, parts);
            return silent;
        }
        Record::Restarted { complete } => {
            let forfeits = ledger::restarted(change, node, *complete);
            if forfeits.is_empty() {
                return silent;
            }
            event::unattributed(change, node, &forfeits)
        }
        Record::SettledThrough(at) => {
            ledger::settled_through(change, node, *at);
            return silent;
        }
        Record::Refusal(refusal) => event::refusal(change, node, refusal),
        Record::SessionOpened(session) => event::session(change, node, session, true),
        Record::SessionClosed(session) => event::session(change, node, session, false),
        Record::Unauthenticated(failures) => event::unauthenticated(change, node, failures),
        Record::NodeNotice { kind, detail } => event::notice(change, node, *kind, detail),
        Record::AuditRead(read) => event::audit_read(change, node, read),
        Record::KeyUsed { key, at } => {
            note_use(change, key, *at);
            return silent;
        }
    };
    let sealed = change.seal(&event);
    RecordApplied { audit: Some((sealed.index, sealed.hash)), revoked_in_flight }
}

/// INVARIANT: P4
fn standing(change: &Change<'_>, admission: &Admission) -> event::Standing {
    #[cfg(feature = "mutants")]
    if crate::mutants::is(crate::mutants::Mutant::NoRevokedInFlight) {
        return event::Standing::Stands;
    }
    if recheck::stands(change.state, admission) {
        return event::Standing::Stands;
    }
    match admission.mode {
        // Its answer may have left the node before this entry.
        SealMode::Journaled => event::Standing::RevokedLate,
        SealMode::Sealed | SealMode::BeforeDispatch | SealMode::Completion => event::Standing::Revoked,
    }
}

/// No later than log time, whatever the node's clock says, and never backwards.
fn note_use(change: &mut Change<'_>, key: &ApiKeyId, at: TimestampMs) {
    let at = at.min(change.now());
    let minute = TimestampMs(at.0 - at.0 % USE_MS);
    let Some(record) = change.state.api_keys.get(key).cloned() else { return };
    if record.value.last_used_at.is_some_and(|last| last >= minute) {
        return;
    }
    let mut value = record.value;
    value.last_used_at = Some(minute);
    change.put_api_key_unchanged(Versioned { revision: record.revision, value });
}
