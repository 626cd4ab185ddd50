//! A node's data folder: who may use it (one process), and where things are in it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::error::StorageError;
use crate::files::{Sealed, sync_folder};

const FORMAT: Sealed = Sealed { kind: "data", version: 1 };
const NODE_ID: Sealed = Sealed { kind: "node-id", version: 1 };
const IDENTITY: Sealed = Sealed { kind: "identity", version: 1 };
const SIGNING_KEY: Sealed = Sealed { kind: "signing-key", version: 1 };
const CHECKPOINTS: Sealed = Sealed { kind: "checkpoints", version: 1 };
const KEY_RING: Sealed = Sealed { kind: "key-ring", version: 1 };
const GENERATIONS: Sealed = Sealed { kind: "generations", version: 1 };

/// An open and locked data folder: `lock`, `format`, `node-id`, `identity`, `key-ring`, `signing-key`,
/// `checkpoints`, and the folders `log/`, `state/`, `journal/`
/// and `segments/`. The lock is held until this is dropped.
#[derive(Debug)]
pub struct DataFolder {
    root: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder when it is not there, and takes it for this process.
    /// Errors: `Locked` when another process has it, `Version`, `Io`.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, StorageError> {
        let root = root.as_ref().to_path_buf();
        make_folder(&root)?;
        let path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| StorageError::io("open", &path, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StorageError::Locked { path: root.display().to_string() });
            }
            Err(TryLockError::Error(e)) => return Err(StorageError::io("lock", &path, e)),
        }
        let folder = Self { root, _lock: lock };
        let format = folder.root.join("format");
        if FORMAT.read(&format)?.is_none() {
            FORMAT.write(&format, b"")?;
        }
        for part in [folder.log(), folder.state(), folder.journal(), folder.segments()] {
            make_folder(&part)?;
        }
        sync_folder(&folder.root)?;
        Ok(folder)
    }

    /// Takes a folder that is there, for looking only: nothing is made, and nothing written.
    /// Errors: `Locked` when a process has it, `Version`, `Corrupt` without its version, `Io`.
    pub fn existing(root: impl AsRef<Path>) -> Result<Self, StorageError> {
        let root = root.as_ref().to_path_buf();
        let path = root.join("lock");
        let lock = File::open(&path).map_err(|e| StorageError::io("open", &path, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StorageError::Locked { path: root.display().to_string() });
            }
            Err(TryLockError::Error(e)) => return Err(StorageError::io("lock", &path, e)),
        }
        let folder = Self { root, _lock: lock };
        let format = folder.root.join("format");
        match FORMAT.read(&format)? {
            Some(_) => Ok(folder),
            None => Err(StorageError::corrupt(&format, "missing")),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Raft's log and vote.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The replicated state's rows.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// Sealed segments of the audit trail.
    pub fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    /// The node id this folder belongs to; `None` before the node has one.
    pub fn node_id(&self) -> Result<Option<u64>, StorageError> {
        let path = self.root.join("node-id");
        let Some(content) = NODE_ID.read(&path)? else { return Ok(None) };
        let id = std::str::from_utf8(&content).ok().and_then(|t| t.trim_end().parse().ok());
        id.map(Some).ok_or_else(|| StorageError::corrupt(&path, "not a number"))
    }

    /// Durable at return.
    pub fn write_node_id(&self, id: u64) -> Result<(), StorageError> {
        NODE_ID.write(&self.root.join("node-id"), format!("{id}\n").as_bytes())
    }

    /// What the node keeps about itself beside its id; opaque here.
    pub fn identity(&self) -> Result<Option<Vec<u8>>, StorageError> {
        IDENTITY.read(&self.root.join("identity"))
    }

    /// What the node signs with, sealed; opaque here. Without the file the node makes itself a new key.
    pub fn signing_key(&self) -> Result<Option<Vec<u8>>, StorageError> {
        SIGNING_KEY.read(&self.root.join("signing-key"))
    }

    /// Durable at return.
    pub fn write_signing_key(&self, content: &[u8]) -> Result<(), StorageError> {
        SIGNING_KEY.write(&self.root.join("signing-key"), content)
    }

    /// What the node signed last of the audit chain, and the newest checkpoint it knows; opaque here.
    pub fn checkpoints(&self) -> Result<Option<Vec<u8>>, StorageError> {
        CHECKPOINTS.read(&self.root.join("checkpoints"))
    }

    /// Durable at return.
    pub fn write_checkpoints(&self, content: &[u8]) -> Result<(), StorageError> {
        CHECKPOINTS.write(&self.root.join("checkpoints"), content)
    }

    /// The node's wrapped data keys; opaque here. `None` in a folder that is not encrypted, or not yet.
    pub fn key_ring(&self) -> Result<Option<Vec<u8>>, StorageError> {
        KEY_RING.read(&self.root.join("key-ring"))
    }

    /// Replaces the key ring; durable at return, never half written.
    pub fn write_key_ring(&self, content: &[u8]) -> Result<(), StorageError> {
        KEY_RING.write(&self.root.join("key-ring"), content)
    }

    /// Keys of generations where nothing is encrypted, and so neither are they; opaque here.
    pub fn generations(&self) -> Result<Option<Vec<u8>>, StorageError> {
        GENERATIONS.read(&self.root.join("generations"))
    }

    /// Replaces them; durable at return, never half written.
    pub fn write_generations(&self, content: &[u8]) -> Result<(), StorageError> {
        GENERATIONS.write(&self.root.join("generations"), content)
    }

    /// Whether log, journal or rows were ever begun here.
    pub fn holds_data(&self) -> bool {
        let begun = [self.log().join("format"), self.journal().join("format"), self.state().join("current")];
        begun.iter().any(|path| path.exists())
    }

    /// Replaces the identity; durable at return, never half written.
    pub fn write_identity(&self, content: &[u8]) -> Result<(), StorageError> {
        IDENTITY.write(&self.root.join("identity"), content)
    }
}

/// Makes `path` and its missing parents, for its owner only, and makes their names durable.
fn make_folder(path: &Path) -> Result<(), StorageError> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| StorageError::io("create folder", path, e))?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}
