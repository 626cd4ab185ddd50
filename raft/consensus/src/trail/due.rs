//! What is past its days: the next segment from which payloads are to go, for whoever has the duty.

use only1mcp_domain::State;
use only1mcp_domain::audit::{self, DropRule, RetentionClass};
use only1mcp_domain::ids::{AuditIndex, PrincipalId, TenantId};
use only1mcp_domain::limits;
use only1mcp_domain::model::{Dropped, PayloadDrop};
use only1mcp_domain::time::TimestampMs;
use only1mcp_storage::StorageError;
use tokio::task::yield_now;

use super::expire::rewrite;
use super::whole::{Lacking, Trail, TrailError};
use crate::handle::Handle;

/// One segment whose payloads of some classes are past their days.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Due {
    pub drop: PayloadDrop,
    /// How many of each class go.
    pub counts: Vec<(RetentionClass, u32)>,
}

impl Handle {
    /// The first such segment that begins at or after `from`. Segments are dropped from as a whole: the newest event of
    /// one decides. Errors: a segment cannot be read here now.
    pub async fn retention_due(&self, from: AuditIndex) -> Result<Option<Due>, TrailError> {
        let (trail, state) = (self.trail(), self.state());
        let mut next = from;
        loop {
            let Some(found) = trail.next_place(next) else { return Ok(None) };
            next = AuditIndex(found.name.last.0.saturating_add(1));
            let drops: Vec<&Dropped> = state.drops_of(found.name.first).map(|dropped| &**dropped).collect();
            // This node has yet to do what the log says, or lacks the segment: another time.
            let number = drops.last().map_or(0, |last| last.drop.number).saturating_add(1);
            let current = drops.last().is_none_or(|last| last.drop.address == found.name.address);
            if !current || trail.here(found.name.first).is_none() {
                continue;
            }
            let newest = match drops.last() {
                Some(last) => last.drop.newest,
                None => newest(&trail, &found)?,
            };
            let past = |class: &RetentionClass| state.retention.days.is_past(*class, newest, state.log_time);
            let classes: Vec<RetentionClass> = RetentionClass::ALL.into_iter().filter(past).collect();
            if classes.is_empty() {
                // Log time never goes back: what follows is newer.
                return Ok(None);
            }
            let classes: Vec<_> =
                classes.into_iter().filter(|class| !is_done(&state, &drops, *class)).collect();
            if classes.is_empty() {
                yield_now().await;
                continue;
            }
            // Somebody's hold was lifted again and again: what is left of this one must not keep the others.
            if usize::try_from(number).is_ok_and(|number| number > limits::RETENTION_DROPS_PER_SEGMENT_MAX) {
                tracing::warn!(
                    code = "RETENTION_DROPS_MAX",
                    first = found.name.first.0,
                    last = found.name.last.0,
                    "no more payloads can be dropped from this segment: what is left in it stays"
                );
                yield_now().await;
                continue;
            }
            return due(&trail, &state, found, number, classes, newest).await.map(Some);
        }
    }
}

/// Dropped before, and nobody who was spared then is free now.
fn is_done(state: &State, drops: &[&Dropped], class: RetentionClass) -> bool {
    let held = |whose: &(TenantId, PrincipalId)| {
        state.subjects.get(whose).is_some_and(|subject| !subject.hold.is_empty())
    };
    drops.iter().any(|dropped| {
        let rule = &dropped.drop.rule;
        rule.classes.contains(&class) && rule.held.iter().all(held)
    })
}

fn newest(trail: &Trail, found: &Lacking) -> Result<TimestampMs, TrailError> {
    let last = trail.events(found.name.last, 1)?;
    let read = last.first().and_then(|event| audit::decode(&event.bytes).ok());
    let unread = || StorageError::Corrupt {
        what: format!("segment {}", found.name.address),
        detail: "its last event cannot be read".into(),
    };
    Ok(read.ok_or_else(unread)?.log_time)
}

async fn due(
    trail: &Trail,
    state: &State,
    found: Lacking,
    number: u32,
    classes: Vec<RetentionClass>,
    newest: TimestampMs,
) -> Result<Due, TrailError> {
    let rule = DropRule { classes, held: state.held_persons() };
    let made = rewrite(trail, found, &rule, number).await?;
    let drop = PayloadDrop {
        first: found.name.first,
        last: found.name.last,
        number,
        from: found.name.address,
        address: made.name.address,
        bytes: made.name.bytes,
        rule,
        newest: newest.max(made.newest),
        dropped: made.dropped(),
        digest: made.digest,
    };
    Ok(Due { drop, counts: made.counts })
}
