//! Key-encryption keys in a file on the node's host: for small installations and `dev`.
//!
//! The file protects against a disk that is taken away without it, so it belongs on another one than the data. It is
//! readable by its owner alone, and refused otherwise. It holds several keys: the current one wraps, the others still
//! unwrap what they wrapped.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::{BoxFuture, ready};
use only1mcp_storage::Key32;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::context::KeyContext;
use crate::provider::{KeyError, KeyProvider, NewKey, Provided, Wrapped, WrappedApart};
use crate::wrap;

const FORMAT: u32 = 1;
/// A file of keys is no longer than this.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// The same, for what is rendered.
const FILE_CAPACITY: usize = 64 << 10;
/// Who changes the file has its folder for a moment only.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
const NAME: &str = "the key file";
/// How ids of keys begin that were made for one thing, and go with it.
const APART: &str = "own-";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    /// The id of the key that wraps.
    current: String,
    keys: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    /// 32 bytes, base64.
    key: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// The keys of one file.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    keys: RwLock<Keys>,
}

#[derive(Debug)]
struct Keys {
    current: String,
    keys: Vec<(String, Key32)>,
}

fn failed(path: &Path, detail: impl ToString) -> KeyError {
    KeyError::File { path: path.display().to_string(), detail: detail.to_string() }
}

impl KeyFile {
    /// Makes a file with one new key.
    /// Errors: `File`, also when there is one: a key that data was wrapped under is not to be lost.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        let entry = new_entry(path)?;
        let content = Content { format: FORMAT, current: entry.id.clone(), keys: vec![entry] };
        let text = render(path, &content)?;
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(&text)?;
            file.sync_all()
        };
        write().map_err(|error| failed(path, error))?;
        sync_parent(path)?;
        Self::parse(path, &content)
    }

    /// Adds a new key, which wraps from now on; the others stay.
    pub fn add_key(path: &Path) -> Result<Self, KeyError> {
        let entry = new_entry(path)?;
        let content = change(path, |content| {
            content.current.clone_from(&entry.id);
            content.keys.push(entry);
            Ok(())
        })?;
        Self::parse(path, &content)
    }

    /// Removes a key for ever: what it wrapped does not open any more.
    /// Errors: `Refused` for the one that wraps.
    pub fn remove_key(path: &Path, id: &str) -> Result<Self, KeyError> {
        let content = change(path, |content| {
            if content.current == id {
                let detail = format!("key {id} wraps: add another first");
                return Err(KeyError::Refused { provider: NAME, detail });
            }
            content.keys.retain(|entry| entry.id != id);
            Ok(())
        })?;
        Self::parse(path, &content)
    }

    /// Errors: `File` when it cannot be read, is open to others than its owner, belongs to somebody else, or holds
    /// something else than keys.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        Self::parse(path, &read(path)?)
    }

    fn parse(path: &Path, content: &Content) -> Result<Self, KeyError> {
        let mut keys: Vec<(String, Key32)> = Vec::new();
        for entry in &content.keys {
            let bytes = STANDARD.decode(&entry.key).map(Zeroizing::new);
            let key = bytes.ok().and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
            let mut key =
                key.ok_or_else(|| failed(path, format!("key {} is not 32 bytes in base64", entry.id)))?;
            if keys.iter().any(|(id, _)| *id == entry.id) {
                return Err(failed(path, format!("there are two keys {}", entry.id)));
            }
            keys.push((entry.id.clone(), Key32::take(&mut key)));
        }
        if !keys.iter().any(|(id, _)| *id == content.current) {
            return Err(failed(path, format!("its current key {} is not in it", content.current)));
        }
        let keys = RwLock::new(Keys { current: content.current.clone(), keys });
        Ok(Self { path: path.to_path_buf(), keys })
    }

    fn keys(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what `other` read.
    fn become_like(&self, other: Self) {
        let theirs = other.keys.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = theirs;
    }

    /// The id of the key that wraps.
    pub fn current(&self) -> String {
        self.keys().current.clone()
    }

    /// The ids of all keys, in the order of the file.
    pub fn ids(&self) -> Vec<String> {
        self.keys().keys.iter().map(|(id, _)| id.clone()).collect()
    }

    fn find(&self, id: &str) -> Result<Key32, KeyError> {
        let found = self.keys().keys.iter().find(|(own, _)| own == id).map(|(_, key)| key.clone());
        found.ok_or_else(|| KeyError::Refused { provider: NAME, detail: format!("it holds no key {id}") })
    }

    fn wrapped(&self, plain: &Key32, context: &KeyContext) -> Result<Wrapped, KeyError> {
        self.wrapped_by(self.current(), plain, context)
    }

    fn wrapped_by(&self, id: String, plain: &Key32, context: &KeyContext) -> Result<Wrapped, KeyError> {
        let outer = self.find(&id)?;
        let bytes = wrap::wrap(&outer, plain, &context.bytes()).map_err(|_| no_cipher())?;
        Ok(Wrapped { provider: Provided::File, key: id, bytes })
    }

    /// By a key that stands in the file besides the one that wraps, as long as what it wraps is wanted.
    fn wrapped_apart(&self, plain: &Key32, context: &KeyContext) -> Result<WrappedApart, KeyError> {
        let entry = new_entry(&self.path)?;
        let id = format!("{APART}{}", entry.id);
        let added = change(&self.path, |content| {
            content.keys.push(Entry { id: id.clone(), key: entry.key.clone() });
            Ok(())
        });
        match added.and_then(|content| Self::parse(&self.path, &content)) {
            Ok(now) => {
                self.become_like(now);
                Ok(WrappedApart { wrapped: self.wrapped_by(id, plain, context)?, own: true })
            }
            Err(error) => {
                tracing::warn!(
                    code = "KEY_NOT_APART", %error,
                    "the key file cannot be changed: the generation's key is wrapped by the key that wraps all others"
                );
                Ok(WrappedApart { wrapped: self.wrapped(plain, context)?, own: false })
            }
        }
    }

    fn destroyed(&self, id: &str) -> Result<u64, KeyError> {
        if !id.starts_with(APART) {
            let detail = format!("key {id} was not made for one purpose");
            return Err(KeyError::Refused { provider: NAME, detail });
        }
        self.become_like(Self::remove_key(&self.path, id)?);
        Ok(0)
    }

    fn new_key(&self, context: &KeyContext) -> Result<NewKey, KeyError> {
        let plain = wrap::random_key().map_err(|_| no_cipher())?;
        let wrapped = self.wrapped(&plain, context)?;
        Ok(NewKey { plain, wrapped })
    }

    fn unwrapped(&self, wrapped: &Wrapped, context: &KeyContext) -> Result<Key32, KeyError> {
        let outer = self.find(&wrapped.key)?;
        wrap::unwrap(&outer, &wrapped.bytes, &context.bytes()).map_err(|_| KeyError::Wrong {
            provider: NAME,
            detail: "it was changed, or made for another node or purpose".into(),
        })
    }
}

