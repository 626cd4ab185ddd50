//! The node's journal: its one durable memory of what it has done and not yet seen applied.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::error::{StorageError, untold};
use crate::raft_log::Flushed;

/// Position of a record in the journal; grows for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct JournalPosition(pub u64);

/// An append-only file of checksummed records, written by one group commit for many callers.
pub trait Journal: Send + Sync + 'static {
    /// Appends in call order. `flushed` is called, from any thread, when the record is on disk (one fdatasync serves
    /// every record queued meanwhile). On an error return it is not called.
    /// Errors: `TooLarge` for one record past its bound, and, with `what` "journal queue", while the disk is behind:
    /// the caller is overloaded. Nothing changed then.
    fn append(&self, record: Bytes, flushed: Flushed) -> Result<JournalPosition, StorageError>;

    /// What the next record's position will be.
    fn next(&self) -> Result<JournalPosition, StorageError>;

    /// Every flushed record after `after`, oldest first (read once, at start). May hold records discarded before.
    fn read_after(&self, after: JournalPosition) -> Result<Vec<(JournalPosition, Bytes)>, StorageError>;

    /// Records up to `upto` are not needed any more; their space is reclaimed by whole files, in time.
    fn discard(&self, upto: JournalPosition) -> Result<(), StorageError>;

    /// The data keys that what lies in the journal's files names.
    fn sealed_under(&self) -> Result<BTreeSet<u32>, StorageError> {
        Err(untold("journal"))
    }

    /// What opening the journal cut from its torn end, in words, if anything.
    fn cut_at_open(&self) -> Option<String>;
}
