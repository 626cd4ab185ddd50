//! [`Engine`] over sled, and which of the databases in a state folder is the current one.
//!
//! A state folder holds `current`, a small sealed file, and the database it names, `rows-<generation>/`.
//! [`Engine::replace_all`] fills a new generation and then names it in `current`, so a crash leaves the old content
//! or the new one, whole. Other generations are leftovers and are removed at open.
//!
//! Iteration in sled is not a snapshot: a scan that runs beside a write may show part of it. The writer is one, and
//! whoever needs a consistent view scans before the next write.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use crate::engine::{Engine, Row, Rows};
use crate::error::StorageError;
use crate::files::{Sealed, sync_folder};
use crate::flushed::lock;
use crate::seal::RowGuard;
use crate::sled_rows::{TALLY_KEY, Tally, check_row, checked, open_value, stored_key, stored_value};
use crate::sled_store::Store;

const CURRENT: Sealed = Sealed { kind: "state", version: 1 };
/// Rows per sled batch while replacing everything.
const REPLACE_BATCH_ROWS: usize = 256;

pub struct SledEngine {
    folder: PathBuf,
    store: RwLock<Arc<Store>>,
    writer: Mutex<Writer>,
    closed: AtomicU8,
    guard: RowGuard,
}

/// Values of `SledEngine::closed`.
const OPEN: u8 = 0;
/// What is stored is damaged; the disk itself did what it was told. Replacing everything opens the engine again.
const DAMAGED: u8 = 1;
/// For good: of a disk that failed nobody knows what it did.
const FAILED: u8 = 2;

struct Writer {
    current: Current,
    tally: Tally,
}

/// What the file `current` says.
#[derive(Clone, Copy)]
struct Current {
    generation: u64,
    complete: bool,
}

impl SledEngine {
    /// Opens the rows in `folder`, reading and checking every one of them.
    /// Errors: `Corrupt` when they cannot be trusted: then [`SledEngine::discard`] them and rebuild.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StorageError> {
        Self::open_guarded(folder, RowGuard::plain())
    }

    /// As [`SledEngine::open`]; `guard` says whose rows they have to be. Always the same one for a folder.
    pub fn open_guarded(folder: impl AsRef<Path>, guard: RowGuard) -> Result<Self, StorageError> {
        let folder = folder.as_ref().to_path_buf();
        std::fs::create_dir_all(&folder).map_err(|e| StorageError::io("create folder", &folder, e))?;
        let (current, store, tally) = match Current::read(&folder)? {
            Some(current) if current.complete => {
                let (store, tally) = Store::open(&rows_folder(&folder, current.generation), &guard)?;
                (current, store, tally)
            }
            Some(current) => (current, make_empty(&folder, current.generation, &guard)?, Tally::default()),
            None => {
                refuse_unnamed_rows(&folder, &guard)?;
                let current = Current { generation: 1, complete: true };
                let store = make_empty(&folder, current.generation, &guard)?;
                current.write(&folder)?;
                (current, store, Tally::default())
            }
        };
        remove_generations(&folder, Some(current.generation))?;
        let writer = Mutex::new(Writer { current, tally });
        let closed = AtomicU8::new(OPEN);
        Ok(Self { folder, store: RwLock::new(Arc::new(store)), writer, closed, guard })
    }

    /// Throws away whatever rows `folder` holds, for content that is damaged or ahead of the log. The next open
    /// gives an empty engine that is not complete, until [`Engine::replace_all`].
    pub fn discard(folder: impl AsRef<Path>) -> Result<(), StorageError> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(|e| StorageError::io("create folder", folder, e))?;
        let generation = generations(folder)?.into_iter().max().unwrap_or(0).saturating_add(1);
        Current { generation, complete: false }.write(folder)?;
        remove_generations(folder, None)
    }

    fn store(&self) -> Result<Arc<Store>, StorageError> {
        if self.closed.load(Ordering::Acquire) != OPEN {
            return Err(StorageError::Closed);
        }
        self.store.read().map(|s| Arc::clone(&s)).map_err(|_| StorageError::Closed)
    }

    /// Runs one operation; any failure closes the engine.
    fn run<T>(&self, operation: impl FnOnce(&Store) -> Result<T, StorageError>) -> Result<T, StorageError> {
        self.noted(operation(&*self.store()?))
    }

    fn noted<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        match &result {
            // Of rows that are to replace those that are here, and are read from them.
            Err(StorageError::Closed) => {}
            Err(StorageError::Corrupt { .. }) => {
                self.closed.fetch_max(DAMAGED, Ordering::AcqRel);
            }
            Err(error) if error.closes() => self.closed.store(FAILED, Ordering::Release),
            _ => {}
        }
        result
    }

    fn replace(
        &self,
        writer: &mut Writer,
        rows: Box<dyn Iterator<Item = Result<Row, StorageError>> + Send + '_>,
    ) -> Result<(), StorageError> {
        let next = Current { generation: writer.current.generation.saturating_add(1), complete: true };
        let store = make_empty(&self.folder, next.generation, &self.guard)?;
        let mut tally = Tally::default();
        let mut batch = sled::Batch::default();
        let mut batched = 0;
        let mut last: Option<Vec<u8>> = None;
        for row in rows {
            let (key, value) = row?;
            check_row(&key, &value)?;
            let stored_key = stored_key(&key);
            // An ascending key is a new one; any other may replace a row, which then leaves the tally.
            if last.as_ref().is_some_and(|l| *l >= key) {
                store.apply(std::mem::take(&mut batch))?;
                batched = 0;
                if let Some(old) = store.get(&stored_key)? {
                    tally.remove(&self.guard, (&stored_key, &old));
                }
            }
            let stored = stored_value(&stored_key, &value);
            tally.add(&self.guard, (&stored_key, &stored));
            batch.insert(stored_key, stored);
            batched += 1;
            if batched == REPLACE_BATCH_ROWS {
                store.apply(std::mem::take(&mut batch))?;
                batched = 0;
            }
            last = last.max(Some(key));
        }
        batch.insert(TALLY_KEY, tally.encode(&self.guard)?);
        store.apply(batch)?;
        store.sync(tally)?;
        // INVARIANT: P6
        next.write(&self.folder)?;
        *writer = Writer { current: next, tally };
        let old = {
            let mut current = self.store.write().map_err(|_| StorageError::Closed)?;
            std::mem::replace(&mut *current, Arc::new(store))
        };
        let old_folder = old.folder().to_path_buf();
        drop(old);
        remove_folder(&old_folder)
    }
}

