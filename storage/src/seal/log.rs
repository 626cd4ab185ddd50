//! [`SealedLog`]: a Raft log whose payloads are sealed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use only1mcp_domain::limits::LOG_RECORD_BYTES_MAX;

use super::sealer::{Kind, Sealer, named_by};
use crate::error::StorageError;
use crate::raft_log::{Flushed, LogPosition, LogRecord, LogState, RaftLog, SavedVote};

pub struct SealedLog<L> {
    inner: L,
    sealer: Arc<Sealer>,
    closed: AtomicBool,
}

impl<L: RaftLog> SealedLog<L> {
    pub fn new(inner: L, sealer: Arc<Sealer>) -> Self {
        Self { inner, sealer, closed: AtomicBool::new(false) }
    }
}

/// A term and leader write one entry at an index, ever: an older record in its place has another position.
fn place(position: LogPosition) -> [u8; 24] {
    let mut out = [0; 24];
    let parts = [position.term, position.node, position.index];
    for (to, part) in out.chunks_exact_mut(8).zip(parts) {
        to.copy_from_slice(&part.to_be_bytes());
    }
    out
}

impl<L: RaftLog> RaftLog for SealedLog<L> {
    fn state(&self) -> Result<LogState, StorageError> {
        self.inner.state()
    }

    fn save_vote(&self, vote: SavedVote) -> Result<(), StorageError> {
        self.inner.save_vote(vote)
    }

    fn append(&self, records: Vec<LogRecord>, flushed: Flushed) -> Result<(), StorageError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StorageError::Closed);
        }
        if records.iter().any(|record| record.payload.len() > LOG_RECORD_BYTES_MAX) {
            return Err(StorageError::TooLarge { what: "log record", max: LOG_RECORD_BYTES_MAX });
        }
        let seal = |record: LogRecord| {
            let payload = self.sealer.seal(Kind::Log, &place(record.position), &record.payload)?;
            Ok(LogRecord { position: record.position, payload: payload.into() })
        };
        let hold = self.sealer.hold();
        let sealed = records.into_iter().map(seal).collect::<Result<Vec<_>, StorageError>>()?;
        let on_disk: Flushed = Box::new(move |result| {
            drop(hold);
            flushed(result);
        });
        self.inner.append(sealed, on_disk)
    }

    fn save_committed(&self, committed: LogPosition) -> Result<(), StorageError> {
        self.inner.save_committed(committed)
    }

    fn read(&self, from: u64, to: u64) -> Result<Vec<LogRecord>, StorageError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StorageError::Closed);
        }
        let open = |record: LogRecord| {
            let payload = self.sealer.open(Kind::Log, &place(record.position), &record.payload)?;
            Ok(LogRecord { position: record.position, payload: payload.into() })
        };
        let opened =
            self.inner.read(from, to)?.into_iter().map(open).collect::<Result<Vec<_>, StorageError>>();
        if opened.is_err() {
            self.closed.store(true, Ordering::Release);
        }
        opened
    }

    fn truncate_after(&self, last: Option<LogPosition>) -> Result<(), StorageError> {
        self.inner.truncate_after(last)
    }

    fn purge(&self, upto: LogPosition) -> Result<(), StorageError> {
        self.inner.purge(upto)
    }

    fn scrub(&self, after: Option<u64>) -> Result<Option<(u64, u64)>, StorageError> {
        self.inner.scrub(after)
    }

    fn sealed_under(&self, after: Option<u64>) -> Result<Option<(u64, BTreeSet<u32>)>, StorageError> {
        let mut keys = BTreeSet::new();
        let mut unnamed = None;
        let file = self.inner.payloads(after, &mut |payload| match named_by(payload, "log record") {
            Ok(key) => {
                keys.insert(key);
            }
            Err(error) => unnamed = Some(error),
        })?;
        match unnamed {
            Some(error) => Err(error),
            None => Ok(file.map(|file| (file, keys))),
        }
    }

    fn cut_at_open(&self) -> Option<String> {
        self.inner.cut_at_open()
    }
}
