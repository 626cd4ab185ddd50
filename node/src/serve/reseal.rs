//! After a new data key: what lies under older ones is sealed again, step by step, while the node serves.
//!
//! Rows and sealed segments are sealed again here; records of Raft's log and of the journal go as they are purged. A
//! round that ends early, with the node for one, is begun anew and passes over what is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use only1mcp_storage::{Engine, Segments, StorageError};
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;

use crate::serve::rotate::Rotation;

/// Rows looked at in one step, during which nobody writes rows.
const ROWS: usize = 128;
/// What looking at a row counts as, where it need not be written.
const ROW_BYTES: usize = 64;
const LOOK: Duration = Duration::from_secs(1);
/// After a step that failed.
const AGAIN: Duration = Duration::from_secs(60);

/// Counted since the node started.
#[derive(Default)]
pub struct Progress {
    under_way: AtomicBool,
    rows: AtomicU64,
    segments: AtomicU64,
    bytes: AtomicU64,
    rounds: AtomicU64,
}

/// The same, as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub under_way: bool,
    /// Looked at.
    pub rows: u64,
    pub segments: u64,
    /// Sealed again.
    pub bytes: u64,
    /// Come to their end.
    pub rounds: u64,
}

impl Progress {
    pub fn told(&self) -> Told {
        Told {
            under_way: self.under_way.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
            segments: self.segments.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            rounds: self.rounds.load(Ordering::Relaxed),
        }
    }
}

fn long(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// What is to be sealed again, and how fast.
#[derive(Clone)]
pub struct Reseal {
    pub engine: Arc<dyn Engine>,
    pub segments: Arc<dyn Segments>,
    pub rotation: Arc<Rotation>,
    /// 0: not at all.
    pub bytes_per_second: u64,
}

impl Reseal {
    /// Runs until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        if self.bytes_per_second == 0 {
            return;
        }
        // A ring with one data key has nothing under another.
        let mut done =
            if self.rotation.data_keys().await > 1 { None } else { Some(self.rotation.sealing_key()) };
        loop {
            let current = self.rotation.sealing_key();
            let pause = if done == Some(current) {
                LOOK
            } else {
                let round = tokio::select! {
                    () = stop.cancelled() => return,
                    round = self.round(current) => round,
                };
                self.rotation.progress().under_way.store(false, Ordering::Relaxed);
                match round {
                    Ok(()) => {
                        done = Some(current);
                        LOOK
                    }
                    Err(error) => {
                        tracing::error!(code = "NOT_RESEALED", %error, "what lies under older data keys stays there for now");
                        AGAIN
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    async fn round(&self, data_key: u32) -> Result<(), StorageError> {
        let progress = self.rotation.progress();
        progress.under_way.store(true, Ordering::Relaxed);
        let before = progress.told().bytes;
        let mut after = Some(Vec::new());
        while let Some(from) = after {
            let engine = self.engine.clone();
            let step = blocking(move || engine.reseal(&from, ROWS)).await?;
            progress.rows.fetch_add(long(step.rows), Ordering::Relaxed);
            progress.bytes.fetch_add(long(step.bytes), Ordering::Relaxed);
            self.pause(long(step.bytes.max(step.rows.saturating_mul(ROW_BYTES)))).await;
            after = step.next;
        }
        let engine = self.engine.clone();
        blocking(move || engine.sync()).await?;
        let segments = self.segments.clone();
        for address in blocking(move || segments.addresses()).await? {
            let segments = self.segments.clone();
            let bytes = blocking(move || segments.reseal(&address)).await?;
            progress.segments.fetch_add(1, Ordering::Relaxed);
            progress.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.pause(bytes).await;
        }
        progress.rounds.fetch_add(1, Ordering::Relaxed);
        let bytes = progress.told().bytes.saturating_sub(before);
        tracing::info!(data_key, bytes, "rows and segments lie under the data key in use");
        Ok(())
    }

    async fn pause(&self, bytes: u64) {
        sleep(Duration::from_millis(bytes.saturating_mul(1_000) / self.bytes_per_second.max(1))).await;
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(StorageError::Closed))
}
