//! [`RaftLog`] over raft-log, with a group flush of our own.
//!
//! raft-log's worker waits a fixed time for company before each sync (1 ms by default); with that wait at zero, as
//! here, it syncs each request alone. So requests gather on this side: one thread hands over everything appended so
//! far, waits for its `fdatasync`, and calls back all whose records it covered. While it waits the next group gathers.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use only1mcp_domain::limits::{LOG_CACHE_BYTES_MAX, LOG_CHUNK_BYTES, LOG_RECORD_BYTES_MAX};
use raft_log::api::raft_log_writer::RaftLogWriter as _;

use crate::error::StorageError;
use crate::files::Sealed;
use crate::flushed::{call, lock};
use crate::mem_log_content::check_follows;
use crate::raft_log::{Flushed, LogPosition, LogRecord, LogState, RaftLog, SavedVote};
use crate::raft_log_codec::{GroupMark, LogTypes, Payload, Position, Vote};
use crate::raft_log_scan::{payload_of, scan_and_cut, scrub_file};
use crate::seal::SEALED_BYTES;

type Log = raft_log::RaftLog<LogTypes>;

/// Written when the first file is durable: from then on an empty folder is damage, not a new node.
const FORMAT: Sealed = Sealed { kind: "raft-log", version: 1 };
const READ_BUFFER_BYTES: usize = 1 << 20;

/// Sizes of the log's files and caches.
#[derive(Clone, Copy, Debug)]
pub struct RaftLogOptions {
    pub chunk_bytes: usize,
    pub cache_bytes_max: usize,
}

impl Default for RaftLogOptions {
    fn default() -> Self {
        Self { chunk_bytes: LOG_CHUNK_BYTES, cache_bytes_max: LOG_CACHE_BYTES_MAX }
    }
}

pub struct FileRaftLog {
    shared: Arc<Shared>,
    flusher: Option<JoinHandle<()>>,
    cut: Option<String>,
}

struct Shared {
    folder: PathBuf,
    log: Mutex<Log>,
    waiting: Mutex<Waiting>,
    wake: Condvar,
    closed: AtomicBool,
    /// Where the group began that is not synced yet. The flusher's alone.
    group: AtomicU64,
    /// Something was appended that nobody waits for, and not flushed yet.
    unwaited: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    /// Their records were appended before they came in here.
    flushed: Vec<Flushed>,
    stop: bool,
}

impl FileRaftLog {
    /// Opens the log in `folder`, or begins one. A torn tail is cut and told by [`RaftLog::cut_at_open`].
    /// Errors: `Corrupt` on any other damage: this voter is lost.
    pub fn open(folder: impl AsRef<Path>, options: RaftLogOptions) -> Result<Self, StorageError> {
        let format = folder.as_ref().join("format");
        let folder = folder.as_ref().join("wal");
        std::fs::create_dir_all(&folder).map_err(|e| StorageError::io("create folder", &folder, e))?;
        let begun = FORMAT.read(&format)?.is_some();
        let scanned = scan_and_cut(&folder, begun)?;
        if begun && scanned.records == 0 {
            return Err(StorageError::corrupt(&folder, "no log where one was begun"));
        }
        if !begun && (scanned.files > 1 || scanned.records > 1) {
            return Err(StorageError::corrupt(&format, "missing, but there is a log"));
        }
        let log = open_log(&folder, options)?;
        let shared = Arc::new(Shared {
            folder,
            log: Mutex::new(log),
            waiting: Mutex::default(),
            wake: Condvar::new(),
            closed: AtomicBool::new(false),
            group: AtomicU64::new(scanned.end),
            unwaited: AtomicBool::new(false),
        });
        let flusher = std::thread::Builder::new()
            .name("raft-log-flush".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.flush_until_stopped()
            })
            .map_err(|e| StorageError::io("start thread for", &shared.folder, e))?;
        let opened = Self { shared, flusher: Some(flusher), cut: if begun { scanned.cut } else { None } };
        if !scanned.marked {
            opened.shared.write_durably(|_| Ok(()))?;
        }
        if !begun {
            FORMAT.write(&format, b"")?;
        }
        Ok(opened)
    }
}

fn open_log(folder: &Path, options: RaftLogOptions) -> Result<Log, StorageError> {
    let Some(dir) = folder.to_str() else {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path is not UTF-8");
        return Err(StorageError::io("open", folder, source));
    };
    let mut config = raft_log::Config::new(dir);
    config.wal.truncate_incomplete_record = Some(false);
    config.wal.flush_batch_wait = Some(Duration::ZERO);
    config.wal.read_buffer_size = Some(READ_BUFFER_BYTES);
    config.wal.chunk_max_size = Some(options.chunk_bytes);
    config.log_cache_capacity = Some(options.cache_bytes_max);
    Log::open(Arc::new(config)).map_err(|e| failed("open", folder, e))
}

