//! Shared by the suites: waiting for callbacks, copying and damaging folders.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use std::sync::Arc;

use only1mcp_storage::{Flushed, Key32, Sealer, SealerKeys, StorageError};

/// A callback and the place its result arrives.
pub fn waiter() -> (Flushed, Receiver<Result<(), StorageError>>) {
    let (tx, rx) = channel();
    (Box::new(move |result| drop(tx.send(result))), rx)
}

pub fn ignore() -> Flushed {
    Box::new(|_| ())
}

/// Appends by `append` and waits until the bytes are on disk.
pub fn durably<T>(append: impl FnOnce(Flushed) -> Result<T, StorageError>) -> T {
    let (flushed, wait) = waiter();
    let out = append(flushed).unwrap();
    wait.recv().unwrap().unwrap();
    out
}

pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub fn is_corrupt<T>(result: &Result<T, StorageError>) -> bool {
    matches!(result, Err(StorageError::Corrupt { .. }))
}

/// Files in `folder` whose names end so, in order.
pub fn files(folder: &Path, suffix: &str) -> Vec<std::path::PathBuf> {
    let mut out: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    out.retain(|p| p.to_str().unwrap().ends_with(suffix));
    out.sort();
    out
}

/// Keys of one node: those of another `ring` are others.
pub fn keys(ring: u8) -> SealerKeys {
    let key = |byte: u8| Key32::take(&mut [byte ^ ring; 32]);
    let data = [(1, key(0x11)), (2, key(0x22))].into();
    SealerKeys {
        ring: [ring; 16],
        data,
        current: 2,
        names: key(0x33),
        generations: std::collections::BTreeMap::new(),
    }
}

/// As at the start of a process.
pub fn sealer(ring: u8) -> Arc<Sealer> {
    Arc::new(Sealer::with_system_randomness(keys(ring)).unwrap())
}
