//! What a Raft log holds, and what each change does to it: in memory, for `mem_log.rs`.

use std::collections::BTreeMap;

use crate::error::StorageError;
use crate::raft_log::{LogPosition, LogRecord, LogState, SavedVote};

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Vote(SavedVote),
    Append(LogRecord),
    Committed(LogPosition),
    TruncateAfter(Option<LogPosition>),
    Purge(LogPosition),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pub state: LogState,
    pub records: BTreeMap<u64, LogRecord>,
}

impl Content {
    /// Errors: `Refused` when the change does not fit; nothing changed.
    pub fn apply(&mut self, change: &Change) -> Result<(), StorageError> {
        match change {
            Change::Vote(vote) => self.vote(*vote),
            Change::Append(record) => self.append(record),
            Change::Committed(at) => {
                if Some(*at) > self.state.committed && Some(*at) <= self.state.last {
                    self.state.committed = Some(*at);
                }
                Ok(())
            }
            Change::TruncateAfter(last) => self.truncate_after(*last),
            Change::Purge(upto) => self.purge(*upto),
        }
    }

    fn vote(&mut self, vote: SavedVote) -> Result<(), StorageError> {
        if self.state.vote.is_some_and(|v| v.term > vote.term) {
            return refused("save vote", format!("{vote:?} is of an older term than {:?}", self.state.vote));
        }
        self.state.vote = Some(vote);
        Ok(())
    }

    fn append(&mut self, record: &LogRecord) -> Result<(), StorageError> {
        let at = record.position;
        check_follows(self.state.last, std::slice::from_ref(record))?;
        self.records.insert(at.index, record.clone());
        self.state.last = Some(at);
        Ok(())
    }

    fn truncate_after(&mut self, last: Option<LogPosition>) -> Result<(), StorageError> {
        if last >= self.state.last {
            return Ok(());
        }
        let keep = last.max(self.state.purged);
        if let Some(keep) = keep.filter(|k| Some(*k) != self.state.purged) {
            self.check_holds(keep)?;
        }
        if keep < self.state.committed {
            return refused("truncate", format!("{:?} is committed", self.state.committed));
        }
        let next = keep.map_or(0, |k| k.index.saturating_add(1));
        self.records.split_off(&next);
        self.state.last = keep;
        Ok(())
    }

    /// What no write does: even what is committed goes.
    pub fn lose_end(&mut self, records: usize) {
        let keep = self.records.len().saturating_sub(records);
        self.records = std::mem::take(&mut self.records).into_iter().take(keep).collect();
        let last = self.records.last_key_value().map(|(_, record)| record.position);
        self.state.last = last.or(self.state.purged);
        self.state.committed = self.state.committed.min(self.state.last);
    }

    fn purge(&mut self, upto: LogPosition) -> Result<(), StorageError> {
        if self.state.purged.is_some_and(|p| p.index >= upto.index) {
            return Ok(());
        }
        if self.state.last.is_some_and(|l| l.index >= upto.index || l >= upto) {
            self.check_holds(upto)?;
        }
        self.records = self.records.split_off(&upto.index.saturating_add(1));
        self.state.purged = Some(upto);
        self.state.last = self.state.last.max(Some(upto));
        Ok(())
    }

    fn check_holds(&self, position: LogPosition) -> Result<(), StorageError> {
        let found = self.records.get(&position.index).map(|r| r.position);
        if found == Some(position) {
            return Ok(());
        }
        refused("find", format!("{position:?} is not stored, but {found:?}"))
    }
}

/// Whether `records` continue a log that ends at `last`, each the one before it; an empty log takes any first one.
pub(crate) fn check_follows(last: Option<LogPosition>, records: &[LogRecord]) -> Result<(), StorageError> {
    let mut last = last;
    for record in records {
        let at = record.position;
        if last.is_some_and(|l| at <= l || at.index != l.index.saturating_add(1)) {
            return refused("append", format!("{at:?} does not follow {last:?}"));
        }
        last = Some(at);
    }
    Ok(())
}

fn refused(operation: &'static str, detail: String) -> Result<(), StorageError> {
    Err(StorageError::Refused { operation, detail })
}