/// What raft-log's error means: it reports damage as `InvalidData` or `UnexpectedEof`.
fn failed(operation: &'static str, folder: &Path, e: std::io::Error) -> StorageError {
    match e.kind() {
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
            StorageError::corrupt(folder, format!("{operation}: {e}"))
        }
        std::io::ErrorKind::InvalidInput => StorageError::Refused { operation, detail: e.to_string() },
        _ => StorageError::io(operation, folder, e),
    }
}

impl Shared {
    fn open(&self) -> Result<MutexGuard<'_, Log>, StorageError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StorageError::Closed);
        }
        lock(&self.log)
    }

    /// Passes `result` on; a failure closes the log.
    fn seen<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if result.as_ref().is_err_and(StorageError::closes) {
            self.closed.store(true, Ordering::Release);
        }
        result
    }

    /// Changes the log, then has `flushed` called when the change is on disk.
    fn write(
        &self,
        change: impl FnOnce(&mut Log) -> Result<(), StorageError>,
        flushed: Flushed,
    ) -> Result<(), StorageError> {
        let mut log = self.open()?;
        self.seen(change(&mut log))?;
        // Still under the log's lock: who waits is queued in the order of the records.
        lock(&self.waiting)?.flushed.push(flushed);
        self.wake.notify_one();
        Ok(())
    }

    fn write_durably(
        &self,
        change: impl FnOnce(&mut Log) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let (done, wait) = sync_channel(1);
        self.write(change, Box::new(move |result| drop(done.send(result))))?;
        wait.recv().map_err(|_| StorageError::Closed)?
    }

    fn flush_until_stopped(&self) {
        loop {
            let Ok(mut waiting) = self.waiting.lock() else { return };
            while waiting.flushed.is_empty() && !waiting.stop {
                let Ok(woken) = self.wake.wait(waiting) else { return };
                waiting = woken;
            }
            if waiting.flushed.is_empty() {
                drop(waiting);
                // So that a mark ends every log that was closed.
                if self.unwaited.load(Ordering::Acquire) {
                    drop(self.flush());
                }
                return;
            }
            let group = std::mem::take(&mut waiting.flushed);
            drop(waiting);
            let result = self.seen(self.flush());
            for flushed in group {
                call(flushed, result.clone());
            }
        }
    }

    // INVARIANT: P6
    fn flush(&self) -> Result<(), StorageError> {
        let (done, wait) = sync_channel(1);
        let mut log = self.open()?;
        // INVARIANT: P6: raft-log's one worker writes what comes later after it has synced this. So whatever stands behind a
        // mark says that the mark's group is on disk, and what is damaged in it did not get so by a crash.
        let mark = GroupMark(self.group.load(Ordering::Acquire));
        let marked = log.save_user_data(Some(mark)).map_err(|e| failed("mark", &self.folder, e))?;
        log.flush(true, Some(done)).map_err(|e| failed("flush", &self.folder, e))?;
        self.unwaited.store(false, Ordering::Release);
        drop(log);
        // The worker drops the sender when it stops at an error of its own.
        let result = wait.recv().map_err(|_| StorageError::Closed)?;
        result.map_err(|e| StorageError::io("fdatasync", &self.folder, e))?;
        self.group.store(marked.offset.saturating_add(marked.size), Ordering::Release);
        Ok(())
    }
}

impl RaftLog for FileRaftLog {
    fn state(&self) -> Result<LogState, StorageError> {
        let log = self.shared.open()?;
        let state = log.log_state();
        Ok(LogState {
            vote: state.vote().map(|v| v.0),
            last: state.last().map(|p| p.0),
            purged: state.purged().map(|p| p.0),
            committed: state.committed().map(|p| p.0),
        })
    }

    fn save_vote(&self, vote: SavedVote) -> Result<(), StorageError> {
        let folder = &self.shared.folder;
        self.shared.write_durably(|log| {
            log.save_vote(Vote(vote)).map(drop).map_err(|e| failed("save vote", folder, e))
        })
    }

    fn append(&self, records: Vec<LogRecord>, flushed: Flushed) -> Result<(), StorageError> {
        if records.iter().any(|r| r.payload.len() > LOG_RECORD_BYTES_MAX + SEALED_BYTES) {
            return Err(StorageError::TooLarge { what: "log record", max: LOG_RECORD_BYTES_MAX });
        }
        let folder = &self.shared.folder;
        let change = |log: &mut Log| {
            // As a whole: raft-log would write the records before a bad one.
            check_follows(log.log_state().last().map(|p| p.0), &records)?;
            let entries = records.into_iter().map(|r| (Position(r.position), Payload(r.payload)));
            log.append(entries).map(drop).map_err(|e| failed("append", folder, e))
        };
        self.shared.write(change, flushed)
    }

