//! Reads what lies on this node's disk again and again, slowly: damage is found while other members still have what was
//! lost, and not when it is needed.
//!
//! A damaged segment is fetched again. Damaged rows end the node, which makes them anew when it starts. A damaged log
//! ends it for good: its voter id is retired.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use only1mcp_domain::ids::{AuditIndex, Digest};
use only1mcp_storage::{RaftLog, Row, SegmentCheck, SegmentCopy, StorageError};
use tokio::time::{Duration, sleep};

use crate::handle::{Handle, WeakHandle};

/// Rows, and entries of the log, read at one time.
const STEP: usize = 128;
/// A segment is read in steps of about so much.
const SEGMENT_STEP_BYTES: u64 = 256 << 10;
/// Between two rounds: a disk with little on it is not read all the time.
const PAUSE: Duration = Duration::from_secs(60);

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scrubbed {
    /// Everything was read so often since the node started.
    pub rounds: u64,
    /// Bytes read since the node started.
    pub bytes: u64,
    /// Damaged things found since the node started.
    pub faults: u64,
    /// What is read now: `segments`, `rows`, `log`, or `idle`.
    pub part: &'static str,
}

/// Shared between the reader and those who ask.
#[derive(Debug)]
pub struct ScrubState {
    rounds: AtomicU64,
    bytes: AtomicU64,
    faults: AtomicU64,
    part: Mutex<&'static str>,
}

impl Default for ScrubState {
    fn default() -> Self {
        let (rounds, bytes, faults) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { rounds, bytes, faults, part: Mutex::new("idle") }
    }
}

impl ScrubState {
    pub fn now(&self) -> Scrubbed {
        Scrubbed {
            rounds: self.rounds.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            faults: self.faults.load(Ordering::Relaxed),
            part: *self.part.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn enter(&self, part: &'static str) {
        *self.part.lock().unwrap_or_else(PoisonError::into_inner) = part;
    }
}

/// Runs until Raft ends, or something is damaged that ends the node. `rate`: bytes a second; 0: never.
pub async fn run(weak: WeakHandle, log: Arc<dyn RaftLog>, rate: u64) {
    if rate == 0 {
        return;
    }
    let reader = Reader { weak, log, rate };
    loop {
        if reader.segments().await.is_none() || reader.rows().await.is_none() || reader.log().await.is_none()
        {
            return;
        }
        let Some(handle) = reader.handle() else { return };
        handle.scrub_state().rounds.fetch_add(1, Ordering::Relaxed);
        handle.scrub_state().enter("idle");
        drop(handle);
        sleep(PAUSE).await;
    }
}

struct Reader {
    weak: WeakHandle,
    log: Arc<dyn RaftLog>,
    rate: u64,
}

/// `None`: the node ends.
type Goes = Option<()>;

impl Reader {
    fn handle(&self) -> Option<Handle> {
        self.weak.upgrade().filter(|handle| handle.stopped_because().is_none())
    }

    /// As long as reading so much may take.
    async fn read(&self, bytes: u64) -> Goes {
        self.handle()?.scrub_state().bytes.fetch_add(bytes, Ordering::Relaxed);
        let ms = bytes.saturating_mul(1_000).div_ceil(self.rate);
        sleep(Duration::from_millis(ms.max(1))).await;
        Some(())
    }

    async fn segments(&self) -> Goes {
        self.handle()?.scrub_state().enter("segments");
        let mut next = AuditIndex(1);
        let mut before = Digest::default();
        loop {
            let handle = self.handle()?;
            let trail = handle.trail();
            let Some(name) = trail.name_at(next) else { return Some(()) };
            next = AuditIndex(name.last.0.saturating_add(1));
            let here = trail.here(name.first).is_some();
            drop((handle, trail));
            let mut check = SegmentCheck::of(name, before, SegmentCopy::Whole);
            before = name.hash;
            if !here {
                continue;
            }
            loop {
                let trail = self.handle()?.trail();
                match check.step(trail.files()) {
                    Ok(None) => {}
                    Ok(Some(_)) => break,
                    Err(StorageError::Closed) => return None,
                    // Payloads were dropped from it meanwhile: its file is another now, read in the next round.
                    Err(_) if !trail.has(&name) => break,
                    Err(error) => {
                        self.found(&format!("a segment of the audit trail: {error}"))?;
                        trail.damaged(&name, &error.to_string());
                        break;
                    }
                }
                drop(trail);
                self.read(SEGMENT_STEP_BYTES.min(name.bytes)).await?;
            }
        }
    }

    async fn rows(&self) -> Goes {
        self.handle()?.scrub_state().enter("rows");
        let mut from: Vec<u8> = Vec::new();
        loop {
            let trail = self.handle()?.trail();
            let page = match trail.engine().scan(&from, &[u8::MAX], STEP) {
                Ok(page) => page,
                Err(error) => return self.ends("ROWS_DAMAGED", &error, "started again it makes them anew"),
            };
            drop(trail);
            let Some((last, _)) = page.last() else { return Some(()) };
            // The smallest key after it.
            from = [last.as_slice(), &[0]].concat();
            self.read(bytes_of(&page)).await?;
        }
    }

    /// Its files first, then its entries, as whoever needs them gets them: those may come from memory.
    async fn log(&self) -> Goes {
        self.handle()?.scrub_state().enter("log");
        let mut file = None;
        loop {
            let log = Arc::clone(&self.log);
            let scrubbed = tokio::task::spawn_blocking(move || log.scrub(file)).await.ok()?;
            match scrubbed {
                Ok(Some((start, bytes))) => {
                    file = Some(start);
                    self.read(bytes).await?;
                }
                Ok(None) => break,
                Err(StorageError::Closed) => return None,
                Err(error) => return self.log_damaged(&error),
            }
        }
        let mut from = 0;
        loop {
            let state = match self.log.state() {
                Ok(state) => state,
                Err(error) => return self.log_damaged(&error),
            };
            let first = state.purged.map_or(0, |purged| purged.index.saturating_add(1));
            let end = state.last.map_or(0, |last| last.index.saturating_add(1));
            from = first.max(from);
            if from >= end {
                return Some(());
            }
            let step = u64::try_from(STEP).unwrap_or(u64::MAX);
            let records = match self.log.read(from, end.min(from.saturating_add(step))) {
                Ok(records) => records,
                Err(error) => return self.log_damaged(&error),
            };
            let bytes = records.iter().map(|record| record.payload.len()).sum::<usize>();
            // None where the log was purged or cut meanwhile: look again where it begins.
            from = records.last().map_or(end, |last| last.position.index.saturating_add(1));
            drop(records);
            self.read(u64::try_from(bytes).unwrap_or(u64::MAX)).await?;
        }
    }

    fn log_damaged(&self, error: &StorageError) -> Goes {
        self.ends(
            "LOG_DAMAGED",
            error,
            "do not start it again: remove it with `ctl cluster remove`, and have it join anew with an empty folder",
        )
    }

    fn found(&self, what: &str) -> Goes {
        self.handle()?.scrub_state().faults.fetch_add(1, Ordering::Relaxed);
        tracing::error!(code = "SCRUB_DAMAGE", what, "damage was found on this node's disk");
        Some(())
    }

    fn ends(&self, code: &str, error: &StorageError, advice: &str) -> Goes {
        let handle = self.handle()?;
        handle.scrub_state().faults.fetch_add(1, Ordering::Relaxed);
        handle.fail(format!("{code}: {error}; {advice}"));
        None
    }
}

fn bytes_of(page: &[Row]) -> u64 {
    let bytes: usize = page.iter().map(|(key, value)| key.len().saturating_add(value.len())).sum();
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