impl Engine for SledEngine {
    fn write(&self, rows: Rows, durable: bool) -> Result<(), StorageError> {
        let rows = checked(rows)?;
        let mut writer = lock(&self.writer)?;
        if !writer.current.complete {
            let detail = "the content is incomplete and has to be replaced first".to_owned();
            return Err(StorageError::Refused { operation: "write", detail });
        }
        self.run(|store| {
            let mut tally = writer.tally;
            tally.batch = tally.batch.saturating_add(1);
            let mut batch = sled::Batch::default();
            for (key, value) in &rows {
                let key = stored_key(key);
                if let Some(old) = store.get(&key)? {
                    open_value(&key, &old)?;
                    tally.remove(&self.guard, (&key, &old));
                }
                match value {
                    Some(value) => {
                        let stored = stored_value(&key, value);
                        tally.add(&self.guard, (&key, &stored));
                        batch.insert(key, stored);
                    }
                    None => batch.remove(key),
                }
            }
            batch.insert(TALLY_KEY, tally.encode(&self.guard)?);
            store.apply(batch)?;
            writer.tally = tally;
            if durable { store.sync(tally) } else { Ok(()) }
        })
    }

    fn sync(&self) -> Result<(), StorageError> {
        let writer = lock(&self.writer)?;
        self.run(|store| store.sync(writer.tally))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.run(|store| {
            let key = stored_key(key);
            let Some(stored) = store.get(&key)? else { return Ok(None) };
            Ok(Some(open_value(&key, &stored)?.to_vec()))
        })
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        self.run(|store| store.scan(stored_key(from), stored_key(to), limit, false))
    }

    fn scan_back(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        self.run(|store| store.scan(stored_key(from), stored_key(to), limit, true))
    }

    fn replace_with(
        &self,
        rows: Box<dyn Iterator<Item = Result<Row, StorageError>> + Send + '_>,
    ) -> Result<(), StorageError> {
        let mut writer = lock(&self.writer)?;
        if self.closed.load(Ordering::Acquire) == FAILED {
            return Err(StorageError::Closed);
        }
        // INVARIANT: P6: what is damaged goes with all the rest.
        self.noted(self.replace(&mut writer, rows))?;
        // Unless the disk failed meanwhile, for somebody who was reading.
        let damaged = self.closed.compare_exchange(DAMAGED, OPEN, Ordering::AcqRel, Ordering::Acquire);
        if damaged == Err(FAILED) { Err(StorageError::Closed) } else { Ok(()) }
    }

    fn stored_tally(&self) -> Result<Option<Vec<u8>>, StorageError> {
        self.run(|store| {
            let stored = store.get(TALLY_KEY)?;
            stored.map(|stored| Ok(open_value(TALLY_KEY, &stored)?.to_vec())).transpose()
        })
    }

    fn is_complete(&self) -> Result<bool, StorageError> {
        Ok(lock(&self.writer)?.current.complete)
    }

    fn size_bytes(&self) -> u64 {
        self.store().map_or(0, |s| s.size_bytes())
    }
}

impl Current {
    fn read(folder: &Path) -> Result<Option<Self>, StorageError> {
        let path = folder.join("current");
        let Some(content) = CURRENT.read(&path)? else { return Ok(None) };
        let text = std::str::from_utf8(&content).unwrap_or_default().trim_end();
        let parsed = text.split_once(' ').and_then(|(generation, complete)| {
            let complete = match complete {
                "complete" => true,
                "incomplete" => false,
                _ => return None,
            };
            Some(Self { generation: generation.parse().ok()?, complete })
        });
        parsed.map(Some).ok_or_else(|| StorageError::corrupt(&path, "cannot be read"))
    }

