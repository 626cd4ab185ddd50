//! One sled database in one folder, with sled's known defects kept away from its user.
//!
//! - `flush()` ends in `sync_file_range`, which is not durable: [`Store::sync`] adds `fdatasync` of the file `db`.
//! - `flush_async` deadlocks and is not used; the timer that would call `flush` is off.
//! - Values past a quarter of a segment go to files of their own that are never synced. A leaf holds up to about 20
//!   rows (it splits by number, not by size), so segments are 8 MiB: 20 of the largest rows stay below a quarter.
//! - It panics on some damage: every call is guarded and a panic becomes `Corrupt`.
//! - It takes damage anywhere in its file for the torn end of its log: it goes back to the whole state before that
//!   place and says nothing. So after each sync the number of the last synced batch goes to a file of its own,
//!   `synced`; a database that opens at an earlier batch is `Corrupt`.
//! - A dropped database is not closed yet: its writes run on threads of their own, each of which keeps the file, and
//!   with it the lock, until it is done. So whoever opens the folder again waits a moment for the lock.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use only1mcp_domain::limits::ENGINE_CACHE_BYTES_MAX;

use crate::engine::Row;
use crate::error::StorageError;
use crate::files::sync_folder;
use crate::seal::RowGuard;
use crate::sled_rows::{TALLY_KEY, Tally, open_value, rows_end, stored_key};

/// Persisted in sled's own configuration file: cannot be changed for existing data.
const SEGMENT_BYTES: usize = 8 << 20;
const MARK_BYTES: usize = 16;
/// How often, and after which pauses, a database is tried that is still locked.
const LOCK_TRIES_MAX: u32 = 500;
const LOCK_RETRY: Duration = Duration::from_millis(10);

pub(crate) struct Store {
    db: sled::Db,
    /// Opened before anything is written, so that a failed write-back is reported to its `fdatasync`.
    file: File,
    mark: File,
    folder: PathBuf,
    guard: RowGuard,
}

impl Store {
    /// Opens what is there, or makes an empty database with an empty tally, durably.
    pub fn create(folder: &Path, guard: &RowGuard) -> Result<Self, StorageError> {
        let store = Self::open_unchecked(folder, guard)?;
        let mut batch = sled::Batch::default();
        batch.insert(TALLY_KEY, Tally::default().encode(guard)?);
        store.apply(batch)?;
        store.sync(Tally::default())?;
        store.sync_names()?;
        Ok(store)
    }

    /// Opens an existing database, reads every row and compares the tally.
    /// Errors: `Corrupt`, also where the database is not there.
    pub fn open(folder: &Path, guard: &RowGuard) -> Result<(Self, Tally), StorageError> {
        if !folder.join("db").is_file() {
            return Err(StorageError::corrupt(folder, "the file `db` is missing"));
        }
        let store = Self::open_unchecked(folder, guard)?;
        let tally = store.read_tally()?;
        let found = store.count()?;
        if !found.same_rows(tally) {
            let detail = format!("rows lost or gone back: {found:?} found, {tally:?} written");
            return Err(StorageError::corrupt(folder, detail));
        }
        let synced = store.read_mark()?;
        if tally.batch < synced {
            let detail = format!("went back to batch {}, {synced} was synced", tally.batch);
            return Err(StorageError::corrupt(folder, detail));
        }
        // What a killed process had written may be in memory only: it is relied on from here on.
        store.sync(tally)?;
        store.sync_names()?;
        Ok((store, tally))
    }

    /// Whether there is any row at all, whatever the tally says.
    pub fn holds_rows(folder: &Path, guard: &RowGuard) -> Result<bool, StorageError> {
        let empty = Tally::default();
        Ok(folder.join("db").is_file() && !Self::open_unchecked(folder, guard)?.count()?.same_rows(empty))
    }

