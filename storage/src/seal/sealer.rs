//! The one place that encrypts and decrypts what a node stores.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use only1mcp_domain::limits::LOG_RECORD_BYTES_MAX;

use super::keys::{Key32, SealerKeys};
use crate::error::StorageError;

const VERSION: u8 = 1;
const SALT_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// Version, id of the data key, salt, counter.
const HEAD_BYTES: usize = 1 + 4 + SALT_BYTES + 8;
/// What sealing adds to a piece.
pub const SEALED_BYTES: usize = HEAD_BYTES + TAG_BYTES;
/// Derived keys kept ready for opening.
const READY_MAX: usize = 256;

/// Draws salts. It must never draw the same twice.
pub type Draw = Box<dyn Fn(&mut [u8; 32]) -> Result<(), StorageError> + Send + Sync>;

/// What a piece is part of the associated data says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Log = 1,
    Journal = 2,
    Row = 3,
    Frame = 4,
    Tally = 5,
    File = 16,
}

/// Which data key, under which salt.
type KeyName = (u32, [u8; SALT_BYTES]);

/// See the module's own words.
pub struct Sealer {
    ring: [u8; 16],
    keys: RwLock<Keys>,
    names: hmac::Key,
    draw: Draw,
    ready: Mutex<BTreeMap<KeyName, Arc<LessSafeKey>>>,
    /// Whatever seals, or handed on what it sealed a moment ago.
    alive: Mutex<Vec<Weak<Stream>>>,
    /// Sealed under the current data key since it became that. Units: bytes.
    sealed_bytes: AtomicU64,
}

struct Keys {
    data: BTreeMap<u32, Key32>,
    current: u32,
    /// For everything that is no file of its own.
    stream: Arc<Stream>,
}

/// A key of its own under a salt of its own, and the nonces it has used.
pub(crate) struct Stream {
    data_key: u32,
    salt: [u8; SALT_BYTES],
    key: LessSafeKey,
    next: AtomicU64,
    ring: [u8; 16],
}

/// While it lives, what is sealed may not have reached its store: no data key is dropped that was in use when it was
/// taken, nor any that came after.
pub(crate) struct Hold {
    stream: Arc<Stream>,
}

/// What stands in the clear before a sealed piece.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SealedHead {
    pub data_key: u32,
    pub salt: [u8; 32],
    pub counter: u64,
}

impl SealedHead {
    /// `None` where the bytes are no sealed piece.
    pub fn of(sealed: &[u8]) -> Option<Self> {
        let (version, rest) = sealed.split_first()?;
        let (data_key, rest) = rest.split_first_chunk::<4>()?;
        let (salt, rest) = rest.split_first_chunk::<SALT_BYTES>()?;
        let (counter, rest) = rest.split_first_chunk::<8>()?;
        let whole = *version == VERSION && rest.len() >= TAG_BYTES;
        whole.then(|| Self {
            data_key: u32::from_le_bytes(*data_key),
            salt: *salt,
            counter: u64::from_le_bytes(*counter),
        })
    }
}

/// The data key that a stored piece names.
/// Errors: `Corrupt` where it names none, so that nobody takes it for one that needs no key.
pub(crate) fn named_by(sealed: &[u8], what: &str) -> Result<u32, StorageError> {
    let head = SealedHead::of(sealed).ok_or_else(|| StorageError::Corrupt {
        what: what.to_owned(),
        detail: "it is not sealed, or cut off".into(),
    })?;
    Ok(head.data_key)
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("current", &self.current()).finish_non_exhaustive()
    }
}

struct KeyBytes;

impl hkdf::KeyType for KeyBytes {
    fn len(&self) -> usize {
        32
    }
}

fn derive(data_key: &Key32, salt: &[u8; SALT_BYTES], ring: &[u8; 16]) -> Result<LessSafeKey, StorageError> {
    let unusable = |_| StorageError::Corrupt { what: "key".into(), detail: "no key could be derived".into() };
    let info: [&[u8]; 2] = [b"only1mcp sealed 1", ring];
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(data_key.bytes());
    let mut derived = [0; 32];
    secret.expand(&info, KeyBytes).and_then(|okm| okm.fill(&mut derived)).map_err(unusable)?;
    let derived = Key32::take(&mut derived);
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, derived.bytes()).map_err(unusable)?))
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    if let Some(end) = bytes.last_chunk_mut::<8>() {
        *end = counter.to_be_bytes();
    }
    Nonce::assume_unique_for_key(bytes)
}

