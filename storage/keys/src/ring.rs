//! The key ring of one data folder: every data key, wrapped, and which of them seals.
//!
//! The file is replaced whole and synced, always before a new key in it is used. A key is told by a check value besides,
//! so that a provider that answers with another key is noticed before anything is read or written with it.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use only1mcp_storage::{DataFolder, Key32, SealerKeys, StorageError};
use serde::{Deserialize, Serialize};

use crate::context::KeyContext;
use crate::provider::{KeyError, KeyProvider, NewKey, Provided, Purpose, Wrapped, WrappedApart};
use crate::recovery::{RecoveryKey, RecoveryPublic};
use crate::wrap;

const FORMAT: u32 = 1;

/// Why a ring cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the key ring cannot be read: {detail}")]
    Damaged { detail: String },
    /// Each with what it wraps, and what its provider says.
    #[error("keys that are in use are not to be had: {}", .missing.join("; "))]
    Lacks { missing: Vec<String> },
}

impl RingError {
    /// Whether it may be otherwise later, without anybody touching this node.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Lacks { .. }
                | Self::Key(KeyError::Unavailable { .. } | KeyError::Refused { .. } | KeyError::Wrong { .. })
        )
    }
}

/// Whose folder it is, as far as it is bound to its keys.
#[derive(Clone, Debug)]
pub struct Owner {
    pub cluster: String,
    pub node: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: u32,
    purpose: Purpose,
    created_ms: u64,
    provider: Provided,
    /// The key-encryption key.
    key: String,
    wrapped: String,
    check: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recovery: Option<String>,
    /// Which generation of the cluster, of a key that wraps persons' keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generation: Option<u32>,
    /// Its key-encryption key wraps nothing else, and goes with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    own: bool,
    /// When it was wrapped anew; absent where never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wrapped_ms: Option<u64>,
}

/// See the module's own words.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRing {
    format: u32,
    ring: String,
    cluster: String,
    node: String,
    /// The id of the key that seals.
    current: u32,
    keys: Vec<Entry>,
    /// Until when key-encryption keys of destroyed generations could be called back; absent where they are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    destroyed_at_ms: Option<u64>,
    /// Key-encryption keys that wrap nothing any more, and are to be destroyed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    destroying: Vec<String>,
}

fn damaged(detail: impl ToString) -> RingError {
    RingError::Damaged { detail: detail.to_string() }
}

/// A key-encryption key that wraps nothing any more; where it could not be destroyed, somebody has to.
fn left(key: &str, destroyed: Result<u64, KeyError>) {
    if let Err(error) = destroyed {
        tracing::error!(code = "KEY_LEFT", key, %error, "a key-encryption key wraps nothing any more: delete it");
    }
}

fn decoded(text: &str) -> Result<Vec<u8>, RingError> {
    STANDARD.decode(text).map_err(|_| damaged("a key is not base64"))
}

impl KeyRing {
    /// `None` in a folder that has none.
    pub fn read(folder: &DataFolder) -> Result<Option<Self>, RingError> {
        folder.key_ring()?.map(|bytes| Self::decode(&bytes)).transpose()
    }

    /// From what [`KeyRing::encode`] gave.
    pub fn decode(bytes: &[u8]) -> Result<Self, RingError> {
        let ring: Self = serde_json::from_slice(bytes).map_err(damaged)?;
        if ring.format != FORMAT {
            return Err(damaged(format!("format {}; this program reads {FORMAT}", ring.format)));
        }
        Ok(ring)
    }

    /// As it may lie beside what its keys seal: every key in it is wrapped.
    pub fn encode(&self) -> Result<Vec<u8>, RingError> {
        serde_json::to_vec_pretty(self).map_err(damaged)
    }

    /// A ring with one data key and one for names, written and read back through the provider.
    pub async fn create(
        folder: &DataFolder,
        provider: &dyn KeyProvider,
        owner: &Owner,
        recovery: Option<&RecoveryPublic>,
        now_ms: u64,
    ) -> Result<(Self, SealerKeys), RingError> {
        let (ring, keys) = Self::begin(provider, owner, recovery, now_ms).await?;
        ring.write(folder)?;
        Ok((ring, keys))
    }

