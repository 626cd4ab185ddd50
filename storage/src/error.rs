//! What can go wrong with bytes on disk.

use std::io;
use std::path::Path;
use std::sync::Arc;

/// `TooLarge` and `Refused` change nothing and leave the store open. Any other of these closes it and stops the node:
/// an I/O error is not a refusal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    #[error("{operation} {path}: {source}")]
    Io { operation: &'static str, path: String, source: Arc<io::Error> },
    #[error("{what} is corrupt: {detail}")]
    Corrupt { what: String, detail: String },
    #[error("{what} is past its bound of {max} bytes")]
    TooLarge { what: &'static str, max: usize },
    #[error("{operation} does not fit what is stored: {detail}")]
    Refused { operation: &'static str, detail: String },
    #[error("the store is closed after an earlier error")]
    Closed,
    #[error("{path} has format version {found}; this program reads {known}")]
    Version { path: String, found: u32, known: u32 },
    #[error("{path} is in use by another process")]
    Locked { path: String },
}

impl StorageError {
    pub fn io(operation: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::Io { operation, path: path.as_ref().display().to_string(), source: Arc::new(source) }
    }

    pub(crate) fn corrupt(path: impl AsRef<Path>, detail: impl Into<String>) -> Self {
        Self::Corrupt { what: path.as_ref().display().to_string(), detail: detail.into() }
    }

    /// Whether the store that answered this has to be closed.
    pub(crate) fn closes(&self) -> bool {
        !matches!(self, Self::TooLarge { .. } | Self::Refused { .. })
    }
}

/// By what does not know which data keys it names: whoever asks has to think that it may be any.
pub(crate) fn untold(what: &'static str) -> StorageError {
    StorageError::Refused {
        operation: "tell the data keys of",
        detail: format!("the {what} does not know them"),
    }
}