fn associated(head: &[u8], ring: &[u8; 16], kind: Kind, position: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + ring.len() + 1 + position.len());
    out.extend_from_slice(head);
    out.extend_from_slice(ring);
    out.push(kind as u8);
    out.extend_from_slice(position);
    out
}

impl Stream {
    fn new(data_key: (u32, &Key32), salt: [u8; SALT_BYTES], ring: [u8; 16]) -> Result<Self, StorageError> {
        let key = derive(data_key.1, &salt, &ring)?;
        Ok(Self { data_key: data_key.0, salt, key, next: AtomicU64::new(0), ring })
    }

    /// Errors: `Corrupt` only where the cipher itself fails.
    pub fn seal(&self, kind: Kind, position: &[u8], plain: &[u8]) -> Result<Vec<u8>, StorageError> {
        let counter = self.next.fetch_add(1, Ordering::Relaxed);
        let mut out = Vec::with_capacity(plain.len() + SEALED_BYTES);
        out.push(VERSION);
        out.extend(self.data_key.to_le_bytes());
        out.extend(self.salt);
        out.extend(counter.to_le_bytes());
        let aad = associated(&out, &self.ring, kind, position);
        out.extend_from_slice(plain);
        let failed = || StorageError::Corrupt { what: "cipher".into(), detail: "it did not encrypt".into() };
        let body = out.get_mut(HEAD_BYTES..).ok_or_else(failed)?;
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(counter), Aad::from(aad.as_slice()), body)
            .map_err(|_| failed())?;
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }
}

impl Sealer {
    /// Errors: `Refused` when the current key is not among the keys; what `draw` says.
    pub fn new(keys: SealerKeys, draw: Draw) -> Result<Self, StorageError> {
        let mut salt = [0; SALT_BYTES];
        draw(&mut salt)?;
        let current = keys.data.get(&keys.current).ok_or_else(|| no_key(keys.current))?;
        let stream = Arc::new(Stream::new((keys.current, current), salt, keys.ring)?);
        Ok(Self {
            alive: Mutex::new(vec![Arc::downgrade(&stream)]),
            ring: keys.ring,
            names: hmac::Key::new(hmac::HMAC_SHA256, keys.names.bytes()),
            keys: RwLock::new(Keys { data: keys.data, current: keys.current, stream }),
            draw,
            ready: Mutex::default(),
            sealed_bytes: AtomicU64::new(0),
        })
    }

    /// Draws salts from the system's randomness.
    pub fn with_system_randomness(keys: SealerKeys) -> Result<Self, StorageError> {
        let draw = |salt: &mut [u8; 32]| {
            aws_lc_rs::rand::fill(salt).map_err(|_| {
                let none = std::io::Error::other("the system gives no randomness");
                StorageError::io("draw", "salt", none)
            })
        };
        Self::new(keys, Box::new(draw))
    }

