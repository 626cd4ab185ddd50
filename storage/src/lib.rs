//! Bytes on disk: rows (sled), the Raft log and vote (raft-log), the node's journal, and in-memory versions of all
//! three that keep only what was synced, for simulations.
//!
//! It never decides anything and knows none of Raft's rules. Start at the three interfaces: `engine.rs`,
//! `raft_log.rs`, `journal.rs`.

pub mod engine;
pub mod error;
pub mod journal;
pub mod raft_log;

pub use engine::{Engine, Rows};
pub use error::StorageError;
pub use journal::{Journal, JournalPosition};
pub use raft_log::{Flushed, LogPosition, LogRecord, LogState, RaftLog, SavedVote};
