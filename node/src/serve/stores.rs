//! The stores of a data folder, sealed where the node has keys.

use std::path::Path;
use std::sync::Arc;

use only1mcp_storage::{
    DataFolder, Engine, FileJournal, FileRaftLog, FileSegments, Journal, JournalOptions, RaftLog,
    RaftLogOptions, RowGuard, SealedEngine, SealedJournal, SealedLog, SealedSegments, Sealer, Segments,
    SledEngine, StorageError, WriteBehind,
};

/// Keys, or none where everything is in the clear.
pub type Keys<'a> = Option<&'a Arc<Sealer>>;

pub fn log(folder: impl AsRef<Path>, keys: Keys<'_>) -> Result<Arc<dyn RaftLog>, StorageError> {
    let log = FileRaftLog::open(folder, RaftLogOptions::default())?;
    Ok(match keys {
        Some(sealer) => Arc::new(SealedLog::new(log, sealer.clone())),
        None => Arc::new(log),
    })
}

pub fn journal(folder: impl AsRef<Path>, keys: Keys<'_>) -> Result<Arc<dyn Journal>, StorageError> {
    let journal = FileJournal::open(folder, JournalOptions::default())?;
    Ok(match keys {
        Some(sealer) => Arc::new(SealedJournal::new(journal, sealer.clone())),
        None => Arc::new(journal),
    })
}

pub fn segments(files: FileSegments, keys: Keys<'_>) -> Arc<dyn Segments> {
    match keys {
        Some(sealer) => Arc::new(SealedSegments::new(files, sealer.clone())),
        None => Arc::new(files),
    }
}

fn guard(keys: Keys<'_>) -> RowGuard {
    keys.map_or_else(RowGuard::plain, |sealer| RowGuard::keyed(sealer.clone()))
}

/// The rows as they are read where nothing is written.
pub fn rows(folder: impl AsRef<Path>, keys: Keys<'_>) -> Result<Box<dyn Engine>, StorageError> {
    let rows = SledEngine::open_guarded(folder, guard(keys))?;
    Ok(match keys {
        Some(sealer) => Box::new(SealedEngine::new(rows, sealer.clone())),
        None => Box::new(rows),
    })
}

fn behind(folder: &DataFolder, keys: Keys<'_>) -> Result<Arc<dyn Engine>, StorageError> {
    let rows = SledEngine::open_guarded(folder.state(), guard(keys))?;
    Ok(match keys {
        Some(sealer) => Arc::new(WriteBehind::new(SealedEngine::new(rows, sealer.clone()))?),
        None => Arc::new(WriteBehind::new(rows)?),
    })
}

/// Rows that cannot be trusted are made again from the log or another member's snapshot. INVARIANT: P6
pub fn engine(folder: &DataFolder, keys: Keys<'_>) -> Result<Arc<dyn Engine>, StorageError> {
    match behind(folder, keys) {
        Err(StorageError::Corrupt { what, detail }) => {
            tracing::error!(%what, %detail, "the rows are damaged: they are discarded and made again");
            SledEngine::discard(folder.state())?;
            behind(folder, keys)
        }
        opened => opened,
    }
}
