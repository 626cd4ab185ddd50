//! Drops payloads that the log says are to go: makes a segment's file anew without them, on every node the same, and
//! removes the one before. The chain across it does not change, so proofs and checkpoints hold as they did.
//!
//! Nothing is believed: what a drop says of its segment is worked out here from the events, and where it differs the
//! payloads stay. The new file is synced and read back whole before it counts, and only then the old one goes. What a
//! crash interrupts is begun anew.

use std::collections::BTreeSet;
use std::sync::Arc;

use only1mcp_domain::audit::{self, ChainHead, DropRule, Expired, RetentionClass, SealedEvent};
use only1mcp_domain::ids::{AuditIndex, Digest};
use only1mcp_domain::model::{Dropped, PayloadDrop};
use only1mcp_domain::time::TimestampMs;
use only1mcp_storage::{
    SegmentCopy, SegmentDraft, SegmentName, SegmentPlan, SegmentWriter, StorageError, read_segment,
    segment_range,
};
use sha3::{Digest as _, Sha3_256};
use tokio::task::yield_now;
use tokio::time::{Duration, sleep};

use super::whole::{Lacking, Trail, TrailError};
use crate::handle::WeakHandle;
use crate::store::rows::LoadError;

/// Events read at one time.
const STEP: usize = 128;
/// After a failure: a full disk may be given room.
const AGAIN: Duration = Duration::from_secs(5);

/// What a rule makes of a segment.
pub(super) struct Rewrite {
    plan: SegmentPlan,
    pub name: SegmentName,
    /// Payloads that go, by class.
    pub counts: Vec<(RetentionClass, u32)>,
    /// Over index and digest of their events.
    pub digest: Digest,
    /// Log time of the newest event that can be read.
    pub newest: TimestampMs,
}

