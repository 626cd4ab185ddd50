//! A folder's stores, and the mark of work that did not come to its end.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use only1mcp_consensus::Stores;
use only1mcp_storage::{DataFolder, FileRaftLog, FileSegments, RaftLogOptions, SledEngine};

/// While it is there the folder is neither what it was nor what it was to become.
const MARK: &str = "unfinished";

fn mark(folder: &DataFolder) -> PathBuf {
    folder.root().join(MARK)
}

/// What was begun and not ended, if anything.
pub fn unfinished(folder: &DataFolder) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(mark(folder)) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{}", mark(folder).display())),
    }
}

/// A node must not live on a folder that is half one thing and half another.
pub fn refuse_unfinished(folder: &DataFolder) -> anyhow::Result<()> {
    let begun = unfinished(folder)?;
    let begun_text = begun.clone().unwrap_or_default();
    ensure!(begun.is_none(), "`{begun_text}` did not come to its end in this folder: run it again first");
    Ok(())
}

/// Durable at return.
pub fn begin(folder: &DataFolder, what: &str) -> anyhow::Result<()> {
    std::fs::write(mark(folder), what)?;
    File::open(mark(folder))?.sync_all()?;
    File::open(folder.root())?.sync_all()?;
    Ok(())
}

/// Durable at return.
pub fn end(folder: &DataFolder) -> anyhow::Result<()> {
    std::fs::remove_file(mark(folder))?;
    File::open(folder.root())?.sync_all()?;
    Ok(())
}

/// As the node itself opens them.
pub fn open(folder: &DataFolder) -> anyhow::Result<Stores> {
    Ok(Stores {
        log: Arc::new(FileRaftLog::open(folder.log(), RaftLogOptions::default())?),
        engine: Arc::new(SledEngine::open(folder.state())?),
        segments: Arc::new(FileSegments::open(folder.segments())?),
    })
}
