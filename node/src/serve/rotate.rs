//! New data keys for a node that runs: when asked for, and when the one in use has grown old or sealed much.
//!
//! The new key is on disk in the ring, and was read back from its provider, before anything is sealed under it. What was
//! sealed before is sealed again in the background (`reseal.rs`); its keys stay in the ring. A provider that does not answer
//! changes nothing: the key in use is used on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use only1mcp_keys::{KeyRing, RingError};
use only1mcp_storage::{DataFolder, Key32, Sealer};
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;

use crate::host::HostClock;
use crate::keys::{KeysConfig, Opened, Source};
use crate::serve::reseal::Progress;

/// How often it is looked whether a new key is due.
const LOOK: Duration = Duration::from_secs(60);
/// After the keys that wrap could not be renewed: a key may have been made that wraps nothing yet.
const AGAIN: Duration = Duration::from_secs(3_600);
const DAY_MS: u64 = 86_400_000;

pub struct Rotation {
    folder: Arc<DataFolder>,
    ring: tokio::sync::Mutex<KeyRing>,
    sealer: Arc<Sealer>,
    source: Source,
    age_ms_max: u64,
    bytes_max: u64,
    /// 0: never by itself.
    renew_ms: u64,
    /// As the ring has them.
    destroyed_at_ms: AtomicU64,
    destroys_still: AtomicBool,
    counted: Counted,
    progress: Progress,
}

/// Since the node started.
#[derive(Default)]
pub struct Counted {
    pub rotated: AtomicU64,
    pub rewrapped: AtomicU64,
    /// Neither, where one was due.
    pub failed: AtomicU64,
    /// When each data key was made, by its number, the one that seals among them. Units: milliseconds.
    made_ms: Mutex<BTreeMap<u32, u64>>,
}

impl Counted {
    fn see(&self, ring: &KeyRing) {
        let made = ring.data_keys().into_iter().map(|(id, _, made_ms)| (id, made_ms)).collect();
        *self.made_ms.lock().unwrap_or_else(PoisonError::into_inner) = made;
    }

