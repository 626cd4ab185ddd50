//! [`RaftLog`] on a [`MemDisk`](crate::MemDisk).

use only1mcp_domain::limits::LOG_RECORD_BYTES_MAX;

use crate::error::StorageError;
use crate::mem_log_content::{Change, Content, check_follows};
use crate::memory::{Calls, Handle, Inner, SplitMix, flip};
use crate::raft_log::{Flushed, LogPosition, LogRecord, LogState, RaftLog, SavedVote};
use crate::seal::SEALED_BYTES;

#[derive(Default)]
pub(crate) struct LogDisk {
    /// With everything written.
    live: Content,
    /// With everything synced.
    durable: Content,
    /// Written and not synced, in order, each with who waits for it.
    pending: Vec<(Change, Option<Flushed>)>,
    /// What the last crash tore.
    pub cut: Option<String>,
    vote_rotten: bool,
}

impl std::fmt::Debug for LogDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogDisk")
            .field("state", &self.live.state)
            .field("pending", &self.pending.len())
            .finish()
    }
}

impl LogDisk {
    pub fn is_synced(&self) -> bool {
        self.pending.is_empty()
    }

    /// Makes everything durable and gives back who waited for it.
    pub fn sync(&mut self) -> Calls {
        self.sync_first(self.pending.len())
    }

    fn sync_first(&mut self, count: usize) -> Calls {
        let mut calls = Calls::new();
        for (change, flushed) in self.pending.drain(..count) {
            // It fitted the live content in this same order.
            drop(self.durable.apply(&change));
            calls.extend(flushed);
        }
        calls
    }

    pub fn take_calls(&mut self) -> Calls {
        self.pending.drain(..).filter_map(|(_, flushed)| flushed).collect()
    }

    pub fn crash(&mut self, random: &mut SplitMix) -> Calls {
        let kept = random.up_to(self.pending.len());
        let lost = self.pending.len() - kept;
        let mut calls = self.sync_first(kept);
        if lost > 0 && random.up_to(1) == 1 {
            self.cut = Some("an unfinished write at the end of the log".to_owned());
        }
        self.live = self.durable.clone();
        calls.extend(self.take_calls());
        calls
    }

    pub fn lose_end(&mut self, records: usize, torn: bool) -> Calls {
        let mut calls = self.sync();
        self.durable.lose_end(records);
        self.live = self.durable.clone();
        if torn {
            self.cut = Some("a record at the end of the log that cannot be read".to_owned());
        }
        calls.extend(self.take_calls());
        calls
    }

    pub fn rot(&mut self, random: &mut SplitMix) -> bool {
        let at = random.up_to(self.durable.records.len().saturating_sub(1));
        let Some((index, record)) = self.durable.records.iter_mut().nth(at) else { return false };
        let mut payload = record.payload.to_vec();
        flip(&mut payload, random);
        record.payload = payload.into();
        if let Some(live) = self.live.records.get_mut(index).filter(|live| live.position == record.position) {
            live.payload = record.payload.clone();
        }
        true
    }

    pub fn state(&self) -> LogState {
        self.live.state
    }

    pub fn rot_vote(&mut self) {
        self.vote_rotten = true;
    }

    pub fn copy(&self) -> Content {
        self.durable.clone()
    }

    pub fn put_back(&mut self, copy: Content) -> Calls {
        let calls = self.take_calls();
        self.live = copy.clone();
        self.durable = copy;
        self.cut = None;
        self.vote_rotten = false;
        calls
    }

    fn write(&mut self, change: Change, flushed: Option<Flushed>) -> Result<(), StorageError> {
        self.live.apply(&change)?;
        self.pending.push((change, flushed));
        Ok(())
    }

    /// All records or none; `flushed` waits for the last one.
    fn append(&mut self, records: Vec<LogRecord>, flushed: Flushed) -> Result<(), StorageError> {
        check_follows(self.live.state.last, &records)?;
        let mut flushed = Some(flushed);
        let last = records.len().saturating_sub(1);
        records.into_iter().enumerate().try_for_each(|(i, record)| {
            self.write(Change::Append(record), if i == last { flushed.take() } else { None })
        })
    }
}

/// A Raft log in memory.
#[derive(Debug)]
pub struct MemRaftLog {
    handle: Handle,
    cut: Option<String>,
}

impl MemRaftLog {
    pub(crate) fn new(handle: Handle, cut: Option<String>) -> Self {
        Self { handle, cut }
    }

    /// One change that is durable at return, and everything before it.
    fn write_durably(&self, change: Change) -> Result<(), StorageError> {
        self.handle.write(|disk| {
            disk.write_allowed()?;
            disk.log.write(change, None)?;
            Ok(((), disk.log.sync()))
        })
    }

    fn write(&self, run: impl FnOnce(&mut Inner) -> Result<(), StorageError>) -> Result<(), StorageError> {
        self.handle.write(|disk| {
            disk.write_allowed()?;
            run(disk)?;
            let calls = if disk.options.unsynced_until_pump { Calls::new() } else { disk.log.sync() };
            Ok(((), calls))
        })
    }
}

impl RaftLog for MemRaftLog {
    fn state(&self) -> Result<LogState, StorageError> {
        self.handle.read(|disk| {
            if disk.log.vote_rotten {
                return Err(StorageError::corrupt("vote", "checksum does not match"));
            }
            Ok(disk.log.live.state)
        })
    }

    fn save_vote(&self, vote: SavedVote) -> Result<(), StorageError> {
        self.write_durably(Change::Vote(vote))
    }

    fn append(&self, records: Vec<LogRecord>, flushed: Flushed) -> Result<(), StorageError> {
        if records.iter().any(|r| r.payload.len() > LOG_RECORD_BYTES_MAX + SEALED_BYTES) {
            return Err(StorageError::TooLarge { what: "log record", max: LOG_RECORD_BYTES_MAX });
        }
        if records.is_empty() {
            return self.handle.write(|_| Ok(((), vec![flushed])));
        }
        self.write(|disk| disk.log.append(records, flushed))
    }

    fn save_committed(&self, committed: LogPosition) -> Result<(), StorageError> {
        self.write(|disk| disk.log.write(Change::Committed(committed), None))
    }

    fn read(&self, from: u64, to: u64) -> Result<Vec<LogRecord>, StorageError> {
        let range = from..to.max(from);
        self.handle.read(|disk| Ok(disk.log.live.records.range(range).map(|(_, r)| r.clone()).collect()))
    }

    fn truncate_after(&self, last: Option<LogPosition>) -> Result<(), StorageError> {
        self.write_durably(Change::TruncateAfter(last))
    }

    fn purge(&self, upto: LogPosition) -> Result<(), StorageError> {
        self.write(|disk| disk.log.write(Change::Purge(upto), None))
    }

    fn cut_at_open(&self) -> Option<String> {
        self.cut.clone()
    }
}