    fn open_unchecked(folder: &Path, guard: &RowGuard) -> Result<Self, StorageError> {
        let config = sled::Config::new()
            .path(folder)
            .mode(sled::Mode::HighThroughput)
            .cache_capacity(ENGINE_CACHE_BYTES_MAX)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None)
            .use_compression(false);
        let db = guarded(folder, "open", || open_when_let_go(&config))?;
        let path = folder.join("db");
        let file = File::open(&path).map_err(|e| StorageError::io("open", &path, e))?;
        let path = folder.join("synced");
        let mark = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| StorageError::io("open", &path, e))?;
        Ok(Self { db, file, mark, folder: folder.to_path_buf(), guard: guard.clone() })
    }

    /// Number of the last batch known to be synced.
    fn read_mark(&self) -> Result<u64, StorageError> {
        let path = self.folder.join("synced");
        let mut bytes = [0; MARK_BYTES];
        self.mark.read_exact_at(&mut bytes, 0).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => StorageError::corrupt(&path, "too short"),
            _ => StorageError::io("read", &path, e),
        })?;
        let stored = bytes.first_chunk::<8>().map(|b| u64::from_le_bytes(*b));
        stored
            .filter(|batch| encode_mark(*batch) == bytes)
            .ok_or_else(|| StorageError::corrupt(&path, "checksum does not match"))
    }

    fn read_tally(&self) -> Result<Tally, StorageError> {
        let missing = || StorageError::corrupt(&self.folder, "the tally of rows is missing");
        Tally::decode(&self.guard, &self.get(TALLY_KEY)?.ok_or_else(missing)?)
    }

    fn count(&self) -> Result<Tally, StorageError> {
        let mut tally = Tally::default();
        let mut rows = self.db.range(stored_key(b"")..rows_end());
        while let Some((key, stored)) = self.call("scan", || rows.next().transpose())? {
            open_value(&key, &stored)?;
            tally.add(&self.guard, (&key, &stored));
        }
        Ok(tally)
    }

    fn call<T>(
        &self,
        operation: &'static str,
        call: impl FnOnce() -> sled::Result<T>,
    ) -> Result<T, StorageError> {
        guarded(&self.folder, operation, call)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn get(&self, stored_key: &[u8]) -> Result<Option<sled::IVec>, StorageError> {
        self.call("get", || self.db.get(stored_key))
    }

    pub fn apply(&self, batch: sled::Batch) -> Result<(), StorageError> {
        self.call("write", || self.db.apply_batch(batch))
    }

    /// Rows of `from..to`, checked, as stored keys and values without checksum.
    pub fn scan(
        &self,
        from: Vec<u8>,
        to: Vec<u8>,
        limit: usize,
        backwards: bool,
    ) -> Result<Vec<Row>, StorageError> {
        let mut out = Vec::new();
        if from >= to {
            return Ok(out);
        }
        let mut rows = self.db.range(from..to);
        while out.len() < limit {
            let next = self.call("scan", || {
                if backwards { rows.next_back().transpose() } else { rows.next().transpose() }
            })?;
            let Some((key, stored)) = next else { break };
            let value = open_value(&key, &stored)?.to_vec();
            out.push((crate::sled_rows::caller_key(&key).to_vec(), value));
        }
        Ok(out)
    }

    /// Makes everything written durable, up to the batch that wrote `tally`.
    // INVARIANT: P6
    pub fn sync(&self, tally: Tally) -> Result<(), StorageError> {
        self.call("flush", || self.db.flush())?;
        self.file.sync_data().map_err(|e| StorageError::io("fdatasync", self.folder.join("db"), e))?;
        // After the rows, never before; within one sector, so whole or not at all.
        self.mark
            .write_all_at(&encode_mark(tally.batch), 0)
            .and_then(|()| self.mark.sync_data())
            .map_err(|e| StorageError::io("write", self.folder.join("synced"), e))
    }

    /// Makes the names of this database's files durable, and its configuration, which sled never syncs.
    fn sync_names(&self) -> Result<(), StorageError> {
        let path = self.folder.join("conf");
        File::open(&path).and_then(|f| f.sync_all()).map_err(|e| StorageError::io("fsync", &path, e))?;
        sync_folder(&self.folder)
    }

    pub fn size_bytes(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }
}

/// The number twice, once inverted: more than a checksum could tell of 8 bytes.
fn encode_mark(batch: u64) -> [u8; MARK_BYTES] {
    let mut out = [0; MARK_BYTES];
    let (number, inverted) = out.split_at_mut(MARK_BYTES / 2);
    number.copy_from_slice(&batch.to_le_bytes());
    inverted.copy_from_slice(&(!batch).to_le_bytes());
    out
}

/// Opens the database once whoever had it open has let go.
fn open_when_let_go(config: &sled::Config) -> sled::Result<sled::Db> {
    let mut tries = 0;
    loop {
        match config.open() {
            Err(sled::Error::Io(error)) if tries < LOCK_TRIES_MAX && is_locked(&error) => {
                tries += 1;
                std::thread::sleep(LOCK_RETRY);
            }
            result => return result,
        }
    }
}

/// sled wraps the system's error in a text of its own.
fn is_locked(error: &std::io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

fn guarded<T>(
    folder: &Path,
    operation: &'static str,
    call: impl FnOnce() -> sled::Result<T>,
) -> Result<T, StorageError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(e))) => Err(StorageError::io(operation, folder, e)),
        Ok(Err(other)) => Err(StorageError::corrupt(folder, format!("{operation}: {other}"))),
        Err(_) => Err(StorageError::corrupt(folder, format!("{operation}: sled panicked"))),
    }
}
