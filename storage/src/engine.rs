//! The row store's interface: what the state machine needs of a disk, and no more.

use crate::error::StorageError;

/// Rows to write; `None` deletes.
pub type Rows = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// An ordered map of bytes on disk. One writer. Every row carries a checksum, checked at each read.
pub trait Engine: Send + Sync + 'static {
    /// Writes all rows or none. When `durable`, they are on disk at return; otherwise a later durable write or
    /// [`Engine::sync`] makes them so, in order.
    /// Errors: any I/O failure; the caller must stop using the engine.
    fn write(&self, rows: Rows, durable: bool) -> Result<(), StorageError>;

    /// Makes everything written so far durable.
    fn sync(&self) -> Result<(), StorageError>;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// At most `limit` rows with `from <= key < to`, ascending.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StorageError>;

    /// At most `limit` rows with `from <= key < to`, descending from `to`.
    fn scan_back(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StorageError>;

    /// Replaces everything by `rows`, durably; a crash in between leaves the store marked incomplete, and
    /// [`Engine::is_complete`] false at the next start.
    fn replace_all(&self, rows: Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + Send + '_>) -> Result<(), StorageError>;

    /// False after an interrupted `replace_all`: the content must be rebuilt.
    fn is_complete(&self) -> Result<bool, StorageError>;

    /// Bytes used on disk, roughly.
    fn size_bytes(&self) -> u64;
}