    /// Id of the data key that seals.
    pub fn current(&self) -> u32 {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).current
    }

    /// Sealed under the current data key by this process, without what was only sealed again: a store larger than the bound
    /// by which keys are changed would otherwise have them changed again and again. Units: bytes.
    pub fn sealed_bytes(&self) -> u64 {
        self.sealed_bytes.load(Ordering::Relaxed)
    }

    /// Seals under `key` from now on; all others still open. It must be in the ring on disk already.
    pub fn use_key(&self, id: u32, key: Key32) -> Result<(), StorageError> {
        let mut salt = [0; SALT_BYTES];
        (self.draw)(&mut salt)?;
        let stream = Arc::new(Stream::new((id, &key), salt, self.ring)?);
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        self.remember(&stream);
        keys.data.insert(id, key);
        keys.current = id;
        keys.stream = stream;
        self.sealed_bytes.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// For one file: a salt of its own.
    pub(crate) fn stream(&self) -> Result<Arc<Stream>, StorageError> {
        let mut salt = [0; SALT_BYTES];
        (self.draw)(&mut salt)?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let current = keys.data.get(&keys.current).ok_or_else(|| no_key(keys.current))?;
        let stream = Arc::new(Stream::new((keys.current, current), salt, self.ring)?);
        // Still under the lock: no key comes into use in between.
        self.remember(&stream);
        Ok(stream)
    }

    fn remember(&self, stream: &Arc<Stream>) {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        alive.retain(|stream| stream.strong_count() > 0);
        alive.push(Arc::downgrade(stream));
    }

    /// To be taken before sealing, and kept until the store has what was sealed.
    pub(crate) fn hold(&self) -> Hold {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        Hold { stream: Arc::clone(&keys.stream) }
    }

    /// What any data key before this one sealed lies in its store by now, and nothing more comes.
    pub fn oldest_in_hand(&self) -> u32 {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = alive.iter().filter_map(Weak::upgrade).map(|stream| stream.data_key);
        streams.min().unwrap_or(0)
    }

    /// Wipes data keys that nothing stored names any more; never the one in use.
    pub fn forget(&self, unused: &BTreeSet<u32>) {
        // In the order in which they are taken to open a piece.
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let current = keys.current;
        keys.data.retain(|id, _| *id == current || !unused.contains(id));
        ready.retain(|(id, _), _| *id == current || !unused.contains(id));
    }

    pub(crate) fn count(&self, bytes: usize) {
        self.sealed_bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A small secret that has a file of its own; `name` is its place.
    pub fn seal_file(&self, name: &str, plain: &[u8]) -> Result<Vec<u8>, StorageError> {
        self.seal(Kind::File, name.as_bytes(), plain)
    }

    /// What [`Sealer::seal_file`] made, in the same place.
    pub fn open_file(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, StorageError> {
        self.open(Kind::File, name.as_bytes(), sealed)
    }

    pub(crate) fn seal(&self, kind: Kind, position: &[u8], plain: &[u8]) -> Result<Vec<u8>, StorageError> {
        let sealed = self.hold().stream.seal(kind, position, plain)?;
        self.count(sealed.len());
        Ok(sealed)
    }

    /// As [`Sealer::seal`], of what lay under another data key before.
    pub(crate) fn seal_again(
        &self,
        kind: Kind,
        position: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, StorageError> {
        self.hold().stream.seal(kind, position, plain)
    }

    /// Errors: `Corrupt`, which tells nothing of what is inside.
    pub(crate) fn open(&self, kind: Kind, position: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StorageError> {
        let corrupt = |detail: String| StorageError::Corrupt { what: format!("sealed {kind:?}"), detail };
        let head = SealedHead::of(sealed).ok_or_else(|| corrupt("it is not sealed, or cut off".into()))?;
        let ready = self.ready(&head)?.ok_or_else(|| {
            corrupt(format!("its data key {} is not in this node's key ring", head.data_key))
        })?;
        let (clear, body) =
            sealed.split_at_checked(HEAD_BYTES).ok_or_else(|| corrupt("it is cut off".into()))?;
        let aad = associated(clear, &self.ring, kind, position);
        let mut plain = body.to_vec();
        let length = ready
            .open_in_place(nonce(head.counter), Aad::from(aad.as_slice()), &mut plain)
            .map_err(|_| corrupt("it was changed, moved, or sealed elsewhere".into()))?
            .len();
        plain.truncate(length);
        Ok(plain)
    }

    fn ready(&self, head: &SealedHead) -> Result<Option<Arc<LessSafeKey>>, StorageError> {
        let place = (head.data_key, head.salt);
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = ready.get(&place) {
            return Ok(Some(Arc::clone(key)));
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let Some(data_key) = keys.data.get(&head.data_key) else { return Ok(None) };
        let key = Arc::new(derive(data_key, &head.salt, &self.ring)?);
        if ready.len() >= READY_MAX {
            ready.clear();
        }
        ready.insert(place, Arc::clone(&key));
        Ok(Some(key))
    }

    /// Stands for `name` where it must not be readable: always the same in one folder, and telling nothing.
    pub(crate) fn pseudonym(&self, name: &[u8]) -> [u8; 16] {
        self.keyed(b"name", name).first_chunk::<16>().copied().unwrap_or_default()
    }

    pub(crate) fn fingerprint(&self, row: &[u8]) -> u64 {
        u64::from_le_bytes(self.keyed(b"row", row).first_chunk::<8>().copied().unwrap_or_default())
    }

    fn keyed(&self, purpose: &[u8], bytes: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.names);
        context.update(&self.ring);
        context.update(&[u8::try_from(purpose.len()).unwrap_or(u8::MAX)]);
        context.update(purpose);
        context.update(bytes);
        context.sign().as_ref().first_chunk::<32>().copied().unwrap_or_default()
    }
}

fn no_key(id: u32) -> StorageError {
    StorageError::Refused { operation: "seal", detail: format!("data key {id} is not in the key ring") }
}

// A record's length on disk is a u32.
const _: () = assert!(LOG_RECORD_BYTES_MAX + SEALED_BYTES < u32::MAX as usize);
