//! What can go wrong with bytes on disk.

/// Any of these stops the node: an I/O error is not a refusal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    #[error("{operation} {path}: {source}")]
    Io { operation: &'static str, path: String, source: std::sync::Arc<std::io::Error> },
    #[error("{what} is corrupt: {detail}")]
    Corrupt { what: String, detail: String },
    #[error("{what} is past its bound of {max} bytes")]
    TooLarge { what: &'static str, max: usize },
    #[error("the store is closed after an earlier error")]
    Closed,
    #[error("{path} has format version {found}; this program reads {known}")]
    Version { path: String, found: u32, known: u32 },
}

impl StorageError {
    pub fn io(operation: &'static str, path: impl AsRef<std::path::Path>, source: std::io::Error) -> Self {
        Self::Io { operation, path: path.as_ref().display().to_string(), source: std::sync::Arc::new(source) }
    }
}
