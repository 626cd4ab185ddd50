//! The journal's one writer: takes everything queued, writes it as one frame, syncs once, calls back.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;

use crate::error::StorageError;
use crate::files::sync_folder;
use crate::flushed::{call, lock};
use crate::journal_files::{Segment, create};
use crate::journal_format::{FILE_HEADER_BYTES, encode_frame};
use crate::raft_log::Flushed;

/// Bytes of one group; a larger single record is a group of its own.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// What callers and the writer share.
pub(crate) struct Shared {
    pub folder: PathBuf,
    pub queue: Mutex<Queue>,
    pub wake: Condvar,
    /// Oldest first; the last one is being written.
    pub segments: Mutex<Vec<Segment>>,
    pub closed: AtomicBool,
}

#[derive(Default)]
pub(crate) struct Queue {
    pub records: VecDeque<(Bytes, Flushed)>,
    pub bytes: usize,
    /// Position the next record gets.
    pub next: u64,
    /// Records up to here are not needed.
    pub discard: Option<u64>,
    pub stop: bool,
}

/// One group and what came with it.
struct Work {
    first: u64,
    records: Vec<Bytes>,
    flushed: Vec<Flushed>,
    discard: Option<u64>,
}

pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub file: File,
    pub segment_bytes: u64,
}

impl Writer {
    pub fn run(mut self) {
        while let Some(work) = self.shared.next_work() {
            let result = self.perform(&work.records, work.first, work.discard);
            if result.is_err() {
                self.shared.closed.store(true, Ordering::Release);
            }
            for flushed in work.flushed {
                call(flushed, result.clone());
            }
        }
    }

    fn perform(&mut self, records: &[Bytes], first: u64, discard: Option<u64>) -> Result<(), StorageError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(StorageError::Closed);
        }
        if !records.is_empty() {
            self.write(records, first)?;
        }
        discard.map_or(Ok(()), |upto| self.remove_upto(upto))
    }

    // INVARIANT: P6
    fn write(&mut self, records: &[Bytes], first: u64) -> Result<(), StorageError> {
        let too_large = StorageError::TooLarge { what: "journal group", max: GROUP_BYTES_MAX };
        let frame = encode_frame(first, records).ok_or(too_large)?;
        let active = self.active()?;
        let full = (active.len + frame.len()) as u64 > self.segment_bytes;
        let active =
            if full && active.len > FILE_HEADER_BYTES { self.begin_segment(active, first)? } else { active };
        self.file
            .write_all_at(&frame, active.len as u64)
            .and_then(|()| self.file.sync_data())
            .map_err(|e| StorageError::io("write", &active.path, e))?;
        let mut segments = lock(&self.shared.segments)?;
        let active = segments.last_mut().ok_or(StorageError::Closed)?;
        active.len += frame.len();
        active.end = first.saturating_add(records.len() as u64);
        Ok(())
    }

    fn active(&self) -> Result<Segment, StorageError> {
        lock(&self.shared.segments)?.last().cloned().ok_or(StorageError::Closed)
    }

    /// Everything in the old file is on disk by now: the next one is begun only after.
    fn begin_segment(&mut self, old: Segment, first: u64) -> Result<Segment, StorageError> {
        // Gives back what was reserved and not used; whether a crash undoes it does not matter.
        self.file.set_len(old.len as u64).map_err(|e| StorageError::io("truncate", &old.path, e))?;
        let (file, segment) = create(&self.shared.folder, first, self.segment_bytes)?;
        self.file = file;
        lock(&self.shared.segments)?.push(segment.clone());
        Ok(segment)
    }

    /// Removes files all of whose records have positions up to `upto`, oldest first, so that no gap can come about.
    fn remove_upto(&self, upto: u64) -> Result<(), StorageError> {
        let mut segments = lock(&self.shared.segments)?;
        let spare = segments.len().saturating_sub(1);
        let unneeded = segments.iter().take(spare).take_while(|s| s.end <= upto.saturating_add(1)).count();
        for segment in segments.drain(..unneeded) {
            std::fs::remove_file(&segment.path).map_err(|e| StorageError::io("remove", &segment.path, e))?;
            sync_folder(&self.shared.folder)?;
        }
        Ok(())
    }
}

impl Shared {
    /// Waits for the next group; `None` when asked to stop and nothing is left.
    fn next_work(&self) -> Option<Work> {
        let mut queue = self.queue.lock().ok()?;
        while queue.records.is_empty() && queue.discard.is_none() && !queue.stop {
            queue = self.wake.wait(queue).ok()?;
        }
        if queue.records.is_empty() && queue.discard.is_none() {
            return None;
        }
        let first = queue.next.saturating_sub(queue.records.len() as u64);
        let mut work =
            Work { first, records: Vec::new(), flushed: Vec::new(), discard: queue.discard.take() };
        let mut bytes = 0;
        while let Some((record, _)) = queue.records.front() {
            bytes += record.len();
            if bytes > GROUP_BYTES_MAX && !work.records.is_empty() {
                break;
            }
            let Some((record, flushed)) = queue.records.pop_front() else { break };
            queue.bytes = queue.bytes.saturating_sub(record.len());
            work.records.push(record);
            work.flushed.push(flushed);
        }
        Some(work)
    }
}