    fn save_committed(&self, committed: LogPosition) -> Result<(), StorageError> {
        let mut log = self.shared.open()?;
        let state = log.log_state();
        // A hint: where it does not fit (older than the last one, past the end) it tells nothing.
        let at = Some(Position(committed));
        if at.as_ref() <= state.committed() || at.as_ref() > state.last() {
            return Ok(());
        }
        let result = log.commit(Position(committed)).map(drop);
        self.shared.unwaited.store(true, Ordering::Release);
        self.shared.seen(result.map_err(|e| failed("save committed", &self.shared.folder, e)))
    }

    fn read(&self, from: u64, to: u64) -> Result<Vec<LogRecord>, StorageError> {
        let log = self.shared.open()?;
        let mut out: Vec<LogRecord> = Vec::new();
        if from >= to {
            return Ok(out);
        }
        for entry in log.read(from, to) {
            let (position, payload) =
                self.shared.seen(entry.map_err(|e| failed("read", &self.shared.folder, e)))?;
            if out.last().is_some_and(|l| l.position.index.saturating_add(1) != position.0.index) {
                let detail = format!("the entry before {} is missing", position.0.index);
                return self.shared.seen(Err(StorageError::corrupt(&self.shared.folder, detail)));
            }
            out.push(LogRecord { position: position.0, payload: payload.0 });
        }
        Ok(out)
    }

    fn truncate_after(&self, last: Option<LogPosition>) -> Result<(), StorageError> {
        let folder = &self.shared.folder;
        self.shared.write_durably(|log| {
            let state = log.log_state();
            let purged = state.purged().map(|p| p.0);
            if last >= state.last().map(|p| p.0) {
                return Ok(());
            }
            let keep = last.max(purged);
            let next = keep.map_or(0, |k| k.index.saturating_add(1));
            if let Some(keep) = keep.filter(|k| Some(*k) != purged) {
                check_holds(log, keep)?;
            }
            log.truncate(next).map(drop).map_err(|e| failed("truncate", folder, e))
        })
    }

    fn purge(&self, upto: LogPosition) -> Result<(), StorageError> {
        let folder = &self.shared.folder;
        let change = |log: &mut Log| {
            let last = log.log_state().last().map(|p| p.0);
            if log.log_state().purged().is_some_and(|p| p.0.index >= upto.index) {
                return Ok(());
            }
            if last.is_some_and(|l| l.index >= upto.index || l >= upto) {
                check_holds(log, upto)?;
            }
            log.purge(Position(upto)).map(drop).map_err(|e| failed("purge", folder, e))
        };
        // Files go with the flush that makes the purge durable; nobody waits for it.
        self.shared.write(change, Box::new(|_| ()))
    }

    fn scrub(&self, after: Option<u64>) -> Result<Option<(u64, u64)>, StorageError> {
        self.shared.seen(scrub_file(&self.shared.folder, after, |_| ()))
    }

    fn payloads(&self, after: Option<u64>, each: &mut dyn FnMut(&[u8])) -> Result<Option<u64>, StorageError> {
        let found = scrub_file(&self.shared.folder, after, |record| {
            if let Some(payload) = payload_of(record) {
                each(payload);
            }
        })?;
        Ok(found.map(|(start, _)| start))
    }

    fn cut_at_open(&self) -> Option<String> {
        self.cut.clone()
    }
}

fn check_holds(log: &Log, position: LogPosition) -> Result<(), StorageError> {
    let end = position.index.saturating_add(1);
    let found = log.read(position.index, end).next().transpose();
    let found = found.map_err(|e| failed("read", Path::new("the log"), e))?.map(|(p, _)| p.0);
    if found == Some(position) {
        return Ok(());
    }
    Err(StorageError::Refused {
        operation: "find",
        detail: format!("{position:?} is not stored, but {found:?}"),
    })
}

impl Drop for FileRaftLog {
    fn drop(&mut self) {
        if let Ok(mut waiting) = self.shared.waiting.lock() {
            waiting.stop = true;
        }
        self.shared.wake.notify_one();
        // The last handle may go in a callback, on the thread itself.
        if let Some(flusher) = self.flusher.take().filter(|f| f.thread().id() != std::thread::current().id())
        {
            drop(flusher.join());
        }
    }
}