impl Rewrite {
    pub fn dropped(&self) -> u32 {
        self.counts.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

/// The event as it is to stand, and its class where its payload goes. One whose bytes cannot be read stays.
fn without(
    event: &SealedEvent,
    rule: &DropRule,
    number: u32,
) -> (SealedEvent, Option<RetentionClass>, Option<TimestampMs>) {
    let read = audit::decode(&event.bytes).ok();
    let class = read.as_ref().and_then(|read| rule.takes(read));
    let bytes = class.map_or_else(|| event.bytes.clone(), |class| Expired { class, number }.bytes());
    (SealedEvent { bytes, ..event.clone() }, class, read.map(|read| read.log_time))
}

/// Calls `take` with each event of a segment that is here.
async fn each(
    trail: &Trail,
    name: &SegmentName,
    mut take: impl FnMut(&SealedEvent) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let mut next = name.first;
    while next <= name.last {
        let events = read_segment(trail.files(), name, next, STEP)?;
        events.iter().try_for_each(&mut take)?;
        let read = u64::try_from(events.len()).unwrap_or(u64::MAX);
        next = AuditIndex(next.0.saturating_add(read.max(1)));
        yield_now().await;
    }
    Ok(())
}

/// What `rule` makes of a segment that is here; nothing is written.
pub(super) async fn rewrite(
    trail: &Trail,
    Lacking { name, before }: Lacking,
    rule: &DropRule,
    number: u32,
) -> Result<Rewrite, StorageError> {
    let events = usize::try_from(name.last.0.saturating_sub(name.first.0).saturating_add(1));
    let head = ChainHead { index: AuditIndex(name.first.0.saturating_sub(1)), hash: before };
    let mut draft = SegmentDraft::after(head, events.unwrap_or(usize::MAX))?.rewritten();
    let mut counts: Vec<(RetentionClass, u32)> = rule.classes.iter().map(|class| (*class, 0)).collect();
    let (mut hasher, mut newest) = (Sha3_256::new(), TimestampMs(0));
    each(trail, &name, |event| {
        let (left, class, at) = without(event, rule, number);
        newest = at.map_or(newest, |at| at.max(newest));
        if let Some((_, count)) = counts.iter_mut().find(|(of, _)| Some(*of) == class) {
            *count = count.saturating_add(1);
            hasher.update(event.index.0.to_be_bytes());
            hasher.update(event.digest.0);
        }
        draft.add(&left)
    })
    .await?;
    let plan = draft.finish()?;
    let (name, digest) = (plan.name, Digest(hasher.finalize().into()));
    Ok(Rewrite { plan, name, counts, digest, newest })
}

/// Whether the drop says of the segment what its events say.
fn fits(made: &Rewrite, drop: &PayloadDrop) -> bool {
    let name = (made.name.first, made.name.last, made.name.address, made.name.bytes);
    name == (drop.first, drop.last, drop.address, drop.bytes)
        && (made.dropped(), made.digest) == (drop.dropped, drop.digest)
        && made.newest <= drop.newest
}

/// Runs until Raft ends.
pub async fn run(weak: WeakHandle) {
    let Some(handle) = weak.upgrade() else { return };
    let mut applied = handle.applied();
    drop(handle);
    let mut keeper = Keeper::default();
    let mut known = None;
    loop {
        let Some(handle) = weak.upgrade() else { return };
        if handle.stopped_because().is_some() {
            return;
        }
        applied.mark_unchanged();
        let (trail, drops) = (handle.trail(), handle.state().dropped.clone());
        drop(handle);
        // A snapshot may name segments as they were before.
        let changes = *trail.watch_lacking().borrow();
        if known.as_ref().is_none_or(|(before, known)| *before != changes || !drops.ptr_eq(known)) {
            let followed = keeper.follow(&trail, drops.values()).await;
            match followed {
                // What is not sealed here yet is looked for again with the next entry.
                Ok(all) => known = all.then_some((changes, drops)),
                Err(TrailError::Rows(LoadError::Storage(StorageError::Closed))) => return,
                Err(error) => {
                    tracing::error!(code = error.code(), %error, "audit payloads could not be dropped; they stay for now");
                    sleep(AGAIN).await;
                    continue;
                }
            }
        }
        drop(trail);
        if applied.changed().await.is_err() {
            return;
        }
    }
}

/// What this task remembers of drops, so that it does nothing twice.
#[derive(Default)]
pub(super) struct Keeper {
    /// Their old file is gone.
    cleared: BTreeSet<(AuditIndex, u32)>,
    /// They do not fit the events.
    refused: BTreeSet<(AuditIndex, u32)>,
}

impl Keeper {
    /// False where something is left to be done.
    pub(super) async fn follow(
        &mut self,
        trail: &Trail,
        drops: impl Iterator<Item = &Arc<Dropped>>,
    ) -> Result<bool, TrailError> {
        let mut all = true;
        for Dropped { drop, .. } in drops.map(|dropped| &**dropped) {
            let key = (drop.first, drop.number);
            if drop.from == drop.address || self.refused.contains(&key) {
                continue;
            }
            let Some(found) = trail.place(drop.first) else {
                all = false;
                continue;
            };
            if found.name.address == drop.from {
                // It may have been cleared before, and be back.
                self.cleared.remove(&key);
                if !self.expire(trail, found, drop).await? {
                    self.refused.insert(key);
                }
            }
            all &= self.clear(trail, drop)?;
        }
        Ok(all)
    }

    /// False where the drop does not fit what is here.
    async fn expire(&self, trail: &Trail, found: Lacking, drop: &PayloadDrop) -> Result<bool, TrailError> {
        let (files, old) = (trail.files(), found.name);
        let new = SegmentName { address: drop.address, bytes: drop.bytes, ..old };
        if (old.first, old.last) != (drop.first, drop.last) {
            return Ok(false);
        }
        if trail.here(old.first).is_none() {
            // Others have it as it is now: that is what is fetched.
            trail.replace(&old, new)?;
            return Ok(true);
        }
        let made = match rewrite(trail, found, &drop.rule, drop.number).await {
            Ok(made) => made,
            Err(StorageError::Closed) => return Err(StorageError::Closed.into()),
            Err(error) => {
                trail.damaged(&old, &error.to_string());
                return Err(error.into());
            }
        };
        if !fits(&made, drop) || made.name != new {
            tracing::error!(
                code = "RETENTION_MISMATCH",
                segment = %old.address,
                first = old.first.0,
                last = old.last.0,
                number = drop.number,
                "payloads are to be dropped that are not those the entry tells of: they stay"
            );
            return Ok(false);
        }
        let dropped = made.dropped();
        let there = files.size(&new.address, SegmentCopy::Whole)?.is_some();
        if !there || super::check(files, new, found.before, SegmentCopy::Whole).await.is_err() {
            let mut writer = SegmentWriter::begin(files, made.plan)?;
            each(trail, &old, |event| writer.add(&without(event, &drop.rule, drop.number).0)).await?;
            writer.finish()?;
            // INVARIANT: P6 (read back before the old one goes)
            if let Err(error) = super::check(files, new, found.before, SegmentCopy::Whole).await {
                files.remove(&new.address, SegmentCopy::Whole)?;
                return Err(error.into());
            }
        }
        trail.replace(&old, new)?;
        trail.count_dropped(dropped);
        tracing::info!(
            segment = %new.address,
            first = new.first.0,
            last = new.last.0,
            dropped,
            "payloads of audit events were dropped"
        );
        Ok(true)
    }

    /// Removes the file of before and what was being fetched of it, once the one that took its place is here; false while
    /// it is not.
    fn clear(&mut self, trail: &Trail, drop: &PayloadDrop) -> Result<bool, StorageError> {
        let key = (drop.first, drop.number);
        if self.cleared.contains(&key) || self.refused.contains(&key) {
            return Ok(true);
        }
        let Some(here) = trail.here(drop.first).filter(|here| here.name.address != drop.from) else {
            return Ok(false);
        };
        // An entry that names another segment's file takes nothing away from it.
        if segment_range(trail.files(), &drop.from) == Some((here.name.first, here.name.last)) {
            trail.files().remove(&drop.from, SegmentCopy::Whole)?;
        }
        if trail.files().size(&drop.from, SegmentCopy::Part)?.is_some() {
            trail.files().remove(&drop.from, SegmentCopy::Part)?;
        }
        self.cleared.insert(key);
        Ok(true)
    }
}
