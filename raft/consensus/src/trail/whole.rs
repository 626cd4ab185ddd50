//! Which segments there are, which of them are here, and reading across them and the rows.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use only1mcp_domain::audit::{ChainHead, SealedEvent};
use only1mcp_domain::ids::{AuditIndex, Digest};
use only1mcp_domain::row::{RowKey, Table};
use only1mcp_storage::{Engine, Rows, SegmentName, Segments, StorageError, read_segment, segment_is_here};
use tokio::sync::watch;

use super::names::segment_row;
use crate::received::Verified;
use crate::store::install_rows;
use crate::store::rows::{self, LoadError};
use crate::types::SnapshotMeta;

/// Rows deleted at one time once a segment holds them.
const SWEEP_ROWS: usize = 256;

/// Why events could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TrailError {
    #[error(transparent)]
    Rows(#[from] LoadError),
    /// Worth trying again.
    #[error("events {first} to {last} are not on this node yet: they are fetched from another member")]
    Lacking { first: AuditIndex, last: AuditIndex },
    /// Worth trying again, where another member has the events.
    #[error("the segment of events {first} to {last} is damaged on this node, and fetched again: {detail}")]
    Damaged { first: AuditIndex, last: AuditIndex, detail: String },
}

impl TrailError {
    /// Stable, for logs and callers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rows(_) => "AUDIT_UNREADABLE",
            Self::Lacking { .. } => "AUDIT_SEGMENT_LACKING",
            Self::Damaged { .. } => "AUDIT_SEGMENT_DAMAGED",
        }
    }
}

impl From<StorageError> for TrailError {
    fn from(error: StorageError) -> Self {
        Self::Rows(error.into())
    }
}

/// A segment that is not here, and the chain's hash before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lacking {
    pub name: SegmentName,
    pub before: Digest,
}

pub struct Trail {
    engine: Arc<dyn Engine>,
    files: Arc<dyn Segments>,
    segment_events: usize,
    manifest: RwLock<Manifest>,
    /// Rows are being replaced as a whole: nothing can be read meanwhile.
    installing: AtomicBool,
    /// Counts changes of what is lacking.
    lacking: watch::Sender<u64>,
    dropped: AtomicU64,
}

struct Manifest {
    names: Vec<SegmentName>,
    /// By place in `names`.
    lacking: BTreeSet<usize>,
    /// No row is left that a segment holds.
    swept: bool,
}

impl Manifest {
    fn of(files: &dyn Segments, names: Vec<SegmentName>) -> Self {
        let here = |name: &SegmentName| segment_is_here(files, name);
        let lacking = names.iter().enumerate().filter(|(_, name)| !here(name)).map(|(place, _)| place);
        Self { lacking: lacking.collect(), names, swept: false }
    }

    fn sealed(&self) -> ChainHead {
        self.names.last().map(SegmentName::head).unwrap_or_default()
    }

    fn place_of(&self, index: AuditIndex) -> Option<usize> {
        let place = self.names.partition_point(|name| name.last < index);
        self.names.get(place).filter(|name| name.holds(index)).map(|_| place)
    }

    fn at(&self, place: usize) -> Option<Lacking> {
        let name = *self.names.get(place)?;
        let before = place.checked_sub(1).and_then(|place| self.names.get(place));
        Some(Lacking { name, before: before.map(|name| name.hash).unwrap_or_default() })
    }
}

impl Trail {
    /// `names`: what the rows of `engine` say is sealed.
    pub fn new(
        engine: Arc<dyn Engine>,
        files: Arc<dyn Segments>,
        segment_events: usize,
        names: Vec<SegmentName>,
    ) -> Self {
        let manifest = RwLock::new(Manifest::of(&*files, names));
        let (installing, lacking) = (AtomicBool::new(false), watch::Sender::new(0));
        let dropped = AtomicU64::new(0);
        Self { engine, files, segment_events, manifest, installing, lacking, dropped }
    }

    pub fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    pub fn files(&self) -> &dyn Segments {
        &*self.files
    }

    pub fn shared_files(&self) -> Arc<dyn Segments> {
        Arc::clone(&self.files)
    }

    pub fn segment_events(&self) -> usize {
        self.segment_events
    }

