//! A folder's stores, and the mark of work that did not come to its end.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use only1mcp_consensus::Stores;
use only1mcp_keys::KeyRing;
use only1mcp_storage::{DataFolder, FileSegments, Key32, Sealer};

use crate::config::NodeConfig;
use crate::host::HostClock;
use crate::serve::erasure::keep_plain_generation;
use crate::serve::stores::{self as files, Keys};

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

/// What the folder is sealed with, by the configuration; a folder that holds nothing yet gets its key ring. `None` where
/// everything is in the clear.
pub async fn keys(config: &NodeConfig, folder: &DataFolder) -> anyhow::Result<Option<Arc<Sealer>>> {
    let Some(source) = crate::keys::source(&config.keys).await.context("keys")? else {
        let encrypted =
            "the data folder is encrypted, but the configuration says `keys: { plaintext: true }`";
        ensure!(KeyRing::read(folder)?.is_none(), "{encrypted}: name its keys");
        return Ok(None);
    };
    let owner = crate::keys::owner(config);
    let opened = crate::keys::open(folder, &source, &owner, HostClock.now_ms()).await?;
    Ok(Some(opened.sealer))
}

/// Keeps the key of a generation in the folder, as the node that will live there does.
pub async fn keep_generation(
    config: &NodeConfig,
    folder: &DataFolder,
    generation: u32,
    key: &Key32,
) -> anyhow::Result<()> {
    let Some(source) = crate::keys::source(&config.keys).await.context("keys")? else {
        return keep_plain_generation(folder, generation, key);
    };
    let mut ring = KeyRing::read(folder)?.context("the folder has no key ring")?;
    let (provider, recovery) = (source.provider.as_ref(), source.recovery.as_deref());
    ring.keep_generation(folder, provider, recovery, (generation, key), HostClock.now_ms()).await?;
    Ok(())
}

/// As the node itself opens them.
pub fn open(folder: &DataFolder, keys: Keys<'_>) -> anyhow::Result<Stores> {
    Ok(Stores {
        log: files::log(folder.log(), keys)?,
        engine: Arc::from(files::rows(folder.state(), keys)?),
        segments: files::segments(FileSegments::open(folder.segments())?, keys),
    })
}