    /// The same, for the caller to write before anything is sealed.
    pub async fn begin(
        provider: &dyn KeyProvider,
        owner: &Owner,
        recovery: Option<&RecoveryPublic>,
        now_ms: u64,
    ) -> Result<(Self, SealerKeys), RingError> {
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| damaged("the system gives no randomness"))?;
        let mut ring = Self {
            format: FORMAT,
            ring: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            cluster: owner.cluster.clone(),
            node: owner.node.clone(),
            current: 1,
            keys: Vec::new(),
            destroyed_at_ms: None,
            destroying: Vec::new(),
        };
        for (id, purpose) in [(1, Purpose::Data), (2, Purpose::Names)] {
            ring.add(provider, recovery, (id, purpose), now_ms).await?;
        }
        let keys = ring.open(provider).await?;
        Ok((ring, keys))
    }

    /// Every key, unwrapped.
    pub async fn open(&self, provider: &dyn KeyProvider) -> Result<SealerKeys, RingError> {
        let mut plain = Vec::new();
        let mut refused: BTreeMap<&str, KeyError> = BTreeMap::new();
        for entry in &self.keys {
            if refused.contains_key(entry.key.as_str()) {
                continue;
            }
            if entry.provider != provider.kind() {
                let (found, configured) = (entry.provider.name(), provider.kind().name());
                return Err(KeyError::OtherProvider { found, configured }.into());
            }
            let wrapped = entry.wrapped()?;
            let context = self.context(entry)?;
            match provider.unwrap(&wrapped, &context).await {
                Ok(key) => plain.push(entry.checked(key, &context, provider.kind().name())?),
                Err(error @ KeyError::Refused { .. }) => drop(refused.insert(&entry.key, error)),
                Err(error) => return Err(error.into()),
            }
        }
        if !refused.is_empty() {
            let uses = self.uses();
            let wraps = |key: &str| uses.get(key).map(|uses| uses.join(", ")).unwrap_or_default();
            let missing =
                refused.iter().map(|(key, error)| format!("{key}, which wraps {} ({error})", wraps(key)));
            return Err(RingError::Lacks { missing: missing.collect() });
        }
        self.sorted(plain)
    }

    /// What each key-encryption key wraps, by its provider's name for it.
    pub fn uses(&self) -> BTreeMap<String, Vec<String>> {
        let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in &self.keys {
            let what = match (entry.purpose, entry.generation) {
                (Purpose::Data, _) => format!("data key {}", entry.id),
                (Purpose::Names, _) => "the key for names".to_owned(),
                (Purpose::Generation, generation) => format!("generation {}", generation.unwrap_or_default()),
            };
            out.entry(entry.key.clone()).or_default().push(what);
        }
        out
    }

    /// When the key that was wrapped the longest ago was wrapped; those that are wrapped apart are not. Units: milliseconds.
    pub fn wrapped_since_ms(&self) -> u64 {
        let shared = self.keys.iter().filter(|entry| !entry.own);
        shared.map(|entry| entry.wrapped_ms.unwrap_or(entry.created_ms)).min().unwrap_or(0)
    }

    /// Until when what wrapped generations that were destroyed could be called back; 0: it is gone.
    pub fn destroyed_at_ms(&self) -> u64 {
        self.destroyed_at_ms.unwrap_or(0)
    }

    /// Every key, unwrapped by the recovery key.
    pub fn recover(&self, recovery: &RecoveryKey) -> Result<SealerKeys, RingError> {
        let mut plain = Vec::new();
        for entry in &self.keys {
            let context = self.context(entry)?;
            let wrapped = entry
                .recovery
                .as_ref()
                .ok_or_else(|| damaged(format!("key {} was not wrapped for a recovery key", entry.id)))?;
            let key = recovery.unwrap(&decoded(wrapped)?, &context)?;
            plain.push(entry.checked(key, &context, "the recovery key")?);
        }
        self.sorted(plain)
    }

    fn sorted(&self, plain: Vec<(u32, Purpose, Key32)>) -> Result<SealerKeys, RingError> {
        let mut data = BTreeMap::new();
        let mut names = None;
        let mut generations = BTreeMap::new();
        for (id, purpose, key) in plain {
            match purpose {
                Purpose::Data => drop(data.insert(id, key)),
                Purpose::Names => names = Some(key),
                Purpose::Generation => {
                    let entry = self.keys.iter().find(|entry| entry.id == id);
                    let generation = entry.and_then(|entry| entry.generation);
                    let generation = generation.ok_or_else(|| damaged("a key of no generation"))?;
                    drop(generations.insert(generation, key));
                }
            }
        }
        let names = names.ok_or_else(|| damaged("it holds no key for names"))?;
        if !data.contains_key(&self.current) {
            return Err(damaged(format!("its current key {} is not in it", self.current)));
        }
        Ok(SealerKeys { ring: self.id()?, data, current: self.current, names, generations })
    }

    /// A new data key that seals from now on: on disk at return, for [`only1mcp_storage::Sealer::use_key`].
    pub async fn rotate(
        &mut self,
        folder: &DataFolder,
        provider: &dyn KeyProvider,
        recovery: Option<&RecoveryPublic>,
        now_ms: u64,
    ) -> Result<(u32, Key32), RingError> {
        let mut next = self.clone();
        let id = next.next_id();
        let key = next.add(provider, recovery, (id, Purpose::Data), now_ms).await?;
        next.current = id;
        next.write(folder)?;
        *self = next;
        Ok((id, key))
    }

    /// Drops data keys that nothing stored names any more, for ever: gone from disk at return.
    /// Errors: `Damaged`, and nothing is dropped, where one of them is the one that seals.
    pub fn drop_data_keys(&mut self, folder: &DataFolder, unused: &BTreeSet<u32>) -> Result<(), RingError> {
        if unused.contains(&self.current) {
            return Err(damaged(format!("its current key {} was to be dropped", self.current)));
        }
        let mut next = self.clone();
        next.keys.retain(|entry| entry.purpose != Purpose::Data || !unused.contains(&entry.id));
        next.write(folder)?;
        *self = next;
        Ok(())
    }

    /// Keeps the key of a generation, in place of another of that number: on disk at return, and read back.
    pub async fn keep_generation(
        &mut self,
        folder: &DataFolder,
        provider: &dyn KeyProvider,
        recovery: Option<&RecoveryPublic>,
        (generation, key): (u32, &Key32),
        created_ms: u64,
    ) -> Result<(), RingError> {
        let mut next = self.clone();
        let mut entry = next.empty(next.next_id(), Purpose::Generation, provider.kind(), created_ms);
        entry.generation = Some(generation);
        let context = next.context(&entry)?;
        entry.check = STANDARD.encode(wrap::check_value(key, &context.bytes()));
        let WrappedApart { wrapped, own } = provider.wrap_apart(key, &context).await?;
        // INVARIANT: P6 (nothing is kept that does not open again)
        let opened = provider.unwrap(&wrapped, &context).await;
        let opened = opened.map_err(RingError::from);
        if let Err(error) = opened.and_then(|back| entry.checked(back, &context, provider.kind().name())) {
            if own {
                left(&wrapped.key, provider.destroy(&wrapped.key).await);
            }
            return Err(error);
        }
        let recoverable = recovery.map(|recovery| recovery.wrap(key, &context)).transpose()?;
        entry.recovery = recoverable.map(|wrapped| STANDARD.encode(wrapped));
        entry.key = wrapped.key;
        entry.own = own;
        entry.wrapped = STANDARD.encode(&wrapped.bytes);
        let (replaced, kept) = next.keys.into_iter().partition(|old| old.generation == Some(generation));
        next.keys = kept;
        next.keys.push(entry);
        next.write(folder)?;
        *self = next;
        let replaced: Vec<Entry> = replaced;
        for old in replaced.iter().filter(|old| old.own && !self.wraps_more(&old.key)) {
            left(&old.key, provider.destroy(&old.key).await);
        }
        Ok(())
    }

    fn wraps_more(&self, key: &str) -> bool {
        self.keys.iter().any(|entry| entry.key == key)
    }

    /// Forgets the keys of generations before `oldest`, for ever: gone from disk at return, and what wrapped them alone is
    /// destroyed with its provider.
    /// Errors: the provider does not destroy one. The generations are forgotten all the same, and what is left is done when
    /// this is called again ([`KeyRing::destroys_still`]), by the next process too.
    pub async fn forget_generations(
        &mut self,
        folder: &DataFolder,
        provider: &dyn KeyProvider,
        oldest: u32,
    ) -> Result<(), RingError> {
        let mut next = self.clone();
        let is_past = |entry: &Entry| entry.generation.is_some_and(|generation| generation < oldest);
        let past: Vec<&Entry> = self.keys.iter().filter(|entry| is_past(entry)).collect();
        next.keys.retain(|entry| !is_past(entry));
        for entry in past.into_iter().filter(|entry| entry.own) {
            if next.wraps_more(&entry.key) {
                return Err(damaged(format!("key {} wraps more than a generation", entry.key)));
            }
            next.destroying.push(entry.key.clone());
        }
        // Before: a ring that names a key that is gone would not open any more.
        next.write(folder)?;
        *self = next;
        while let Some(key) = self.destroying.last() {
            let at_ms = provider.destroy(key).await?;
            let mut next = self.clone();
            next.destroying.pop();
            next.destroyed_at_ms = next.destroyed_at_ms.max((at_ms > 0).then_some(at_ms));
            next.write(folder)?;
            *self = next;
        }
        Ok(())
    }

    /// Whether keys of forgotten generations are still to be destroyed.
    pub fn destroys_still(&self) -> bool {
        !self.destroying.is_empty()
    }

    /// Every key under the newest key-encryption key of `provider`, which may be of another kind than before. What is
    /// wrapped apart stays so, and as it is where `provider` opens it. Returns key-encryption keys that wrapped one thing, and
    /// now wrap nothing of this ring.
    pub async fn rewrap(
        &mut self,
        folder: &DataFolder,
        keys: &SealerKeys,
        provider: &dyn KeyProvider,
        recovery: Option<&RecoveryPublic>,
        now_ms: u64,
    ) -> Result<Vec<String>, RingError> {
        let mut next = self.clone();
        let mut left_over = Vec::new();
        for entry in &mut next.keys {
            let context = self.context(entry)?;
            let apart = entry.purpose == Purpose::Generation;
            if apart && entry.own && entry.provider == provider.kind() {
                let opened = provider.unwrap(&entry.wrapped()?, &context).await;
                if opened.is_ok_and(|key| entry.checked(key, &context, provider.kind().name()).is_ok()) {
                    continue;
                }
            }
            let plain = match entry.purpose {
                Purpose::Data => keys.data.get(&entry.id),
                Purpose::Names => Some(&keys.names),
                Purpose::Generation => {
                    entry.generation.and_then(|generation| keys.generations.get(&generation))
                }
            };
            let plain = plain.ok_or_else(|| damaged(format!("key {} was not opened", entry.id)))?;
            let WrappedApart { wrapped, own } = if apart {
                provider.wrap_apart(plain, &context).await?
            } else {
                WrappedApart { wrapped: provider.wrap(plain, &context).await?, own: false }
            };
            // INVARIANT: P6 (nothing is kept that does not open again)
            let back = provider.unwrap(&wrapped, &context).await?;
            entry.checked(back, &context, provider.kind().name())?;
            if entry.own {
                left_over.push(std::mem::take(&mut entry.key));
            }
            entry.own = own;
            entry.wrapped_ms = Some(now_ms);
            entry.provider = wrapped.provider;
            entry.key = wrapped.key;
            entry.wrapped = STANDARD.encode(&wrapped.bytes);
            let recoverable = recovery.map(|recovery| recovery.wrap(plain, &context)).transpose()?;
            entry.recovery = recoverable.map(|wrapped| STANDARD.encode(wrapped));
        }
        next.write(folder)?;
        *self = next;
        Ok(left_over)
    }

    /// When the current data key was made. Units: milliseconds.
    pub fn current_since_ms(&self) -> u64 {
        self.keys.iter().find(|entry| entry.id == self.current).map_or(0, |entry| entry.created_ms)
    }

    /// Id, key-encryption key and time of each data key, oldest first.
    pub fn data_keys(&self) -> Vec<(u32, String, u64)> {
        let data = self.keys.iter().filter(|entry| entry.purpose == Purpose::Data);
        data.map(|entry| (entry.id, entry.key.clone(), entry.created_ms)).collect()
    }

    pub fn current(&self) -> u32 {
        self.current
    }

    async fn add(
        &mut self,
        provider: &dyn KeyProvider,
        recovery: Option<&RecoveryPublic>,
        (id, purpose): (u32, Purpose),
        created_ms: u64,
    ) -> Result<Key32, RingError> {
        let mut entry = self.empty(id, purpose, provider.kind(), created_ms);
        let context = self.context(&entry)?;
        let NewKey { plain, wrapped } = provider.generate(&context).await?;
        entry.check = STANDARD.encode(wrap::check_value(&plain, &context.bytes()));
        // INVARIANT: P6 (nothing is sealed under a key that does not open again)
        let back = provider.unwrap(&wrapped, &context).await?;
        entry.checked(back, &context, provider.kind().name())?;
        let recoverable = recovery.map(|recovery| recovery.wrap(&plain, &context)).transpose()?;
        entry.recovery = recoverable.map(|wrapped| STANDARD.encode(wrapped));
        entry.key = wrapped.key;
        entry.wrapped = STANDARD.encode(&wrapped.bytes);
        self.keys.push(entry);
        Ok(plain)
    }

    fn next_id(&self) -> u32 {
        self.keys.iter().map(|entry| entry.id).max().unwrap_or(0).saturating_add(1)
    }

    fn empty(&self, id: u32, purpose: Purpose, provider: Provided, created_ms: u64) -> Entry {
        Entry {
            id,
            purpose,
            created_ms,
            provider,
            key: String::new(),
            wrapped: String::new(),
            check: String::new(),
            recovery: None,
            generation: None,
            own: false,
            wrapped_ms: None,
        }
    }

    fn id(&self) -> Result<[u8; 16], RingError> {
        let bytes = u128::from_str_radix(&self.ring, 16).map_err(|_| damaged("its id"))?;
        Ok(bytes.to_be_bytes())
    }

    fn context(&self, entry: &Entry) -> Result<KeyContext, RingError> {
        Ok(KeyContext {
            cluster: self.cluster.clone(),
            node: self.node.clone(),
            ring: self.id()?,
            id: entry.id,
            purpose: entry.purpose,
        })
    }

    fn write(&self, folder: &DataFolder) -> Result<(), RingError> {
        folder.write_key_ring(&self.encode()?)?;
        Ok(())
    }
}

impl Entry {
    fn wrapped(&self) -> Result<Wrapped, RingError> {
        Ok(Wrapped { provider: self.provider, key: self.key.clone(), bytes: decoded(&self.wrapped)? })
    }

    /// Errors: `Wrong` for a key that is not the one that was put in.
    fn checked(
        &self,
        key: Key32,
        context: &KeyContext,
        provider: &'static str,
    ) -> Result<(u32, Purpose, Key32), RingError> {
        if decoded(&self.check)? == wrap::check_value(&key, &context.bytes()) {
            return Ok((self.id, self.purpose, key));
        }
        let detail = format!("it gave another key than number {} of the ring", self.id);
        Err(KeyError::Wrong { provider, detail }.into())
    }
}
