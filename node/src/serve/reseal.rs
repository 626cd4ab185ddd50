//! After a new data key: what lies under older ones is sealed again, step by step, while the node serves.
//!
//! Rows, sealed segments and the node's files are sealed again here; records of Raft's log and of the journal go as they
//! are purged. A round that ends early, with the node for one, is begun anew and passes over what is done. After it, keys
//! that nothing names any more are dropped (`unused.rs`), or it is looked again later, ever more rarely.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use only1mcp_storage::StorageError;
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::serve::proofs;
use crate::serve::rotate::Rotation;
use crate::serve::unused::{Named, Stored, blocking};

/// Rows looked at in one step, during which nobody writes rows.
const ROWS: usize = 128;
/// What looking at a row counts as, where it need not be written.
const ROW_BYTES: usize = 64;
const LOOK: Duration = Duration::from_secs(1);
/// How long after a round it is looked again which keys are named; then twice as long each time.
const UNUSED_FIRST: Duration = Duration::from_secs(10);
const UNUSED_LAST: Duration = Duration::from_secs(3_600);
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
    dropped: AtomicU64,
    /// As it was looked at last.
    named: Mutex<Named>,
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
    /// Data keys that nothing named any more.
    pub dropped: u64,
}

impl Progress {
    pub fn told(&self) -> Told {
        Told {
            under_way: self.under_way.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
            segments: self.segments.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            rounds: self.rounds.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    /// Where the data key is named, as far as it was looked.
    pub fn named(&self, key: u32) -> Vec<String> {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.get(&key).into_iter().flatten().map(|place| (*place).to_owned()).collect()
    }
}

fn long(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// What is to be sealed again, and how fast.
#[derive(Clone)]
pub struct Reseal {
    pub stored: Stored,
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
        let mut again = (Instant::now(), UNUSED_FIRST);
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
                        again = (Instant::now(), UNUSED_FIRST);
                        LOOK
                    }
                    Err(error) => {
                        tracing::error!(code = "NOT_RESEALED", %error, "what lies under older data keys stays there for now");
                        AGAIN
                    }
                }
            };
            if done == Some(current) && self.rotation.data_keys().await > 1 && again.0 <= Instant::now() {
                let looked = tokio::select! {
                    () = stop.cancelled() => return,
                    looked = self.drop_unused() => looked,
                };
                if let Err(error) = looked {
                    tracing::error!(code = "DATA_KEYS_KEPT", %error, "older data keys are kept, for what names them is not known");
                }
                again = (Instant::now() + again.1, again.1.saturating_mul(2).min(UNUSED_LAST));
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Looks where data keys are named, and drops those that are named nowhere.
    pub(super) async fn drop_unused(&self) -> anyhow::Result<()> {
        let progress = self.rotation.progress();
        let looked = self.stored.look(self.rotation.sealer()).await?;
        let ids = self.rotation.ring().await.data_keys().into_iter().map(|(id, _, _)| id);
        let unused = looked.unused(ids);
        *progress.named.lock().unwrap_or_else(PoisonError::into_inner) = looked.named;
        if unused.is_empty() {
            return Ok(());
        }
        self.rotation.drop_data_keys(&unused).await?;
        progress.dropped.fetch_add(long(unused.len()), Ordering::Relaxed);
        tracing::info!(
            code = "DATA_KEYS_DROPPED",
            ?unused,
            "data keys that nothing stored names any more are gone"
        );
        Ok(())
    }

    pub(super) async fn round(&self, data_key: u32) -> Result<(), StorageError> {
        let progress = self.rotation.progress();
        progress.under_way.store(true, Ordering::Relaxed);
        let before = progress.told().bytes;
        let mut after = Some(Vec::new());
        while let Some(from) = after {
            let engine = self.stored.engine.clone();
            let step = blocking(move || engine.reseal(&from, ROWS)).await?;
            progress.rows.fetch_add(long(step.rows), Ordering::Relaxed);
            progress.bytes.fetch_add(long(step.bytes), Ordering::Relaxed);
            self.pause(long(step.bytes.max(step.rows.saturating_mul(ROW_BYTES)))).await;
            after = step.next;
        }
        let engine = self.stored.engine.clone();
        blocking(move || engine.sync()).await?;
        let segments = self.stored.segments.clone();
        for address in blocking(move || segments.addresses()).await? {
            let segments = self.stored.segments.clone();
            let bytes = blocking(move || segments.reseal(&address)).await?;
            progress.segments.fetch_add(1, Ordering::Relaxed);
            progress.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.pause(bytes).await;
        }
        let (folder, rotation) = (self.stored.folder.clone(), self.rotation.clone());
        let bytes = blocking(move || proofs::reseal_signing_key(&folder, rotation.sealer())).await?;
        progress.bytes.fetch_add(bytes, Ordering::Relaxed);
        progress.rounds.fetch_add(1, Ordering::Relaxed);
        let bytes = progress.told().bytes.saturating_sub(before);
        tracing::info!(data_key, bytes, "rows and segments lie under the data key in use");
        Ok(())
    }

    async fn pause(&self, bytes: u64) {
        sleep(Duration::from_millis(bytes.saturating_mul(1_000) / self.bytes_per_second.max(1))).await;
    }
}
