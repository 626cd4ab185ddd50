//! The disk of a simulated node: what Raft writes is watched, and the mutants lie about what is on it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use only1mcp_domain::ids::NodeId;
use only1mcp_storage::{
    Flushed, Journal, JournalPosition, LogPosition, LogRecord, LogState, MemJournal, MemRaftLog, RaftLog,
    SavedVote, SealedJournal, SealedLog, StorageError,
};

use crate::stage::{Stage, locked};
use crate::world::Mutant;

/// A Raft log that tells the invariants what is written to it.
pub struct WatchedLog {
    pub node: NodeId,
    pub inner: SealedLog<MemRaftLog>,
    pub stage: Arc<Stage>,
    pub mutant: Mutant,
}

impl WatchedLog {
    /// Told to the invariants whenever a life begins.
    pub fn opened(&self) {
        let last = self.inner.state().ok().and_then(|state| state.last.max(state.purged));
        let last = last.map_or(0, |position| position.index);
        let result = locked(&self.stage.watch).acknowledged.opened(self.node, last);
        self.stage.check("P6 acknowledged entries", result);
        locked(&self.stage.history).ends_at(self.node, last);
    }

    fn watched(&self, records: &[LogRecord], flushed: Flushed) -> Flushed {
        let (node, stage) = (self.node, self.stage.clone());
        let last = records.last().map(|record| record.position.index);
        Box::new(move |result| {
            if let (Ok(()), Some(index)) = (&result, last) {
                locked(&stage.watch).acknowledged.flushed(node, index);
            }
            flushed(result);
        })
    }
}

impl RaftLog for WatchedLog {
    fn state(&self) -> Result<LogState, StorageError> {
        self.inner.state()
    }

    fn save_vote(&self, vote: SavedVote) -> Result<(), StorageError> {
        if self.mutant != Mutant::VoteNotSaved {
            self.inner.save_vote(vote)?;
        }
        let result = locked(&self.stage.watch).votes.saved(self.node, vote);
        self.stage.check("votes", result);
        Ok(())
    }

    fn append(&self, records: Vec<LogRecord>, flushed: Flushed) -> Result<(), StorageError> {
        let state = self.inner.state()?;
        let result =
            locked(&self.stage.watch).log.appended(self.node, state.last.max(state.purged), &records);
        self.stage.check("log matching", result);
        locked(&self.stage.history).appended(self.node, &records);
        let flushed = self.watched(&records, flushed);
        if self.mutant == Mutant::LogBeforeSync {
            self.inner.append(records, Box::new(|_| {}))?;
            flushed(Ok(()));
            return Ok(());
        }
        self.inner.append(records, flushed)
    }

    fn save_committed(&self, committed: LogPosition) -> Result<(), StorageError> {
        self.inner.save_committed(committed)
    }

    fn read(&self, from: u64, to: u64) -> Result<Vec<LogRecord>, StorageError> {
        self.inner.read(from, to)
    }

    fn truncate_after(&self, last: Option<LogPosition>) -> Result<(), StorageError> {
        let end = last.map_or(0, |last| last.index);
        locked(&self.stage.watch).acknowledged.truncated(self.node, end);
        locked(&self.stage.history).ends_at(self.node, end);
        self.inner.truncate_after(last)
    }

    fn purge(&self, upto: LogPosition) -> Result<(), StorageError> {
        self.inner.purge(upto)
    }

    fn cut_at_open(&self) -> Option<String> {
        self.inner.cut_at_open()
    }
}

/// A journal that, as a mutant, acknowledges what it has not synced or not even taken.
pub struct WatchedJournal {
    pub inner: SealedJournal<MemJournal>,
    pub mutant: Mutant,
    pub appended: AtomicU64,
    /// Acknowledged, and not written yet: the mutant's system writes back when more comes.
    pub late: Mutex<Option<Bytes>>,
}

impl Journal for WatchedJournal {
    fn append(&self, record: Bytes, flushed: Flushed) -> Result<JournalPosition, StorageError> {
        let number = self.appended.fetch_add(1, Ordering::Relaxed);
        match self.mutant {
            Mutant::JournalBeforeSync => {
                let earlier = locked(&self.late).replace(record);
                if let Some(earlier) = earlier {
                    self.inner.append(earlier, Box::new(|_| {}))?;
                }
                flushed(Ok(()));
                self.inner.next()
            }
            // The first record of a life carries what earlier ones left.
            Mutant::JournalDrops if number % 3 == 2 => {
                flushed(Ok(()));
                Ok(JournalPosition(number))
            }
            Mutant::JournalDrops
            | Mutant::None
            | Mutant::LogBeforeSync
            | Mutant::VoteNotSaved
            | Mutant::Inside(_) => self.inner.append(record, flushed),
        }
    }

    fn next(&self) -> Result<JournalPosition, StorageError> {
        let late = u64::from(locked(&self.late).is_some());
        Ok(JournalPosition(self.inner.next()?.0.saturating_add(late)))
    }

    fn read_after(&self, after: JournalPosition) -> Result<Vec<(JournalPosition, Bytes)>, StorageError> {
        self.inner.read_after(after)
    }

    fn discard(&self, upto: JournalPosition) -> Result<(), StorageError> {
        self.inner.discard(upto)
    }

    fn cut_at_open(&self) -> Option<String> {
        self.inner.cut_at_open()
    }
}
