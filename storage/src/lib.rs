//! Bytes on disk: rows (sled), the Raft log and vote (raft-log), the node's journal, sealed segments of the audit trail,
//! the folder they live in, and in-memory versions of all four that keep only what was synced, for simulations.
//!
//! All of it can be encrypted at rest: `seal/`.
//!
//! It never decides anything and knows none of Raft's rules. Start at the interfaces: `engine.rs`, `raft_log.rs`,
//! `journal.rs`, `segments.rs`. Every implementation but the last one's closes itself at its first failure: after that each call
//! answers `StorageError::Closed`, and the node has to stop.

pub mod engine;
pub mod error;
pub mod files;
pub mod folder;
pub mod journal;
pub mod memory;
pub mod raft_log;
pub mod seal;
pub mod segments;

mod file_journal;
mod file_raft_log;
mod file_segments;
mod flushed;
mod journal_files;
mod journal_format;
mod journal_writer;
mod mem_engine;
mod mem_journal;
mod mem_log;
mod mem_log_content;
mod mem_segments;
mod raft_log_codec;
mod raft_log_scan;
mod segment;
mod segment_format;
mod sled_engine;
mod sled_rows;
mod sled_store;
mod torn;
mod write_behind;

pub use engine::{Engine, Resealed, Row, Rows, SealedUnder};
pub use error::StorageError;
pub use file_journal::{FileJournal, JournalOptions};
pub use file_raft_log::{FileRaftLog, RaftLogOptions};
pub use file_segments::FileSegments;
pub use files::free_bytes;
pub use folder::DataFolder;
pub use journal::{Journal, JournalPosition};
pub use mem_engine::MemEngine;
pub use mem_journal::MemJournal;
pub use mem_log::MemRaftLog;
pub use mem_segments::MemSegments;
pub use memory::{Fault, MemCopy, MemDisk, MemOptions};
pub use raft_log::{Flushed, LogPosition, LogRecord, LogState, RaftLog, SavedVote};
pub use seal::{
    Key32, RowGuard, SEALED_BYTES, STORED_ROW_BYTES_MAX, SealedEngine, SealedHead, SealedJournal, SealedLog,
    SealedSegments, Sealer, SealerKeys,
};
pub use segment::{
    SegmentCheck, SegmentDraft, SegmentPlan, SegmentWriter, read_segment, segment_is_here, segment_range,
};
pub use segment_format::SegmentName;
pub use segments::{SegmentCopy, Segments};
pub use sled_engine::SledEngine;
pub use write_behind::WriteBehind;
