//! Keys of generations on this node's disk: in its key ring, wrapped by its key source; or, where nothing is encrypted,
//! in a file of their own. In no backup, and in nothing that is replicated.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use only1mcp_domain::ids::Digest;
use only1mcp_storage::{DataFolder, Key32};

use crate::serve::rotate::Rotation;

pub enum GenerationStore {
    Ring(Arc<Rotation>),
    Plain(Arc<DataFolder>),
}

/// Of a folder that is not encrypted.
pub fn plain_generations(folder: &DataFolder) -> anyhow::Result<BTreeMap<u32, Key32>> {
    let Some(bytes) = folder.generations()? else { return Ok(BTreeMap::new()) };
    let texts: BTreeMap<u32, String> = serde_json::from_slice(&bytes).context("generations")?;
    let key = |(generation, text): (u32, String)| {
        let Digest(mut bytes) = Digest::parse_hex(&text).context("generations: a key is not 32 bytes")?;
        Ok((generation, Key32::take(&mut bytes)))
    };
    texts.into_iter().map(key).collect()
}

fn write_plain(folder: &DataFolder, keys: &BTreeMap<u32, Key32>) -> anyhow::Result<()> {
    let texts = keys.iter().map(|(generation, key)| (*generation, Digest(*key.bytes()).to_string()));
    let texts: BTreeMap<u32, String> = texts.collect();
    Ok(folder.write_generations(&serde_json::to_vec(&texts)?)?)
}

/// Durable at return.
pub fn keep_plain_generation(folder: &DataFolder, generation: u32, key: &Key32) -> anyhow::Result<()> {
    let mut keys = plain_generations(folder)?;
    keys.insert(generation, key.clone());
    write_plain(folder, &keys)
}

impl GenerationStore {
    /// Durable at return.
    pub async fn keep(&self, generation: u32, key: &Key32) -> anyhow::Result<()> {
        match self {
            Self::Ring(rotation) => Ok(rotation.keep_generation(generation, key).await?),
            Self::Plain(folder) => keep_plain_generation(folder, generation, key),
        }
    }

    /// Those before `oldest` are gone from disk at return.
    pub async fn forget(&self, oldest: u32) -> anyhow::Result<()> {
        match self {
            Self::Ring(rotation) => Ok(rotation.forget_generations(oldest).await?),
            Self::Plain(folder) => {
                let mut keys = plain_generations(folder)?;
                keys.retain(|generation, _| *generation >= oldest);
                write_plain(folder, &keys)
            }
        }
    }

    /// Until when what wrapped destroyed generations could be called back; 0: it is gone.
    pub fn destroyed_at_ms(&self) -> u64 {
        match self {
            Self::Ring(rotation) => rotation.destroyed_at_ms(),
            Self::Plain(_) => 0,
        }
    }

    /// Whether what wrapped forgotten generations is still to be destroyed.
    pub fn destroys_still(&self) -> bool {
        self.rotation().is_some_and(|rotation| rotation.destroys_still())
    }

    pub fn rotation(&self) -> Option<&Arc<Rotation>> {
        match self {
            Self::Ring(rotation) => Some(rotation),
            Self::Plain(_) => None,
        }
    }
}
