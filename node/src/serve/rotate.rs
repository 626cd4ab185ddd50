//! New data keys for a node that runs: when asked for, and when the one in use has grown old or sealed much.
//!
//! The new key is on disk in the ring, and was read back from its provider, before anything is sealed under it. What was
//! sealed before is sealed again in the background (`reseal.rs`); its keys stay in the ring. A provider that does not answer
//! changes nothing: the key in use is used on.

use std::sync::Arc;

use only1mcp_keys::{KeyRing, RingError};
use only1mcp_storage::{DataFolder, Key32, Sealer};
use tokio::sync::Mutex;
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;

use crate::host::HostClock;
use crate::keys::{KeysConfig, Opened, Source};
use crate::serve::reseal::Progress;

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
    progress: Progress,
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
            progress: Progress::default(),
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

    /// How far sealing again under a new data key has come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Id of the data key that seals.
    pub fn sealing_key(&self) -> u32 {
        self.sealer.current()
    }

    /// How many data keys the ring holds.
    pub async fn data_keys(&self) -> usize {
        self.ring.lock().await.data_keys().len()
    }

    pub async fn ring(&self) -> KeyRing {
        self.ring.lock().await.clone()
    }

    async fn is_due(&self, now_ms: u64, sealed_bytes: u64) -> bool {
        let age_ms = now_ms.saturating_sub(self.ring.lock().await.current_since_ms());
        age_ms >= self.age_ms_max || sealed_bytes >= self.bytes_max
    }

    /// Runs until told to stop.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LOOK) => {}
            }
            if !self.is_due(HostClock.now_ms(), self.sealer.sealed_bytes()).await {
                continue;
            }
            if let Err(error) = self.rotate().await {
                tracing::error!(code = "KEYS_NOT_ROTATED", %error, "a new data key is due, and none could be made");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use only1mcp_keys::{KeyFile, Owner};

    use super::*;
    use crate::keys;

    const NOW_MS: u64 = 1_800_000_000_000;

    async fn rotation(folder: &std::path::Path, keys: &std::path::Path) -> Rotation {
        let folder = Arc::new(DataFolder::open(folder).unwrap());
        let provider = Arc::new(KeyFile::create(&keys.join("keys.json")).unwrap());
        let source = Source { provider, recovery: None };
        let owner = Owner { cluster: String::new(), node: "node-1".to_owned() };
        let opened = keys::open(&folder, &source, &owner, NOW_MS).await.unwrap();
        let config = KeysConfig { rotate_days: 90, rotate_gib: 2, ..KeysConfig::default() };
        Rotation::new(folder, &opened, &source, &config)
    }

    #[tokio::test]
    async fn a_new_data_key_is_due_by_age_and_by_bytes_and_not_before() {
        let (folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let rotation = rotation(folder.path(), keys.path()).await;
        let age_ms = 90 * DAY_MS;
        assert!(!rotation.is_due(NOW_MS + age_ms - 1, 0).await);
        assert!(rotation.is_due(NOW_MS + age_ms, 0).await);
        assert!(!rotation.is_due(NOW_MS, (2 << 30) - 1).await);
        assert!(rotation.is_due(NOW_MS, 2 << 30).await);
        let first = rotation.sealing_key();
        let made = rotation.rotate().await.unwrap();
        assert_eq!((rotation.sealing_key(), rotation.data_keys().await), (made, 2));
        assert_ne!(made, first);
        assert!(!rotation.is_due(HostClock.now_ms(), 0).await, "the new one is young");
    }

    #[tokio::test]
    async fn a_generation_is_kept_and_forgotten_beside_the_data_keys() {
        let (folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let rotation = rotation(folder.path(), keys.path()).await;
        let key = |byte: u8| Key32::take(&mut [byte; 32]);
        rotation.keep_generation(1, &key(1)).await.unwrap();
        rotation.keep_generation(2, &key(9)).await.unwrap();
        rotation.keep_generation(2, &key(2)).await.unwrap();
        let held =
            async || rotation.ring().await.open(rotation.source.provider.as_ref()).await.unwrap().generations;
        assert_eq!(held().await, [(1, key(1)), (2, key(2))].into());
        rotation.forget_generations(2).await.unwrap();
        assert_eq!(held().await, [(2, key(2))].into());
        let text = std::fs::read_to_string(folder.path().join("key-ring")).unwrap();
        assert_eq!(text.matches("\"generation\": ").count(), 1, "{text}");
        assert_eq!(rotation.data_keys().await, 1);
    }
}