    fn read(&self) -> RwLockReadGuard<'_, Manifest> {
        self.manifest.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Manifest> {
        self.manifest.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the last segment ends.
    pub fn sealed(&self) -> ChainHead {
        self.read().sealed()
    }

    /// Segments that end at or before `head`.
    pub fn sealed_until(&self, head: AuditIndex) -> usize {
        self.read().names.partition_point(|name| name.last <= head)
    }

    /// At most `limit` names from the one at `place` on.
    pub fn names(&self, place: usize, limit: usize) -> Vec<SegmentName> {
        self.read().names.iter().skip(place).take(limit).copied().collect()
    }

    /// The segment that holds the event `index`.
    pub fn name_at(&self, index: AuditIndex) -> Option<SegmentName> {
        let manifest = self.read();
        manifest.place_of(index).and_then(|place| manifest.names.get(place).copied())
    }

    /// How many segments there are, and how many of them are not here.
    pub fn counts(&self) -> (usize, usize) {
        let manifest = self.read();
        (manifest.names.len(), manifest.lacking.len())
    }

    pub fn is_whole(&self) -> bool {
        self.read().lacking.is_empty()
    }

    /// The first segment that is not here, looking from the one that holds `from`.
    pub fn lacks(&self, from: AuditIndex) -> Option<Lacking> {
        let manifest = self.read();
        let start = manifest.names.partition_point(|name| name.last < from);
        let place = *manifest.lacking.range(start..).next()?;
        manifest.at(place)
    }

    /// Changes whenever something begins or ends to be lacking.
    pub fn watch_lacking(&self) -> watch::Receiver<u64> {
        self.lacking.subscribe()
    }

    /// The segment that begins with `first`, here or not.
    pub fn place(&self, first: AuditIndex) -> Option<Lacking> {
        let manifest = self.read();
        manifest
            .place_of(first)
            .and_then(|place| manifest.at(place))
            .filter(|found| found.name.first == first)
    }

    /// The first segment that begins at or after `index`, here or not.
    pub fn next_place(&self, index: AuditIndex) -> Option<Lacking> {
        let manifest = self.read();
        manifest.at(manifest.names.partition_point(|name| name.first < index))
    }

    /// In place of `old` stands `new`, the same events without some payloads. If `new` is not here, it is lacking from
    /// now on. Nothing happens when the trail has moved on meanwhile.
    pub fn replace(&self, old: &SegmentName, new: SegmentName) -> Result<(), StorageError> {
        let mut manifest = self.write();
        let Some(place) =
            manifest.place_of(old.first).filter(|place| manifest.names.get(*place) == Some(old))
        else {
            return Ok(());
        };
        let (key, value) = segment_row(&new);
        self.engine.write(vec![(key, Some(value))], true)?;
        if let Some(name) = manifest.names.get_mut(place) {
            *name = new;
        }
        if segment_is_here(&*self.files, &new) {
            manifest.lacking.remove(&place);
        } else {
            manifest.lacking.insert(place);
        }
        drop(manifest);
        self.lacking.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    /// Whether `name` still is how that segment is called.
    pub fn has(&self, name: &SegmentName) -> bool {
        self.place(name.first).is_some_and(|found| found.name == *name)
    }

    pub fn count_dropped(&self, payloads: u32) {
        self.dropped.fetch_add(payloads.into(), Ordering::Relaxed);
    }

    /// Payloads dropped from segments here since the node started.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The segment that begins with `first`, if it is here.
    pub fn here(&self, first: AuditIndex) -> Option<Lacking> {
        let manifest = self.read();
        let place = manifest.place_of(first).filter(|place| !manifest.lacking.contains(place))?;
        manifest.at(place).filter(|found| found.name.first == first)
    }

    /// The segment is here, checked and synced.
    pub fn arrived(&self, name: &SegmentName) {
        let mut manifest = self.write();
        if let Some(place) = manifest.place_of(name.first)
            && manifest.names.get(place) == Some(name)
        {
            manifest.lacking.remove(&place);
        }
        drop(manifest);
        self.lacking.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The copy here is worth nothing. It stays until another takes its place.
    pub fn damaged(&self, name: &SegmentName, detail: &str) {
        let mut manifest = self.write();
        let place = manifest.place_of(name.first).filter(|place| manifest.names.get(*place) == Some(name));
        let told = place.is_none_or(|place| !manifest.lacking.insert(place));
        drop(manifest);
        if !told {
            tracing::error!(
                code = "AUDIT_SEGMENT_DAMAGED",
                segment = %name.address,
                first = name.first.0,
                last = name.last.0,
                detail,
                "a segment of the audit trail is damaged: it is fetched again from another member"
            );
            self.lacking.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Events from `from` on, contiguous: `limit` of them, or all there are.
    /// Errors: `TrailError`; never fewer events in place of an error.
    pub fn events(&self, from: AuditIndex, limit: usize) -> Result<Vec<SealedEvent>, TrailError> {
        let mut out: Vec<SealedEvent> = Vec::new();
        while out.len() < limit {
            let next = out.last().map_or(from.0.max(1), |event| event.index.0.saturating_add(1));
            let read = self.some_events(AuditIndex(next), limit.saturating_sub(out.len()))?;
            if read.is_empty() {
                break;
            }
            out.extend(read);
        }
        Ok(out)
    }

    fn some_events(&self, from: AuditIndex, limit: usize) -> Result<Vec<SealedEvent>, TrailError> {
        if self.installing.load(Ordering::Acquire) {
            return Err(TrailError::Lacking { first: from, last: from });
        }
        // Held while reading: rows go only when nobody reads.
        let manifest = self.read();
        let Some(place) = manifest.place_of(from) else {
            let events = rows::audit_events(&*self.engine, from, limit)?;
            let first = events.first().map_or(from, |event| event.index);
            let gapless = events.iter().zip(first.0..).all(|(event, index)| event.index.0 == index);
            if first != from || !gapless {
                let problem = format!("audit events after {} are missing", from.0.saturating_sub(1));
                return Err(LoadError::State { problem }.into());
            }
            return Ok(events);
        };
        let Some(Lacking { name, .. }) = manifest.at(place) else { return Ok(Vec::new()) };
        if manifest.lacking.contains(&place) {
            return Err(TrailError::Lacking { first: name.first, last: name.last });
        }
        let read = read_segment(&*self.files, &name, from, limit);
        drop(manifest);
        read.map_err(|error| match error {
            StorageError::Closed => TrailError::from(StorageError::Closed),
            error => {
                let detail = error.to_string();
                self.damaged(&name, &detail);
                TrailError::Damaged { first: name.first, last: name.last, detail }
            }
        })
    }

    /// Replaces rows and names by a checked snapshot's, durably. Of its segments those that are not here are lacking.
    pub fn install(&self, meta: &SnapshotMeta, verified: &Verified) -> Result<(), StorageError> {
        self.installing.store(true, Ordering::Release);
        let mut manifest = self.write();
        let result = install_rows(&*self.engine, meta, verified);
        if result.is_ok() {
            *manifest = Manifest { swept: true, ..Manifest::of(&*self.files, verified.segments.clone()) };
        }
        drop(manifest);
        self.installing.store(false, Ordering::Release);
        self.lacking.send_modify(|count| *count = count.wrapping_add(1));
        result
    }

    /// From here on the events of `name` are read from its segment, which is checked and synced. Nothing happens when
    /// the trail has moved on meanwhile.
    // INVARIANT: P6 (rows go only after this is durable)
    pub fn commit(&self, after: ChainHead, name: SegmentName) -> Result<(), StorageError> {
        let mut manifest = self.write();
        if manifest.sealed() != after {
            return Ok(());
        }
        let (key, value) = segment_row(&name);
        self.engine.write(vec![(key, Some(value))], true)?;
        manifest.names.push(name);
        manifest.swept = false;
        Ok(())
    }

    /// Deletes some rows that a segment holds; true when none is left.
    pub fn sweep(&self) -> Result<bool, StorageError> {
        if self.read().swept {
            return Ok(true);
        }
        let mut manifest = self.write();
        let end = RowKey::audit(AuditIndex(manifest.sealed().index.0.saturating_add(1))).0;
        let found = self.engine.scan(&[Table::Audit.number()], &end, SWEEP_ROWS)?;
        if found.is_empty() {
            manifest.swept = true;
            return Ok(true);
        }
        let rows: Rows = found.into_iter().map(|(key, _)| (key, None)).collect();
        self.engine.write(rows, false)?;
        Ok(false)
    }
}