    pub fn made_ms(&self) -> BTreeMap<u32, u64> {
        self.made_ms.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Rotation {
    pub fn new(folder: Arc<DataFolder>, opened: &Opened, source: &Source, config: &KeysConfig) -> Self {
        let counted = Counted::default();
        counted.see(&opened.ring);
        Self {
            folder,
            ring: tokio::sync::Mutex::new(opened.ring.clone()),
            sealer: opened.sealer.clone(),
            source: source.clone(),
            age_ms_max: u64::from(config.rotate_days).saturating_mul(DAY_MS),
            bytes_max: u64::from(config.rotate_gib) << 30,
            renew_ms: u64::from(config.renew_days).saturating_mul(DAY_MS),
            destroyed_at_ms: AtomicU64::new(opened.ring.destroyed_at_ms()),
            destroys_still: AtomicBool::new(opened.ring.destroys_still()),
            counted,
            progress: Progress::default(),
        }
    }

    pub fn counted(&self) -> &Counted {
        &self.counted
    }

    /// Wraps every key again under the newest key-encryption key, while the node serves; with `renew` under a new one, where
    /// the provider leaves it to us to make one.
    pub async fn rewrap(&self, renew: bool) -> Result<(), RingError> {
        let mut ring = self.ring.lock().await;
        let (provider, recovery) = (self.source.provider.as_ref(), self.source.recovery.as_deref());
        provider.reload()?;
        if renew {
            provider.renew().await?;
        }
        let keys = ring.open(provider).await?;
        let left = ring.rewrap(&self.folder, &keys, provider, recovery, HostClock.now_ms()).await?;
        self.counted.rewrapped.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            code = "KEYS_REWRAPPED",
            ?left,
            "all keys are wrapped under the newest key-encryption key"
        );
        Ok(())
    }

    /// Whether what wrapped forgotten generations is still to be destroyed.
    pub fn destroys_still(&self) -> bool {
        self.destroys_still.load(Ordering::Relaxed)
    }

    /// Until when what wrapped destroyed generations could be called back; 0: it is gone. Units: milliseconds.
    pub fn destroyed_at_ms(&self) -> u64 {
        self.destroyed_at_ms.load(Ordering::Relaxed)
    }

    /// The new key's id.
    pub async fn rotate(&self) -> Result<u32, RingError> {
        let mut ring = self.ring.lock().await;
        let recovery = self.source.recovery.as_deref();
        let (id, key) =
            ring.rotate(&self.folder, self.source.provider.as_ref(), recovery, HostClock.now_ms()).await?;
        self.sealer.use_key(id, key)?;
        self.counted.see(&ring);
        self.counted.rotated.fetch_add(1, Ordering::Relaxed);
        tracing::info!(data_key = id, "a new data key seals from now on");
        Ok(id)
    }

    /// Drops data keys that nothing stored names: gone from disk before they are from memory.
    pub async fn drop_data_keys(&self, unused: &BTreeSet<u32>) -> Result<(), RingError> {
        let mut ring = self.ring.lock().await;
        ring.drop_data_keys(&self.folder, unused)?;
        self.counted.see(&ring);
        self.sealer.forget(unused);
        Ok(())
    }

    pub fn sealer(&self) -> &Sealer {
        &self.sealer
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
        let mut ring = self.ring.lock().await;
        let done = ring.forget_generations(&self.folder, self.source.provider.as_ref(), oldest).await;
        self.destroyed_at_ms.store(ring.destroyed_at_ms(), Ordering::Relaxed);
        self.destroys_still.store(ring.destroys_still(), Ordering::Relaxed);
        done
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

    async fn is_rewrap_due(&self, now_ms: u64) -> bool {
        let since_ms = self.ring.lock().await.wrapped_since_ms();
        self.renew_ms > 0 && now_ms.saturating_sub(since_ms) >= self.renew_ms
    }

    /// Runs until told to stop.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut pause = LOOK;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
            pause = LOOK;
            let now_ms = HostClock.now_ms();
            if self.is_due(now_ms, self.sealer.sealed_bytes()).await
                && let Err(error) = self.rotate().await
            {
                self.counted.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(code = "KEYS_NOT_ROTATED", %error, "a new data key is due, and none could be made");
            }
            if self.is_rewrap_due(now_ms).await
                && let Err(error) = self.rewrap(true).await
            {
                self.counted.failed.fetch_add(1, Ordering::Relaxed);
                pause = AGAIN;
                tracing::error!(code = "KEYS_NOT_RENEWED", %error, "keys that wrap are due to be renewed, and could not be");
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

    /// `renew_days`: the file gets a new key, everything is wrapped by it, and nothing else changes.
    #[tokio::test]
    async fn keys_that_wrap_are_renewed_when_they_are_old_and_not_before() {
        let (folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let rotation = rotation(folder.path(), keys.path()).await;
        rotation.keep_generation(1, &Key32::take(&mut [1; 32])).await.unwrap();
        let age_ms = 365 * DAY_MS;
        assert!(!rotation.is_rewrap_due(NOW_MS + age_ms - 1).await);
        assert!(rotation.is_rewrap_due(NOW_MS + age_ms).await);
        let file = || KeyFile::open(&keys.path().join("keys.json")).unwrap();
        let (before, opened) = (file(), rotation.ring().await);
        let plain = opened.open(&before).await.unwrap();
        rotation.rewrap(true).await.unwrap();
        assert_ne!(file().current(), before.current());
        assert_eq!(file().ids().len(), before.ids().len() + 1, "the old one stays");
        let ring = rotation.ring().await;
        assert!(ring.data_keys().iter().all(|(_, key, _)| *key == file().current()));
        let now = ring.open(&file()).await.unwrap();
        assert_eq!((now.current, now.data, now.generations), (plain.current, plain.data, plain.generations));
        assert!(!rotation.is_rewrap_due(HostClock.now_ms()).await);
        // Told to, it takes the key that somebody added, and makes none.
        let added = KeyFile::add_key(&keys.path().join("keys.json")).unwrap().current();
        rotation.rewrap(false).await.unwrap();
        assert!(rotation.ring().await.data_keys().iter().all(|(_, key, _)| *key == added));
        assert_eq!(file().current(), added);
        rotation.rotate().await.unwrap();
        assert_eq!(rotation.ring().await.data_keys().last().unwrap().1, added, "what is new, too");
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
