//! Retention: days for each class, and payloads that go once their days are over.
//!
//! A drop names one sealed segment and what its file is before and after, so every node makes the same of it, and one
//! that lacks it knows what to fetch. Apply has no events at hand: it judges the log time that the proposer tells of the
//! segment's newest event. Each node holds that, the count and the digest against the events before it drops any.

use std::sync::Arc;

use crate::apply::audit::Report;
use crate::apply::change::Change;
use crate::apply::describe;
use crate::apply::duty;
use crate::apply::validate::{Check, at_most, ensure, revision};
use crate::audit::{
    DROP_COUNT, DROP_DIGEST, DROP_FIRST, DROP_LAST, DROP_NUMBER, Expired, RetentionClass, SealedEvent, decode,
};
use crate::ids::{AuditIndex, PrincipalId, TenantId};
use crate::limits;
use crate::model::{Dropped, DutyId, PayloadDrop, Retention, RetentionDays};
use crate::outcome::Rejection;
use crate::state::State;

pub(super) fn set(
    change: &mut Change<'_>,
    days: RetentionDays,
    if_revision: Option<u64>,
) -> Result<Report, Rejection> {
    understood(change.state)?;
    let old = change.state.retention;
    revision(if_revision, old.revision)?;
    for class in RetentionClass::ALL {
        let allowed = limits::RETENTION_DAYS_MIN..=limits::RETENTION_DAYS_MAX;
        ensure(allowed.contains(&days.of(class)), class.name(), "is too few days, or too many")?;
    }
    change.put_retention(Retention { revision: change.log_index, days, ..old });
    Ok(Report::changed(Some(describe::retention(&old.days)), Some(describe::retention(&days))))
}

/// The duty's holder is to look now.
pub(super) fn run(change: &mut Change<'_>) -> Result<Report, Rejection> {
    understood(change.state)?;
    change.put_retention(Retention { wanted: true, ..change.state.retention });
    Ok(Report::changed(None, None))
}

/// The holder has looked at every segment.
pub(super) fn looked(change: &mut Change<'_>) {
    if change.state.retention.wanted {
        change.put_retention(Retention { wanted: false, ..change.state.retention });
    }
}

/// INVARIANT: P6
pub(super) fn drop_payloads(
    change: &mut Change<'_>,
    fence: u64,
    drop: &PayloadDrop,
) -> Result<Report, Rejection> {
    understood(change.state)?;
    duty::holds(change, &DutyId::Retention, fence)?;
    check_place(change.state, drop)?;
    check_rule(change.state, drop)?;
    let events = drop.last.0.saturating_sub(drop.first.0).saturating_add(1);
    ensure(u64::from(drop.dropped) <= events, "dropped", "is more than the segment holds")?;
    ensure((drop.dropped == 0) == (drop.from == drop.address), "address", "does not fit what is dropped")?;
    let record = if drop.dropped == 0 { AuditIndex(0) } else { change.next_audit_index() };
    change.put_dropped(Arc::new(Dropped { drop: drop.clone(), record }));
    if drop.dropped == 0 {
        return Ok(Report::silent());
    }
    let classes: Vec<&str> = drop.rule.classes.iter().map(|class| class.name()).collect();
    Ok(Report::changed(None, None)
        .detail(DROP_FIRST, drop.first.to_string())
        .detail(DROP_LAST, drop.last.to_string())
        .detail(DROP_NUMBER, drop.number.to_string())
        .detail(DROP_COUNT, drop.dropped.to_string())
        .detail(DROP_DIGEST, drop.digest.to_string())
        .detail("classes", classes.join(","))
        .detail("held", drop.rule.held.len().to_string())
        .detail("newest_log_time_ms", drop.newest.0.to_string())
        .detail("segment_before", drop.from.to_string())
        .detail("segment", drop.address.to_string()))
}

pub(super) fn understood(state: &State) -> Check {
    let level = state.cluster.as_ref().map_or(0, |cluster| cluster.settings.value.feature_level);
    ensure(level >= limits::FEATURE_LEVEL_RETENTION, "feature_level", "is below 5, which retention needs")
}

