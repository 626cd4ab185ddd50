//! A disk in memory for simulations: it keeps what was synced, fails when told to, and survives its node.
//!
//! No threads, no clocks, no randomness of its own: the same calls and seeds give the same outcome. A test holds the
//! [`MemDisk`]; a node gets [`MemDisk::engine`], [`MemDisk::log`], [`MemDisk::journal`] and [`MemDisk::segments`], and gets them anew after
//! [`MemDisk::crash`].

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use only1mcp_domain::ids::Digest;

use crate::error::StorageError;
use crate::flushed::{call, lock};
use crate::mem_engine::{EngineDisk, MemEngine};
use crate::mem_journal::{JournalCopy, JournalDisk, MemJournal};
use crate::mem_log::{LogDisk, MemRaftLog};
use crate::mem_log_content::Content;
use crate::mem_segments::{MemSegments, SegmentDisk};
use crate::raft_log::{Flushed, LogState};

#[derive(Clone, Copy, Debug, Default)]
pub struct MemOptions {
    /// Appends to log and journal become durable, and call back, only at [`MemDisk::pump`] or with a later write
    /// that is durable at return. Otherwise at once.
    pub unsynced_until_pump: bool,
}

/// How a disk fails. Every write fails from then on until [`MemDisk::heal`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// EIO; reads fail too.
    Io,
    /// No space left.
    Full,
}

/// A disk and what is on it. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct MemDisk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub engine: EngineDisk,
    pub log: LogDisk,
    pub journal: JournalDisk,
    pub segments: SegmentDisk,
    pub options: MemOptions,
    fault: Option<(u64, Fault)>,
    /// Handles of an earlier one are dead.
    generation: u64,
}

/// What was synced on a disk at some moment.
#[derive(Clone, Debug)]
pub struct MemCopy {
    engine: EngineDisk,
    log: Content,
    journal: JournalCopy,
    segments: BTreeMap<Digest, Vec<u8>>,
}

/// Callbacks to make once the disk is unlocked.
pub(crate) type Calls = Vec<Flushed>;

