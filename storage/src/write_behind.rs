//! [`WriteBehind`]: an engine in front of another that gathers what is written and hands it on a few times a second.
//!
//! Rows written without `durable` may be lost in a crash anyway: the log still holds what they came from. So there is
//! no hurry to give each of them to the database, and the rows that every entry rewrites need to go only once. What is
//! handed on is always everything gathered so far, in one batch: the database stands at one index, as before. Whoever
//! reads has it handed on first.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::engine::{Engine, Resealed, Row, Rows, SealedUnder};
use crate::error::StorageError;
use crate::flushed::lock;
use crate::seal::check_plain_row;

/// How long a row waits for company.
const LINGER: Duration = Duration::from_millis(200);
/// Gathered rows are handed on at once when they hold more than this.
const GATHERED_BYTES_MAX: usize = 4 << 20;

/// See the module's own words. Dropping it hands on what is left.
pub struct WriteBehind<E: Engine> {
    shared: Arc<Shared<E>>,
    writer: Option<JoinHandle<()>>,
}

struct Shared<E> {
    inner: E,
    gathered: Mutex<Gathered>,
    /// Held while gathered rows go to `inner`, so that no batch overtakes another.
    handing_on: Mutex<()>,
    wake: Condvar,
}

#[derive(Default)]
struct Gathered {
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
    /// `inner` is known to take writes.
    complete: bool,
    failed: Option<StorageError>,
    stop: bool,
}

impl Gathered {
    fn check(&self) -> Result<(), StorageError> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}

impl<E: Engine> WriteBehind<E> {
    /// Errors: the thread that hands rows on could not be started.
    pub fn new(inner: E) -> Result<Self, StorageError> {
        let shared = Arc::new(Shared {
            inner,
            gathered: Mutex::default(),
            handing_on: Mutex::default(),
            wake: Condvar::new(),
        });
        let writer = std::thread::Builder::new()
            .name("rows-write".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.run()
            })
            .map_err(|e| StorageError::io("start thread for", std::path::Path::new("the rows"), e))?;
        Ok(Self { shared, writer: Some(writer) })
    }
}

impl<E: Engine> Shared<E> {
    fn gathered(&self) -> Result<MutexGuard<'_, Gathered>, StorageError> {
        lock(&self.gathered)
    }

    fn run(&self) {
        loop {
            let Ok(mut gathered) = self.gathered() else { return };
            while gathered.rows.is_empty() && !gathered.stop {
                let Ok(woken) = self.wake.wait(gathered) else { return };
                gathered = woken;
            }
            if gathered.stop {
                return;
            }
            let Ok((gathered, _)) = self.wake.wait_timeout_while(gathered, LINGER, |g| !g.stop) else {
                return;
            };
            drop(gathered);
            // A failure is kept, and told to the next writer.
            let _ = self.hand_on(false);
        }
    }

    /// Gives everything gathered so far to `inner`.
    fn hand_on(&self, durable: bool) -> Result<(), StorageError> {
        let _alone = lock(&self.handing_on)?;
        let rows: Rows = {
            let mut gathered = self.gathered()?;
            gathered.check()?;
            gathered.bytes = 0;
            std::mem::take(&mut gathered.rows).into_iter().collect()
        };
        let result = match (rows.is_empty(), durable) {
            (true, false) => Ok(()),
            (true, true) => self.inner.sync(),
            (false, _) => self.inner.write(rows, durable),
        };
        if let Err(error) = &result {
            // What was taken out is gone: nothing may come after it.
            self.gathered()?.failed = Some(error.clone());
        }
        result
    }

    fn read<T>(&self, read: impl FnOnce(&E) -> Result<T, StorageError>) -> Result<T, StorageError> {
        self.hand_on(false)?;
        read(&self.inner)
    }

    /// Takes rows in; true when they should be handed on at once.
    fn gather(&self, rows: Rows) -> Result<bool, StorageError> {
        let mut gathered = self.gathered()?;
        gathered.check()?;
        if !gathered.complete {
            if !self.inner.is_complete()? {
                let detail = "the content is incomplete and has to be replaced first".to_owned();
                return Err(StorageError::Refused { operation: "write", detail });
            }
            gathered.complete = true;
        }
        for (key, value) in &rows {
            check_plain_row(key, value.as_deref().unwrap_or_default())?;
        }
        let was_empty = gathered.rows.is_empty();
        for (key, value) in rows {
            gathered.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            gathered.rows.insert(key, value);
        }
        if was_empty {
            self.wake.notify_one();
        }
        Ok(gathered.bytes > GATHERED_BYTES_MAX)
    }
}

impl<E: Engine> Engine for WriteBehind<E> {
    fn write(&self, rows: Rows, durable: bool) -> Result<(), StorageError> {
        let full = self.shared.gather(rows)?;
        if durable || full { self.shared.hand_on(durable) } else { Ok(()) }
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.shared.hand_on(true)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.shared.read(|inner| inner.get(key))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        self.shared.read(|inner| inner.scan(from, to, limit))
    }

    fn scan_back(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        self.shared.read(|inner| inner.scan_back(from, to, limit))
    }

    fn replace_with(
        &self,
        rows: Box<dyn Iterator<Item = Result<Row, StorageError>> + Send + '_>,
    ) -> Result<(), StorageError> {
        let _alone = lock(&self.shared.handing_on)?;
        {
            let mut gathered = self.shared.gathered()?;
            gathered.check()?;
            gathered.rows.clear();
            gathered.bytes = 0;
            gathered.complete = false;
        }
        self.shared.inner.replace_with(rows)
    }

    /// What is gathered meanwhile is newer, and goes to the database after it.
    fn reseal(&self, after: &[u8], limit: usize) -> Result<Resealed, StorageError> {
        let _alone = lock(&self.shared.handing_on)?;
        self.shared.gathered()?.check()?;
        self.shared.inner.reseal(after, limit)
    }

    fn sealed_under(&self, after: &[u8], limit: usize) -> Result<SealedUnder, StorageError> {
        self.shared.read(|inner| inner.sealed_under(after, limit))
    }

    fn stored_tally(&self) -> Result<Option<Vec<u8>>, StorageError> {
        self.shared.read(Engine::stored_tally)
    }

    fn is_complete(&self) -> Result<bool, StorageError> {
        self.shared.inner.is_complete()
    }

    fn size_bytes(&self) -> u64 {
        self.shared.inner.size_bytes()
    }
}

impl<E: Engine> Drop for WriteBehind<E> {
    fn drop(&mut self) {
        if let Ok(mut gathered) = self.shared.gathered.lock() {
            gathered.stop = true;
        }
        self.shared.wake.notify_all();
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
        // As far as it goes: what is lost here the log still holds.
        let _ = self.shared.hand_on(false);
    }
}