/// A whole segment, none that overlaps another, and as its last drop left it.
fn check_place(state: &State, drop: &PayloadDrop) -> Check {
    let PayloadDrop { first, last, number, .. } = drop;
    let events = usize::try_from(last.0.saturating_sub(first.0).saturating_add(1)).unwrap_or(usize::MAX);
    ensure(first.0 > 0 && first <= last, "first", "is no event's index, or behind the last")?;
    ensure(events <= limits::SEGMENT_EVENTS_MAX, "last", "is further off than a segment reaches")?;
    ensure(*last <= state.chain.index, "last", "is past the end of the audit trail")?;
    at_most(
        usize::try_from(*number).unwrap_or(usize::MAX),
        limits::RETENTION_DROPS_PER_SEGMENT_MAX,
        "drops in one segment",
    )?;
    let before = state.dropped.range(..=(*last, u32::MAX)).next_back().map(|(_, known)| &known.drop);
    match before.filter(|before| before.last >= *first) {
        None => ensure(*number == 1, "number", "is not the segment's next"),
        Some(before) => {
            ensure((before.first, before.last) == (*first, *last), "first", "is inside another segment")?;
            ensure(before.number.saturating_add(1) == *number, "number", "is not the segment's next")?;
            ensure(before.address == drop.from, "from", "is not what the last drop made of it")
        }
    }
}

fn check_rule(state: &State, drop: &PayloadDrop) -> Check {
    let classes = &drop.rule.classes;
    let ascending = classes.iter().zip(classes.iter().skip(1)).all(|(one, next)| one < next);
    ensure(!classes.is_empty() && ascending, "classes", "are none, or not ascending")?;
    let held = state.held_persons();
    at_most(
        held.len(),
        limits::RETENTION_HOLDS_MAX,
        "persons under a legal hold while payloads are dropped",
    )?;
    ensure(drop.rule.held == held, "held", "are not those under a legal hold now")?;
    let early =
        classes.iter().find(|class| !state.retention.days.is_past(**class, drop.newest, state.log_time));
    match early {
        None => Ok(()),
        Some(class) => Err(Rejection::RetentionTooEarly {
            class: class.name().to_owned(),
            days: u64::from(state.retention.days.of(*class)),
        }),
    }
}

impl State {
    /// Persons under a legal hold, ascending.
    pub fn held_persons(&self) -> Vec<(TenantId, PrincipalId)> {
        let held = self.subjects.iter().filter(|(_, subject)| !subject.hold.is_empty());
        held.map(|(whose, _)| whose.clone()).collect()
    }

    /// The drops of the segment that begins with `first`, in order.
    pub fn drops_of(&self, first: AuditIndex) -> impl DoubleEndedIterator<Item = &Arc<Dropped>> {
        self.dropped.range((first, 0)..=(first, u32::MAX)).map(|(_, dropped)| dropped)
    }

    /// Whether the payload of `event` is to be gone, by its mark or by what a drop says of it, and the event that records
    /// it. `None` for a mark that no drop explains.
    pub fn expired(&self, event: &SealedEvent) -> Option<(Expired, AuditIndex)> {
        let mut drops = self.drops_at(event.index).filter(|dropped| dropped.record.0 > 0).peekable();
        drops.peek()?;
        if let Some(mark) = Expired::parse(&event.bytes) {
            return drops
                .find(|dropped| dropped.drop.number == mark.number)
                .map(|dropped| (mark, dropped.record));
        }
        let read = decode(&event.bytes).ok()?;
        drops.find_map(|dropped| {
            let Dropped { drop, record } = &**dropped;
            let class = drop.rule.takes(&read)?;
            Some((Expired { class, number: drop.number }, *record))
        })
    }

    /// The drops of the segment that holds `index`, where it has any.
    pub fn drops_at(&self, index: AuditIndex) -> impl DoubleEndedIterator<Item = &Arc<Dropped>> {
        let last = self.dropped.range(..=(index, u32::MAX)).next_back().map(|(_, dropped)| &dropped.drop);
        let first = last.filter(|drop| drop.last >= index).map_or(AuditIndex(0), |drop| drop.first);
        self.drops_of(first)
    }
}
