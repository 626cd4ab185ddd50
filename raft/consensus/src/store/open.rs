//! What a start finds on disk, and whether the rows may be trusted beside the log.
//!
//! The log is never touched here: its entries count in quorums. Rows can always be made again, from the log where it
//! reaches back to the beginning, otherwise from another member's snapshot.

use only1mcp_storage::{Engine, LogState, StorageError};
use tokio::time::Instant;

use super::durable::Durable;
use super::rows::{self, LoadError, Loaded};
use crate::convert;
use crate::options::Stores;
use crate::received::Verified;
use crate::types::SnapshotMeta;
use crate::vote_gate::VoteGate;

/// Why nothing can be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Rows(#[from] LoadError),
}

pub struct Opened {
    pub loaded: Loaded,
    pub durable: Durable,
    pub gate: VoteGate,
    /// Set when the rows were discarded and the log no longer reaches back to the beginning: the last index purged. A
    /// snapshot at or after it must be installed before this node can start.
    pub needs_snapshot: Option<u64>,
}

impl Loaded {
    fn empty() -> Self {
        Self {
            state: only1mcp_domain::State::default(),
            meta: SnapshotMeta::default(),
            installed: None,
            segments: Vec::new(),
        }
    }
}

pub fn open(stores: &Stores, election_ms_max: u64, now: Instant) -> Result<Opened, OpenError> {
    let log = stores.log.state()?;
    let last = log.last.max(log.purged);
    let (loaded, discarded) = match trusted_rows(stores, &log)? {
        Ok(loaded) => (loaded, false),
        Err(why) => {
            tracing::warn!(why, "the rows are discarded and made again");
            stores.engine.replace_all(Box::new(std::iter::empty()))?;
            (Loaded::empty(), true)
        }
    };
    let behind_purge =
        loaded.meta.last_log_id.as_ref().map(|id| id.index) < log.purged.map(|purged| purged.index);
    let cut = stores.log.cut_at_open();
    if let Some(cut) = &cut {
        tracing::warn!(cut, "opening the log removed a torn tail");
    }
    let durable = Durable::at_open(last.map(|last| last.index));
    if let Some(id) = &loaded.meta.last_log_id {
        // Ahead of the log only by an installed snapshot, which was durable before it counted.
        durable.covered(id.index);
    }
    Ok(Opened {
        loaded,
        durable,
        gate: VoteGate::at_start(log.vote.is_some(), cut.is_some(), election_ms_max, now),
        needs_snapshot: log.purged.filter(|_| discarded || behind_purge).map(|purged| purged.index),
    })
}

/// The rows, or why they are worth nothing. I/O errors are neither: they stop the start.
// INVARIANT: P6
fn trusted_rows(stores: &Stores, log: &LogState) -> Result<Result<Loaded, String>, OpenError> {
    let engine: &dyn Engine = &*stores.engine;
    if !engine.is_complete()? {
        return Ok(Err("an installation was interrupted".into()));
    }
    let loaded = match rows::load(engine) {
        Ok(loaded) => loaded,
        Err(LoadError::Storage(error @ StorageError::Corrupt { .. })) => return Ok(Err(error.to_string())),
        Err(LoadError::Storage(error)) => return Err(error.into()),
        Err(error @ (LoadError::Row { .. } | LoadError::State { .. })) => return Ok(Err(error.to_string())),
    };
    let Some(applied) = loaded.meta.last_log_id.as_ref().map(convert::position) else {
        return Ok(Ok(loaded));
    };
    if loaded.installed.as_ref().map(convert::position) == Some(applied) {
        return Ok(Ok(loaded));
    }
    let last = log.last.max(log.purged);
    if last.is_none_or(|last| last.index < applied.index) {
        return Ok(Err(format!(
            "they stand at {}, ahead of the log's {:?}",
            applied.index,
            last.map(|l| l.index)
        )));
    }
    if log.purged.is_some_and(|purged| applied.index <= purged.index) {
        return Ok(Ok(loaded));
    }
    let records = stores.log.read(applied.index, applied.index.saturating_add(1))?;
    if records.first().is_none_or(|record| record.position != applied) {
        return Ok(Err(format!("their position {applied:?} is not in the log")));
    }
    Ok(Ok(loaded))
}

/// Replaces all rows by a checked snapshot's, durably.
pub fn install_rows(
    engine: &dyn Engine,
    meta: &SnapshotMeta,
    verified: &Verified,
) -> Result<(), StorageError> {
    let mut own = vec![rows::applied_row(meta)];
    own.extend(meta.last_log_id.as_ref().map(rows::installed_row));
    own.extend(verified.segments.iter().map(crate::trail::segment_row));
    own.sort();
    engine.replace_with(Box::new(own.into_iter().map(Ok).chain(verified.rows())))
}
