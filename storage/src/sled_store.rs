//! One sled database in one folder, with sled's known defects kept away from its user.
//!
//! - `flush()` ends in `sync_file_range`, which is not durable: [`Store::sync`] adds `fdatasync` of the file `db`.
//! - `flush_async` deadlocks and is not used; the timer that would call `flush` is off.
//! - Values past a quarter of a segment go to files of their own that are never synced. A leaf holds up to about 20
//!   rows (it splits by number, not by size), so segments are 8 MiB: 20 of the largest rows stay below a quarter.
//! - It panics on some damage: every call is guarded and a panic becomes `Corrupt`.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use only1mcp_domain::limits::ENGINE_CACHE_BYTES_MAX;

use crate::error::StorageError;
use crate::files::sync_folder;
use crate::sled_rows::{TALLY_KEY, Tally, open_value, rows_end, stored_key};

/// Persisted in sled's own configuration file: cannot be changed for existing data.
const SEGMENT_BYTES: usize = 8 << 20;

pub(crate) struct Store {
    db: sled::Db,
    /// Opened before anything is written, so that a failed write-back is reported to its `fdatasync`.
    file: File,
    folder: PathBuf,
}

impl Store {
    /// Opens what is there, or makes an empty database with an empty tally, durably.
    pub fn create(folder: &Path) -> Result<Self, StorageError> {
        let store = Self::open_unchecked(folder)?;
        let mut batch = sled::Batch::default();
        batch.insert(TALLY_KEY, Tally::default().encode());
        store.apply(batch)?;
        store.sync()?;
        store.sync_names()?;
        Ok(store)
    }

    /// Opens an existing database, reads every row and compares the tally.
    /// Errors: `Corrupt`, also where the database is not there.
    pub fn open(folder: &Path) -> Result<(Self, Tally), StorageError> {
        if !folder.join("db").is_file() {
            return Err(StorageError::corrupt(folder, "the file `db` is missing"));
        }
        let store = Self::open_unchecked(folder)?;
        let tally = store.read_tally()?;
        let found = store.count()?;
        if found != tally {
            let detail = format!("rows lost or gone back: {found:?} found, {tally:?} written");
            return Err(StorageError::corrupt(folder, detail));
        }
        // What a killed process had written may be in memory only: it is relied on from here on.
        store.sync()?;
        store.sync_names()?;
        Ok((store, tally))
    }

    /// Whether there is any row at all, whatever the tally says.
    pub fn holds_rows(folder: &Path) -> Result<bool, StorageError> {
        Ok(folder.join("db").is_file() && Self::open_unchecked(folder)?.count()? != Tally::default())
    }

    fn open_unchecked(folder: &Path) -> Result<Self, StorageError> {
        let config = sled::Config::new()
            .path(folder)
            .mode(sled::Mode::HighThroughput)
            .cache_capacity(ENGINE_CACHE_BYTES_MAX)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None)
            .use_compression(false);
        let db = guard(folder, "open", || config.open())?;
        let path = folder.join("db");
        let file = File::open(&path).map_err(|e| StorageError::io("open", &path, e))?;
        Ok(Self { db, file, folder: folder.to_path_buf() })
    }

    fn read_tally(&self) -> Result<Tally, StorageError> {
        let missing = || StorageError::corrupt(&self.folder, "the tally of rows is missing");
        Tally::decode(&self.get(TALLY_KEY)?.ok_or_else(missing)?)
    }

    fn count(&self) -> Result<Tally, StorageError> {
        let mut tally = Tally::default();
        let mut rows = self.db.range(stored_key(b"")..rows_end());
        while let Some((key, stored)) = self.guard("scan", || rows.next().transpose())? {
            open_value(&key, &stored)?;
            tally.add(&stored);
        }
        Ok(tally)
    }

    fn guard<T>(&self, operation: &'static str, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StorageError> {
        guard(&self.folder, operation, call)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn get(&self, stored_key: &[u8]) -> Result<Option<sled::IVec>, StorageError> {
        self.guard("get", || self.db.get(stored_key))
    }

    pub fn apply(&self, batch: sled::Batch) -> Result<(), StorageError> {
        self.guard("write", || self.db.apply_batch(batch))
    }

    /// Rows of `from..to`, checked, as stored keys and values without checksum.
    pub fn scan(
        &self,
        from: Vec<u8>,
        to: Vec<u8>,
        limit: usize,
        backwards: bool,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StorageError> {
        let mut out = Vec::new();
        if from >= to {
            return Ok(out);
        }
        let mut rows = self.db.range(from..to);
        while out.len() < limit {
            let next = self.guard("scan", || {
                if backwards { rows.next_back().transpose() } else { rows.next().transpose() }
            })?;
            let Some((key, stored)) = next else { break };
            let value = open_value(&key, &stored)?.to_vec();
            out.push((crate::sled_rows::caller_key(&key).to_vec(), value));
        }
        Ok(out)
    }

    // INVARIANT: P6
    pub fn sync(&self) -> Result<(), StorageError> {
        self.guard("flush", || self.db.flush())?;
        self.file.sync_data().map_err(|e| StorageError::io("fdatasync", self.folder.join("db"), e))
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

fn guard<T>(
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
