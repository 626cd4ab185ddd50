//! New data keys for a node that runs: when asked for, and when the one in use has grown old or sealed much.
//!
//! The new key is on disk in the ring, and was read back from its provider, before anything is sealed under it. What was
//! sealed before stays as it is until it is written again; its keys stay in the ring. A provider that does not answer
//! changes nothing: the key in use is used on.

use std::sync::Arc;

use only1mcp_keys::{KeyRing, RingError};
use only1mcp_storage::{DataFolder, Key32, Sealer};
use tokio::sync::Mutex;
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;

use crate::host::HostClock;
use crate::keys::{KeysConfig, Opened, Source};

/// How often it is looked whether a new key is due.
const LOOK: Duration = Duration::from_secs(60);
const DAY_MS: u64 = 86_400_000;

pub struct Rotation {
    folder: Arc<DataFolder>,
    ring: Mutex<KeyRing>,
    sealer: Arc<Sealer>,
    source: Source,
    age_ms_max: u64,
    bytes_max: u64,
}

impl Rotation {
    pub fn new(folder: Arc<DataFolder>, opened: &Opened, source: &Source, config: &KeysConfig) -> Self {
        Self {
            folder,
            ring: Mutex::new(opened.ring.clone()),
            sealer: opened.sealer.clone(),
            source: source.clone(),
            age_ms_max: u64::from(config.rotate_days).saturating_mul(DAY_MS),
            bytes_max: u64::from(config.rotate_gib) << 30,
        }
    }

    /// The new key's id.
    pub async fn rotate(&self) -> Result<u32, RingError> {
        let mut ring = self.ring.lock().await;
        let recovery = self.source.recovery.as_deref();
        let (id, key) =
            ring.rotate(&self.folder, self.source.provider.as_ref(), recovery, HostClock.now_ms()).await?;
        self.sealer.use_key(id, key)?;
        tracing::info!(data_key = id, "a new data key seals from now on");
        Ok(id)
    }

    /// Keeps a generation's key: durable at return.
    pub async fn keep_generation(&self, generation: u32, key: &Key32) -> Result<(), RingError> {
        let mut ring = self.ring.lock().await;
        let recovery = self.source.recovery.as_deref();
        let provider = self.source.provider.as_ref();
        ring.keep_generation(&self.folder, provider, recovery, (generation, key), HostClock.now_ms()).await
    }

    /// Forgets those before `oldest` for ever.
    pub async fn forget_generations(&self, oldest: u32) -> Result<(), RingError> {
        self.ring.lock().await.forget_generations(&self.folder, oldest)
    }

    async fn is_due(&self) -> bool {
        let age_ms = HostClock.now_ms().saturating_sub(self.ring.lock().await.current_since_ms());
        age_ms >= self.age_ms_max || self.sealer.sealed_bytes() >= self.bytes_max
    }

    /// Runs until told to stop.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LOOK) => {}
            }
            if !self.is_due().await {
                continue;
            }
            if let Err(error) = self.rotate().await {
                tracing::error!(code = "KEYS_NOT_ROTATED", %error, "a new data key is due, and none could be made");
            }
        }
    }
}
