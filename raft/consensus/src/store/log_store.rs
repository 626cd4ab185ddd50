//! `RaftLogStorage` over [`RaftLog`].
//!
//! Calls into the log are made directly from async code: appends return at once and report later; votes, truncations
//! and reads are short and must be in order, so a thread of their own would buy nothing.

use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use futures_util::{Stream, stream};
use only1mcp_domain::limits;
use only1mcp_storage::{LogState, RaftLog, StorageError};
use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, storage};

use super::durable::Durable;
use super::rows;
use crate::convert;
use crate::trail::Trail;
use crate::types::{LogId, RaftEntry, RaftVote, TypeConfig};

/// Entries read from the log at one time.
const READ_STEP: u64 = 32;

/// Makes sure, before log entries go, that what they did is on disk.
#[derive(Clone)]
pub struct PurgeGuard {
    pub trail: Arc<Trail>,
}

impl PurgeGuard {
    /// Whether the log may go now. Not while a segment is lacking here, unless the entries are those that a snapshot
    /// from another member replaced: the log has to begin behind that one.
    // INVARIANT: P6
    fn check(&self, upto: u64) -> Result<bool, io::Error> {
        let engine = self.trail.engine();
        engine.sync().map_err(io::Error::other)?;
        let stored = rows::applied_index(engine).map_err(io::Error::other)?;
        if stored < Some(upto) {
            return Err(io::Error::other(format!(
                "log entries up to {upto} may not be purged: the rows on disk stand at {stored:?}"
            )));
        }
        let installed = rows::installed(engine).map_err(io::Error::other)?;
        Ok(self.trail.is_whole() || installed.is_some_and(|installed| upto <= installed.index))
    }
}

#[derive(Clone)]
pub struct LogStore {
    log: Arc<dyn RaftLog>,
    durable: Durable,
    guard: Option<PurgeGuard>,
}

impl LogStore {
    /// `guard`: absent only where no rows belong to the log (openraft's suite).
    pub fn new(log: Arc<dyn RaftLog>, durable: Durable, guard: Option<PurgeGuard>) -> Self {
        Self { log, durable, guard }
    }

    fn state(&self) -> Result<LogState, io::Error> {
        self.log.state().map_err(io::Error::other)
    }

    /// The part of `from..to` that is there.
    fn clamp(&self, from: u64, to: u64) -> Result<(u64, u64), io::Error> {
        let state = self.state()?;
        let first = state.purged.map_or(0, |purged| purged.index.saturating_add(1));
        let end = state.last.map_or(0, |last| last.index.saturating_add(1));
        Ok((from.max(first), to.min(end)))
    }

    fn read(&self, from: u64, to: u64) -> Result<Vec<RaftEntry>, io::Error> {
        if from >= to {
            return Ok(Vec::new());
        }
        let records = self.log.read(from, to).map_err(io::Error::other)?;
        records
            .into_iter()
            .map(|record| convert::entry_from_record(record).map_err(io::Error::other))
            .collect()
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(at) => *at,
        Bound::Excluded(at) => at.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(at) => at.saturating_add(1),
        Bound::Excluded(at) => *at,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

fn size_bytes(entry: &RaftEntry) -> usize {
    match &entry.payload {
        openraft::EntryPayload::Normal(bytes) => bytes.0.len(),
        openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => 256,
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + std::fmt::Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<RaftEntry>, io::Error> {
        let (from, to) = bounds(&range);
        let (from, to) = self.clamp(from, to)?;
        self.read(from, to)
    }

    /// Reads step by step, so that catching up holds no more in memory than is being applied.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<RaftEntry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + std::fmt::Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        let reader = self.clone();
        let start = reader.clamp(from, to);
        let steps = stream::unfold(Some((reader, start)), |state| async move {
            let (reader, range) = state?;
            let (from, to) = match range {
                Ok(range) => range,
                Err(error) => return Some((vec![Err(error)], None)),
            };
            if from >= to {
                return None;
            }
            let end = to.min(from.saturating_add(READ_STEP));
            match reader.read(from, end) {
                Ok(entries) => Some((entries.into_iter().map(Ok).collect(), Some((reader, Ok((end, to)))))),
                Err(error) => Some((vec![Err(error)], None)),
            }
        });
        Box::pin(futures_util::StreamExt::flat_map(steps, |step: Vec<Result<RaftEntry, io::Error>>| {
            stream::iter(step)
        }))
    }

    /// Fewer than asked for once they are many bytes, so that an append stays within what a peer accepts.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry>, io::Error> {
        let (mut from, to) = self.clamp(start, end)?;
        let mut taken = Vec::new();
        let mut bytes: usize = 0;
        while from < to {
            let step_end = to.min(from.saturating_add(READ_STEP));
            for entry in self.read(from, step_end)? {
                let size = size_bytes(&entry);
                if !taken.is_empty() && bytes.saturating_add(size) > limits::APPEND_BYTES_MAX {
                    return Ok(taken);
                }
                bytes = bytes.saturating_add(size);
                taken.push(entry);
            }
            from = step_end;
        }
        Ok(taken)
    }

    async fn read_vote(&mut self) -> Result<Option<RaftVote>, io::Error> {
        Ok(self.state()?.vote.map(convert::vote))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<storage::LogState<TypeConfig>, io::Error> {
        let state = self.state()?;
        Ok(storage::LogState {
            last_purged_log_id: state.purged.map(convert::log_id),
            last_log_id: state.last.max(state.purged).map(convert::log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> Result<(), io::Error> {
        self.log.save_vote(convert::saved_vote(vote)).map_err(io::Error::other)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        match committed {
            Some(id) => self.log.save_committed(convert::position(&id)).map_err(io::Error::other),
            None => Ok(()),
        }
    }

    /// Never past the last entry: the hint may have outlived a torn tail that was cut.
    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let state = self.state()?;
        let last = state.last.max(state.purged);
        Ok(state
            .committed
            .map(|committed| last.map_or(committed, |last| committed.min(last)))
            .filter(|_| last.is_some())
            .map(convert::log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut last = None;
        let records: Vec<_> = entries
            .into_iter()
            .map(|entry| {
                last = Some(entry.index());
                convert::entry_to_record(&entry)
            })
            .collect();
        let durable = self.durable.clone();
        let generation = durable.generation();
        let flushed = move |result: Result<(), StorageError>| {
            match (&result, last) {
                (Ok(()), Some(index)) => durable.flushed(generation, index),
                (Ok(()), None) => {}
                (Err(_), _) => durable.failed(),
            }
            callback.io_completed(result.map_err(io::Error::other));
        };
        self.log.append(records, Box::new(flushed)).map_err(io::Error::other)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.durable.truncated(last.as_ref().map(|id| id.index));
        self.log.truncate_after(last.as_ref().map(convert::position)).map_err(io::Error::other)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        if let Some(guard) = &self.guard
            && !guard.check(upto.index)?
        {
            // Raft counts them as gone, and the next purge takes them along.
            tracing::info!(upto = upto.index, "the log is kept until every segment is here");
            return Ok(());
        }
        self.log.purge(convert::position(&upto)).map_err(io::Error::other)?;
        self.durable.covered(upto.index);
        Ok(())
    }
}