/// Locks the file's folder, which goes with `folder`.
/// Errors: `File`, where another process keeps it locked.
fn alone(path: &Path, folder: &File) -> Result<(), KeyError> {
    for _ in 0..LOCK_TRIES {
        match folder.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(failed(path, error)),
        }
    }
    Err(failed(path, "another process keeps its folder locked: end that one, or try again"))
}

/// Reads the file, changes it, and puts the new one in its place, durably; one process at a time.
fn change(path: &Path, with: impl FnOnce(&mut Content) -> Result<(), KeyError>) -> Result<Content, KeyError> {
    let folder = File::open(parent(path)).map_err(|error| failed(path, error))?;
    alone(path, &folder)?;
    let mut content = read(path)?;
    with(&mut content)?;
    let text = render(path, &content)?;
    let long = u64::try_from(text.len()).unwrap_or(u64::MAX);
    if long > FILE_BYTES_MAX {
        return Err(failed(path, "it holds too many keys: remove those that wrap nothing"));
    }
    let temporary = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        // What an interrupted attempt left may be readable by others.
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|error| failed(path, error))?;
    sync_parent(path)?;
    Ok(content)
}

fn no_cipher() -> KeyError {
    KeyError::Unavailable { provider: NAME, detail: "the system gives no randomness".into() }
}

fn new_entry(path: &Path) -> Result<Entry, KeyError> {
    let random = |_| failed(path, "the system gives no randomness");
    let key = wrap::random_key().map_err(random)?;
    let mut id = [0; 8];
    aws_lc_rs::rand::fill(&mut id).map_err(random)?;
    let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Entry { id, key: STANDARD.encode(key.bytes()) })
}

fn render(path: &Path, content: &Content) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mut out = Zeroizing::new(Vec::with_capacity(FILE_CAPACITY));
    serde_json::to_writer_pretty(&mut *out, content).map_err(|error| failed(path, error))?;
    Ok(out)
}

fn read(path: &Path) -> Result<Content, KeyError> {
    let mut file = File::open(path).map_err(|error| failed(path, error))?;
    let meta = file.metadata().map_err(|error| failed(path, error))?;
    if meta.mode() & 0o077 != 0 {
        return Err(failed(path, "others than its owner may read or change it: chmod 600"));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(failed(path, "it belongs to another user than the one this runs as"));
    }
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return Err(failed(path, "it is no key file"));
    }
    // As long as the file from the start: what grows leaves copies behind.
    let length = usize::try_from(meta.len()).unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(length.saturating_add(1)));
    file.read_to_string(&mut text).map_err(|error| failed(path, error))?;
    // What is wrong in it may not be told: the message could hold a key.
    let content: Content = serde_json::from_str(&text).map_err(|_| failed(path, "it is no key file"))?;
    if content.format != FORMAT {
        return Err(failed(path, format!("it has format {}; this program reads {FORMAT}", content.format)));
    }
    Ok(content)
}

fn parent(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

fn sync_parent(path: &Path) -> Result<(), KeyError> {
    let parent = parent(path);
    File::open(&parent).and_then(|folder| folder.sync_all()).map_err(|error| failed(&parent, error))
}

impl KeyProvider for KeyFile {
    fn kind(&self) -> Provided {
        Provided::File
    }

    fn generate<'a>(&'a self, context: &'a KeyContext) -> BoxFuture<'a, Result<NewKey, KeyError>> {
        Box::pin(ready(self.new_key(context)))
    }

    fn unwrap<'a>(
        &'a self,
        wrapped: &'a Wrapped,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<Key32, KeyError>> {
        Box::pin(ready(self.unwrapped(wrapped, context)))
    }

    fn wrap<'a>(
        &'a self,
        plain: &'a Key32,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<Wrapped, KeyError>> {
        Box::pin(ready(self.wrapped(plain, context)))
    }

    fn wrap_apart<'a>(
        &'a self,
        plain: &'a Key32,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<WrappedApart, KeyError>> {
        Box::pin(ready(self.wrapped_apart(plain, context)))
    }

    fn destroy<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<u64, KeyError>> {
        Box::pin(ready(self.destroyed(key)))
    }

    fn renew(&self) -> BoxFuture<'_, Result<(), KeyError>> {
        Box::pin(ready(Self::add_key(&self.path).map(|now| self.become_like(now))))
    }

    fn reload(&self) -> Result<(), KeyError> {
        self.become_like(Self::open(&self.path)?);
        Ok(())
    }
}
