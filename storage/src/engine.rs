//! The row store's interface: what the state machine needs of a disk, and no more.

use std::collections::BTreeSet;

use crate::error::{StorageError, untold};

/// Rows to write; `None` deletes.
pub type Rows = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A row as it was read: key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// An ordered map of bytes on disk. One writer. Every row carries a checksum, checked at each read.
pub trait Engine: Send + Sync + 'static {
    /// Writes all rows or none. When `durable`, they are on disk at return; otherwise a later durable write or
    /// [`Engine::sync`] makes them so, in order.
    /// Errors: `TooLarge` and `Refused` change nothing; after any other the engine is closed.
    fn write(&self, rows: Rows, durable: bool) -> Result<(), StorageError>;

    /// Makes everything written so far durable.
    fn sync(&self) -> Result<(), StorageError>;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// At most `limit` rows with `from <= key < to`, ascending. Not a snapshot: a write at the same time may show in
    /// part.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StorageError>;

    /// At most `limit` rows with `from <= key < to`, descending from `to`.
    fn scan_back(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StorageError>;

    /// Replaces everything by `rows` (fastest when they ascend by key), durably. A crash in between leaves the old content as it
    /// was, or the store marked incomplete: [`Engine::is_complete`] is false at the next start.
    fn replace_all(&self, rows: Box<dyn Iterator<Item = Row> + Send + '_>) -> Result<(), StorageError> {
        self.replace_with(Box::new(rows.map(Ok)))
    }

    /// As [`Engine::replace_all`], for rows whose reading may fail: at the first error nothing is replaced.
    fn replace_with(
        &self,
        rows: Box<dyn Iterator<Item = Result<Row, StorageError>> + Send + '_>,
    ) -> Result<(), StorageError>;

    /// False after an interrupted `replace_all` and after content was discarded as damaged: the store is empty and
    /// refuses writes until `replace_all`.
    fn is_complete(&self) -> Result<bool, StorageError>;

    /// Bytes used on disk, roughly.
    fn size_bytes(&self) -> u64;

    /// Seals again, under the key in use, those of the next `limit` rows behind `after` that lie under another; not
    /// durable before [`Engine::sync`]. Nothing is to be done where nothing is sealed.
    fn reseal(&self, after: &[u8], limit: usize) -> Result<Resealed, StorageError> {
        let _ = (after, limit);
        Ok(Resealed::default())
    }

    /// The data keys that the next `limit` rows behind `after` name; in the last step that of the tally of rows, too.
    fn sealed_under(&self, after: &[u8], limit: usize) -> Result<SealedUnder, StorageError> {
        let _ = (after, limit);
        Err(untold("row store"))
    }

    /// The tally of rows as it is stored, where there is one.
    fn stored_tally(&self) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(None)
    }
}

/// Which data keys rows name, step by step.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SealedUnder {
    /// Behind which the next step begins; `None` at the end.
    pub next: Option<Vec<u8>>,
    /// Looked at.
    pub rows: usize,
    pub keys: BTreeSet<u32>,
}

/// How far sealing again has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resealed {
    /// Behind which the next step begins; `None` at the end.
    pub next: Option<Vec<u8>>,
    /// Looked at.
    pub rows: usize,
    /// Written anew. Units: bytes.
    pub bytes: usize,
}