    fn write(self, folder: &Path) -> Result<(), StorageError> {
        let word = if self.complete { "complete" } else { "incomplete" };
        CURRENT.write(&folder.join("current"), format!("{} {word}\n", self.generation).as_bytes())
    }
}

fn rows_folder(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("rows-{generation}"))
}

/// A new and empty database in the place of whatever an interrupted attempt left there.
fn make_empty(folder: &Path, generation: u64, guard: &RowGuard) -> Result<Store, StorageError> {
    let path = rows_folder(folder, generation);
    remove_folder(&path)?;
    let store = Store::create(&path, guard)?;
    sync_folder(folder)?;
    Ok(store)
}

/// Before `current` is written for the first time no row is; rows without it mean that it was lost.
fn refuse_unnamed_rows(folder: &Path, guard: &RowGuard) -> Result<(), StorageError> {
    let unnamed = generations(folder)?;
    let path = rows_folder(folder, 1);
    let unfinished_start = match unnamed.as_slice() {
        [] => true,
        [1] => !Store::holds_rows(&path, guard)?,
        _ => false,
    };
    if unfinished_start {
        return Ok(());
    }
    Err(StorageError::corrupt(folder.join("current"), "missing, but there are rows"))
}

fn generations(folder: &Path) -> Result<Vec<u64>, StorageError> {
    let failed = |e| StorageError::io("list", folder, e);
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        out.extend(name.to_str().and_then(|n| n.strip_prefix("rows-")).and_then(|n| n.parse::<u64>().ok()));
    }
    Ok(out)
}

fn remove_generations(folder: &Path, keep: Option<u64>) -> Result<(), StorageError> {
    for generation in generations(folder)?.into_iter().filter(|g| Some(*g) != keep) {
        remove_folder(&rows_folder(folder, generation))?;
    }
    Ok(())
}

fn remove_folder(path: &Path) -> Result<(), StorageError> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(StorageError::io("remove", path, e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(folder: &Path) -> SledEngine {
        let engine = SledEngine::open(folder).unwrap();
        let rows = [b"a", b"b"].map(|key| (key.to_vec(), Some(vec![7; 40])));
        engine.write(rows.into(), true).unwrap();
        engine
    }

    /// One bit of a row is another, below an engine that is open.
    fn rot(engine: &SledEngine, key: &[u8]) {
        let (store, key) = (engine.store().unwrap(), stored_key(key));
        let mut stored = store.get(&key).unwrap().unwrap().to_vec();
        stored[20] ^= 1;
        let mut batch = sled::Batch::default();
        batch.insert(key, stored);
        store.apply(batch).unwrap();
    }

    fn anew() -> Box<dyn Iterator<Item = Row> + Send> {
        Box::new([(b"c".to_vec(), vec![8])].into_iter())
    }

    #[test]
    fn a_row_that_rots_below_an_open_engine_closes_it_until_all_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        rot(&engine, b"b");
        assert!(matches!(engine.scan(b"", b"~", 9), Err(StorageError::Corrupt { .. })));
        assert!(matches!(engine.get(b"a"), Err(StorageError::Closed)));
        assert!(matches!(engine.write(vec![(b"a".to_vec(), None)], true), Err(StorageError::Closed)));
        engine.replace_all(anew()).unwrap();
        assert_eq!(engine.scan(b"", b"~", 9).unwrap(), vec![(b"c".to_vec(), vec![8])]);
        engine.write(vec![(b"d".to_vec(), Some(vec![9]))], true).unwrap();
        drop(engine);
        assert_eq!(SledEngine::open(folder.path()).unwrap().scan(b"", b"~", 9).unwrap().len(), 2);
    }

    /// What replaces the rows may be read from them.
    #[test]
    fn rot_that_is_found_while_replacing_leaves_the_engine_closed() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        rot(&engine, b"b");
        let own = engine.scan(b"a", b"a~", 9).unwrap().into_iter().map(Ok);
        let rotten = std::iter::once_with(|| engine.get(b"b").map(|_| (b"b".to_vec(), Vec::new())));
        assert!(matches!(
            engine.replace_with(Box::new(own.chain(rotten))),
            Err(StorageError::Corrupt { .. })
        ));
        assert!(matches!(engine.get(b"a"), Err(StorageError::Closed)));
        engine.replace_all(anew()).unwrap();
        assert_eq!(engine.get(b"c").unwrap(), Some(vec![8]));
    }

    #[test]
    fn a_disk_that_failed_takes_nothing_more() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        let failed = StorageError::io("flush", folder.path(), std::io::Error::other("EIO"));
        assert!(engine.run::<()>(|_| Err(failed)).is_err());
        assert!(matches!(engine.replace_all(anew()), Err(StorageError::Closed)));
        // As damage would that is found afterwards.
        assert!(engine.noted::<()>(Err(StorageError::corrupt(folder.path(), "rot"))).is_err());
        assert!(matches!(engine.replace_all(anew()), Err(StorageError::Closed)));
        drop(engine);
        assert_eq!(SledEngine::open(folder.path()).unwrap().get(b"a").unwrap(), Some(vec![7; 40]));
    }
}
