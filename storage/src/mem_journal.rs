//! [`Journal`] on a [`MemDisk`](crate::MemDisk).

use std::collections::VecDeque;

use bytes::Bytes;
use only1mcp_domain::limits::{JOURNAL_QUEUE_BYTES_MAX, JOURNAL_QUEUE_RECORDS_MAX, JOURNAL_RECORD_BYTES_MAX};

use crate::error::StorageError;
use crate::journal::{Journal, JournalPosition};
use crate::memory::{Calls, Handle, SplitMix, flip};
use crate::raft_log::Flushed;
use crate::seal::SEALED_BYTES;

/// Records per group that is discarded as one: like files, so that readers see some records again.
const GROUP_RECORDS: u64 = 16;

#[derive(Default)]
pub(crate) struct JournalDisk {
    /// Synced, oldest first.
    durable: VecDeque<(u64, Bytes)>,
    /// Position of the last record that was ever synced.
    last: u64,
    /// Written and not synced, in order.
    pending: Vec<(Bytes, Flushed)>,
    pending_bytes: usize,
    /// What the last crash tore.
    pub cut: Option<String>,
}

impl std::fmt::Debug for JournalDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalDisk").field("last", &self.last).field("pending", &self.pending.len()).finish()
    }
}

impl JournalDisk {
    pub fn is_synced(&self) -> bool {
        self.pending.is_empty()
    }

    /// Makes everything durable and gives back who waited for it.
    pub fn sync(&mut self) -> Calls {
        self.pending_bytes = 0;
        let pending = std::mem::take(&mut self.pending);
        pending.into_iter().map(|(record, flushed)| (self.store(record), flushed).1).collect()
    }

    pub fn take_calls(&mut self) -> Calls {
        self.pending_bytes = 0;
        self.pending.drain(..).map(|(_, flushed)| flushed).collect()
    }

    pub fn crash(&mut self, random: &mut SplitMix) -> Calls {
        let kept = random.up_to(self.pending.len());
        let lost = self.pending.split_off(kept);
        if !lost.is_empty() && random.up_to(1) == 1 {
            self.cut = Some("an unfinished write at the end of the journal".to_owned());
        }
        let mut calls = self.sync();
        calls.extend(lost.into_iter().map(|(_, flushed)| flushed));
        calls
    }

    pub fn rot(&mut self, random: &mut SplitMix) -> bool {
        let at = random.up_to(self.durable.len().saturating_sub(1));
        let Some((_, record)) = self.durable.get_mut(at) else { return false };
        let mut bytes = record.to_vec();
        flip(&mut bytes, random);
        *record = bytes.into();
        true
    }

    fn store(&mut self, record: Bytes) {
        self.last += 1;
        self.durable.push_back((self.last, record));
    }

    fn append(&mut self, record: Bytes, flushed: Flushed) -> Result<JournalPosition, StorageError> {
        let bytes = self.pending_bytes + record.len();
        if bytes > JOURNAL_QUEUE_BYTES_MAX || self.pending.len() >= JOURNAL_QUEUE_RECORDS_MAX {
            return Err(StorageError::TooLarge { what: "journal queue", max: JOURNAL_QUEUE_BYTES_MAX });
        }
        self.pending_bytes = bytes;
        self.pending.push((record, flushed));
        Ok(JournalPosition(self.last + self.pending.len() as u64))
    }

    fn next(&self) -> JournalPosition {
        JournalPosition(self.last + self.pending.len() as u64 + 1)
    }

    fn discard(&mut self, upto: u64) {
        while let Some((first, _)) = self.durable.front() {
            let group_end = (first - 1) / GROUP_RECORDS * GROUP_RECORDS + GROUP_RECORDS;
            if group_end > upto.min(self.last) {
                return;
            }
            self.durable.pop_front();
        }
    }
}

/// What was synced in a journal at some moment.
#[derive(Clone, Debug)]
pub(crate) struct JournalCopy {
    durable: VecDeque<(u64, Bytes)>,
    last: u64,
}

impl JournalDisk {
    pub fn copy(&self) -> JournalCopy {
        JournalCopy { durable: self.durable.clone(), last: self.last }
    }

    pub fn put_back(&mut self, copy: JournalCopy) -> Calls {
        let calls = self.take_calls();
        self.durable = copy.durable;
        self.last = copy.last;
        self.cut = None;
        calls
    }
}

/// A journal in memory.
#[derive(Debug)]
pub struct MemJournal {
    handle: Handle,
    cut: Option<String>,
}

impl MemJournal {
    pub(crate) fn new(handle: Handle, cut: Option<String>) -> Self {
        Self { handle, cut }
    }
}

impl Journal for MemJournal {
    fn append(&self, record: Bytes, flushed: Flushed) -> Result<JournalPosition, StorageError> {
        if record.len() > JOURNAL_RECORD_BYTES_MAX + SEALED_BYTES {
            return Err(StorageError::TooLarge { what: "journal record", max: JOURNAL_RECORD_BYTES_MAX });
        }
        self.handle.write(|disk| {
            disk.write_allowed()?;
            let position = disk.journal.append(record, flushed)?;
            let calls = if disk.options.unsynced_until_pump { Calls::new() } else { disk.journal.sync() };
            Ok((position, calls))
        })
    }

    fn next(&self) -> Result<JournalPosition, StorageError> {
        self.handle.read(|disk| Ok(disk.journal.next()))
    }

    fn read_after(&self, after: JournalPosition) -> Result<Vec<(JournalPosition, Bytes)>, StorageError> {
        self.handle.read(|disk| {
            let records = disk.journal.durable.iter().filter(|(position, _)| *position > after.0);
            Ok(records.map(|(position, record)| (JournalPosition(*position), record.clone())).collect())
        })
    }

    fn discard(&self, upto: JournalPosition) -> Result<(), StorageError> {
        self.handle.write(|disk| {
            disk.write_allowed()?;
            disk.journal.discard(upto.0);
            Ok(((), Vec::new()))
        })
    }

    fn cut_at_open(&self) -> Option<String> {
        self.cut.clone()
    }
}
