//! The Raft log's and vote's interface. Knows positions and bytes, nothing of Raft's rules.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::error::{StorageError, untold};

/// Where a log entry stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct LogPosition {
    pub term: u64,
    /// The leader that wrote it.
    pub node: u64,
    pub index: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogRecord {
    pub position: LogPosition,
    pub payload: Bytes,
}

/// A vote as Raft saves it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SavedVote {
    pub term: u64,
    pub node: u64,
    pub committed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogState {
    pub vote: Option<SavedVote>,
    pub last: Option<LogPosition>,
    pub purged: Option<LogPosition>,
    /// Last index known committed; a hint, may lag.
    pub committed: Option<LogPosition>,
}

/// Called once, when the bytes are on disk or have failed to get there; never where the call it was given to returned
/// an error. Runs on the writer's thread: it must be quick and not wait for another write.
pub type Flushed = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// What does not fit (an entry that does not follow the last one, a truncation into committed or purged entries) is
/// `Refused` and changes nothing. An empty log takes any first entry.
pub trait RaftLog: Send + Sync + 'static {
    fn state(&self) -> Result<LogState, StorageError>;
    /// Durable at return.
    fn save_vote(&self, vote: SavedVote) -> Result<(), StorageError>;
    /// Readable at return; `flushed` is called, from any thread, when durable.
    fn append(&self, records: Vec<LogRecord>, flushed: Flushed) -> Result<(), StorageError>;
    /// A hint; need not be durable. Ignored where it is older than the last one or past the end of the log.
    fn save_committed(&self, committed: LogPosition) -> Result<(), StorageError>;
    /// Records with `from <= index < to` as far as they are there, without gaps.
    fn read(&self, from: u64, to: u64) -> Result<Vec<LogRecord>, StorageError>;
    /// Drops all after `last` (`None`: all). Durable at return.
    fn truncate_after(&self, last: Option<LogPosition>) -> Result<(), StorageError>;
    /// Drops all up to and including `upto`, which may lie past the end of the log: the next entry then follows it.
    /// Durable with the next write that is.
    fn purge(&self, upto: LogPosition) -> Result<(), StorageError>;
    /// Reads the first file that begins after `after` (`None`: the very first) from the disk, past every cache, and checks
    /// each record of it: where it begins, and its bytes. `None`: there is none, or the log is not kept in files.
    /// Errors: `Corrupt`.
    fn scrub(&self, _after: Option<u64>) -> Result<Option<(u64, u64)>, StorageError> {
        Ok(None)
    }
    /// Gives `each` every payload in the first file that begins after `after` (`None`: the very first), as it lies on the
    /// disk, purged or not; returns where the file begins. What is appended meanwhile may be missing.
    fn payloads(&self, after: Option<u64>, each: &mut dyn FnMut(&[u8])) -> Result<Option<u64>, StorageError> {
        let _ = (after, each);
        Err(untold("log"))
    }
    /// The same, as the data keys that the payloads name.
    fn sealed_under(&self, after: Option<u64>) -> Result<Option<(u64, BTreeSet<u32>)>, StorageError> {
        let _ = after;
        Err(untold("log"))
    }
    /// What opening the log cut from its torn end, in words, if anything.
    fn cut_at_open(&self) -> Option<String>;
}
