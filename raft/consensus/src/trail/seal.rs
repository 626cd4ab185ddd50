//! Moves audit rows into segments: whenever as many events as a segment holds stand behind the last one.
//!
//! Two passes over the rows, so that no segment is ever held in memory. The file is synced and read back whole before
//! it counts, and its rows go only after that. What a crash interrupts is begun anew; a segment that is there already
//! is checked instead of written.

use only1mcp_domain::audit::{ChainHead, SealedEvent};
use only1mcp_domain::ids::AuditIndex;
use only1mcp_storage::{SegmentCopy, SegmentDraft, SegmentWriter, StorageError};
use tokio::task::yield_now;
use tokio::time::{Duration, sleep};

use super::whole::{Trail, TrailError};
use crate::handle::WeakHandle;
use crate::store::rows;

/// Rows read at one time.
const STEP: usize = 128;
/// After a failure: a full disk may be given room.
const AGAIN: Duration = Duration::from_secs(5);

/// Runs until Raft ends.
pub async fn run(weak: WeakHandle) {
    let Some(handle) = weak.upgrade() else { return };
    let mut applied = handle.applied();
    drop(handle);
    loop {
        let Some(handle) = weak.upgrade() else { return };
        if handle.stopped_because().is_some() {
            return;
        }
        let (trail, head) = (handle.trail(), handle.state().chain.index);
        drop(handle);
        if let Err(error) = seal_due(&trail, head).await {
            if matches!(&error, TrailError::Rows(rows::LoadError::Storage(StorageError::Closed))) {
                return;
            }
            tracing::error!(code = error.code(), %error, "audit events could not be sealed; they stay rows for now");
            sleep(AGAIN).await;
            continue;
        }
        drop(trail);
        if applied.changed().await.is_err() {
            return;
        }
    }
}

/// Seals all that may be sealed up to `head`.
pub async fn seal_due(trail: &Trail, head: AuditIndex) -> Result<(), TrailError> {
    loop {
        while !trail.sweep()? {
            yield_now().await;
        }
        let after = trail.sealed();
        let events = u64::try_from(trail.segment_events()).unwrap_or(u64::MAX);
        if head.0 < after.index.0.saturating_add(events) {
            return Ok(());
        }
        match seal(trail, after).await {
            Ok(()) => {}
            // A snapshot was installed meanwhile: its segments count now.
            Err(_) if trail.sealed() != after => {}
            Err(error) => return Err(error),
        }
    }
}

async fn seal(trail: &Trail, after: ChainHead) -> Result<(), TrailError> {
    let files = trail.files();
    let mut draft = SegmentDraft::after(after, trail.segment_events())?;
    each(trail, after, |event| draft.add(event)).await?;
    let plan = draft.finish()?;
    let name = plan.name;
    let there = files.size(&name.address, SegmentCopy::Whole)?.is_some();
    if !there || super::check(files, name, after.hash, SegmentCopy::Whole).await.is_err() {
        let mut writer = SegmentWriter::begin(files, plan)?;
        each(trail, after, |event| writer.add(event)).await?;
        writer.finish()?;
        // INVARIANT: P6 (read back before anything relies on it)
        if let Err(error) = super::check(files, name, after.hash, SegmentCopy::Whole).await {
            files.remove(&name.address, SegmentCopy::Whole)?;
            return Err(error.into());
        }
    }
    trail.commit(after, name)?;
    tracing::info!(segment = %name.address, first = name.first.0, last = name.last.0, "audit events were sealed");
    Ok(())
}

/// Calls `take` with each event of the next segment.
async fn each(
    trail: &Trail,
    after: ChainHead,
    mut take: impl FnMut(&SealedEvent) -> Result<(), StorageError>,
) -> Result<(), TrailError> {
    let mut left = trail.segment_events();
    let mut next = after.index.0.saturating_add(1);
    while left > 0 {
        let events = rows::audit_events(trail.engine(), AuditIndex(next), left.min(STEP))?;
        let Some(last) = events.last() else {
            let problem = format!("audit events from {next} on are missing");
            return Err(rows::LoadError::State { problem }.into());
        };
        next = last.index.0.saturating_add(1);
        left = left.saturating_sub(events.len());
        events.iter().try_for_each(&mut take)?;
        yield_now().await;
    }
    Ok(())
}