impl MemDisk {
    pub fn new(options: MemOptions) -> Self {
        let inner = Inner {
            engine: EngineDisk::default(),
            log: LogDisk::default(),
            journal: JournalDisk::default(),
            segments: SegmentDisk::default(),
            options,
            fault: None,
            generation: 0,
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    pub fn engine(&self) -> MemEngine {
        MemEngine::new(self.handle())
    }

    pub fn log(&self) -> MemRaftLog {
        let cut = lock(&self.inner).ok().and_then(|mut inner| inner.log.cut.take());
        MemRaftLog::new(self.handle(), cut)
    }

    /// What the log holds, without opening it: what a crash tore is told to whoever opens it next.
    pub fn log_state(&self) -> Option<LogState> {
        lock(&self.inner).ok().map(|inner| inner.log.state())
    }

    pub fn journal(&self) -> MemJournal {
        let cut = lock(&self.inner).ok().and_then(|mut inner| inner.journal.cut.take());
        MemJournal::new(self.handle(), cut)
    }

    pub fn segments(&self) -> MemSegments {
        MemSegments::new(self.handle())
    }

    /// Rot: one bit of a whole segment is another, at `byte` counted around its length. Nothing notices by itself.
    pub fn rot_segment(&self, address: &Digest, byte: usize) {
        let Ok(mut inner) = lock(&self.inner) else { return };
        if let Some(bytes) = inner.segments.whole.get_mut(address) {
            let at = byte.checked_rem(bytes.len()).unwrap_or(0);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1;
            }
        }
    }

    /// Rot: one bit of one synced row is another; `seed` decides which. Nothing notices by itself. False: there is none.
    pub fn rot_row(&self, seed: u64) -> bool {
        lock(&self.inner).is_ok_and(|mut inner| inner.engine.rot(&mut SplitMix(seed)))
    }

    /// Rot: one bit of one synced record of the Raft log is another; `seed` decides which. Who reads it has to notice. False:
    /// there is none.
    pub fn rot_log(&self, seed: u64) -> bool {
        lock(&self.inner).is_ok_and(|mut inner| inner.log.rot(&mut SplitMix(seed)))
    }

    /// Rot: the vote cannot be read any more, which opening the log notices, as a log on files does.
    pub fn rot_vote(&self) {
        if let Ok(mut inner) = lock(&self.inner) {
            inner.log.rot_vote();
        }
    }

    /// As [`MemDisk::rot_log`], of the journal.
    pub fn rot_journal(&self, seed: u64) -> bool {
        lock(&self.inner).is_ok_and(|mut inner| inner.journal.rot(&mut SplitMix(seed)))
    }

    /// As [`MemDisk::rot_segment`], where `seed` decides which segment and which byte. Which it was; `None`: there is none.
    pub fn rot_some_segment(&self, seed: u64) -> Option<Digest> {
        lock(&self.inner).ok().and_then(|mut inner| inner.segments.rot(&mut SplitMix(seed)))
    }

    /// A whole segment's bytes as they lie on the disk.
    pub fn segment_bytes(&self, address: &Digest) -> Option<Vec<u8>> {
        lock(&self.inner).ok().and_then(|inner| inner.segments.whole.get(address).cloned())
    }

    /// The machine loses power: of what was not synced a beginning survives, whose length `seed` decides, separately
    /// for rows, log and journal. Handles given out before answer `Closed`; their waiting callbacks are never made.
    pub fn crash(&self, seed: u64) {
        let Ok(mut inner) = lock(&self.inner) else { return };
        inner.generation += 1;
        let mut random = SplitMix(seed);
        inner.engine.crash(&mut random);
        let dropped = (inner.log.crash(&mut random), inner.journal.crash(&mut random));
        inner.segments.crash(&mut random);
        drop(inner);
        // Outside the lock: what a callback holds may use the disk when it goes.
        drop(dropped);
    }

    /// The disk lied: the last `records` of the Raft log, synced or not, are gone. `torn`: in a way that opening the log
    /// notices. Handles given out before answer `Closed`.
    pub fn lose_log_end(&self, records: usize, torn: bool) {
        let Ok(mut inner) = lock(&self.inner) else { return };
        inner.generation += 1;
        let dropped = inner.log.lose_end(records, torn);
        drop(inner);
        drop(dropped);
    }

    /// A copy of what is synced, as somebody would take it of a whole folder.
    pub fn copy(&self) -> Option<MemCopy> {
        lock(&self.inner).ok().map(|inner| MemCopy {
            engine: inner.engine.copy(),
            log: inner.log.copy(),
            journal: inner.journal.copy(),
            segments: inner.segments.whole.clone(),
        })
    }

    /// An older copy of the whole folder is put back. Handles given out before answer `Closed`.
    pub fn put_back(&self, copy: MemCopy) {
        let Ok(mut inner) = lock(&self.inner) else { return };
        inner.generation += 1;
        inner.engine = copy.engine;
        inner.segments = SegmentDisk { whole: copy.segments, parts: BTreeMap::new() };
        let dropped = (inner.log.put_back(copy.log), inner.journal.put_back(copy.journal));
        drop(inner);
        drop(dropped);
    }

    /// Of an older copy only the journal is put back. Handles given out before answer `Closed`.
    pub fn put_journal_back(&self, copy: MemCopy) {
        let Ok(mut inner) = lock(&self.inner) else { return };
        inner.generation += 1;
        let dropped = inner.journal.put_back(copy.journal);
        drop(inner);
        drop(dropped);
    }

    /// The disk works for `operations` more writes and syncs, then fails.
    pub fn fail_after(&self, operations: u64, fault: Fault) {
        if let Ok(mut inner) = lock(&self.inner) {
            inner.fault = Some((operations, fault));
        }
    }

    /// The disk works again. Handles that saw a failure stay closed: open new ones.
    pub fn heal(&self) {
        if let Ok(mut inner) = lock(&self.inner) {
            inner.fault = None;
        }
    }

    /// Syncs the appends that wait, oldest first, and calls back; for [`MemOptions::unsynced_until_pump`].
    pub fn pump(&self) {
        let Ok(mut inner) = lock(&self.inner) else { return };
        if inner.log.is_synced() && inner.journal.is_synced() {
            return;
        }
        let result = inner.write_allowed();
        let calls = match &result {
            Ok(()) => [inner.log.sync(), inner.journal.sync()],
            Err(_) => [inner.log.take_calls(), inner.journal.take_calls()],
        };
        drop(inner);
        calls.into_iter().flatten().for_each(|flushed| call(flushed, result.clone()));
    }

    fn handle(&self) -> Handle {
        let generation = lock(&self.inner).map_or(0, |inner| inner.generation);
        Handle { disk: self.clone(), generation, closed: Mutex::new(false) }
    }
}

impl Inner {
    /// Counts one operation that writes.
    pub fn write_allowed(&mut self) -> Result<(), StorageError> {
        match &mut self.fault {
            None => Ok(()),
            Some((0, fault)) => Err(fault.error()),
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn read_allowed(&self) -> Result<(), StorageError> {
        match self.fault {
            Some((0, Fault::Io)) => Err(Fault::Io.error()),
            _ => Ok(()),
        }
    }
}

impl Fault {
    fn error(self) -> StorageError {
        let source = match self {
            Fault::Io => io::Error::other("injected I/O error"),
            Fault::Full => io::ErrorKind::StorageFull.into(),
        };
        StorageError::io("write", "memory", source)
    }
}

/// One opened store on the disk; closes itself at the first failure, like the ones on files.
#[derive(Debug)]
pub(crate) struct Handle {
    disk: MemDisk,
    generation: u64,
    closed: Mutex<bool>,
}

impl Handle {
    pub fn read<T>(&self, run: impl FnOnce(&Inner) -> Result<T, StorageError>) -> Result<T, StorageError> {
        self.run(|inner| {
            inner.read_allowed()?;
            run(inner)
        })
    }

    /// Runs a write, then makes the callbacks it hands out.
    pub fn write<T>(
        &self,
        run: impl FnOnce(&mut Inner) -> Result<(T, Calls), StorageError>,
    ) -> Result<T, StorageError> {
        let (value, calls) = self.run(run)?;
        calls.into_iter().for_each(|flushed| call(flushed, Ok(())));
        Ok(value)
    }

    fn run<T>(&self, run: impl FnOnce(&mut Inner) -> Result<T, StorageError>) -> Result<T, StorageError> {
        let mut closed = lock(&self.closed)?;
        let mut inner = lock(&self.disk.inner)?;
        if *closed || inner.generation != self.generation {
            return Err(StorageError::Closed);
        }
        let result = run(&mut inner);
        *closed = result.as_ref().is_err_and(StorageError::closes);
        result
    }
}

/// One bit of `bytes` is another.
pub(crate) fn flip(bytes: &mut [u8], random: &mut SplitMix) {
    let at = random.up_to(bytes.len().saturating_sub(1));
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.up_to(7);
    }
}

/// Small, seeded, the same everywhere.
#[derive(Debug)]
pub(crate) struct SplitMix(u64);

impl SplitMix {
    /// Any of `0..=max`.
    pub fn up_to(&mut self, max: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let choices = (max as u64).saturating_add(1);
        usize::try_from(z % choices).unwrap_or(0)
    }
}
