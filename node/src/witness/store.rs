//! A witness's folder: its key, and the last checkpoint of each chain.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use only1mcp_domain::audit::merkle::TreeHead;
use only1mcp_domain::ids::Digest;
use only1mcp_proofs::{Origin, SigningKey};
use serde::{Deserialize, Serialize};

use crate::host::HostEntropy;

#[derive(Serialize, Deserialize)]
struct Seen {
    size: u64,
    root: String,
}

/// Locked: two witnesses over one folder could sign two pasts.
pub struct Store {
    folder: PathBuf,
    seen: BTreeMap<String, TreeHead>,
    _lock: File,
}

/// After a crash it is the old file or the new one, whole; readable by its owner only.
fn replace(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

impl Store {
    /// Makes the folder and the key where there is none yet.
    /// Errors: it is in use, or what lies there cannot be read: a witness that has forgotten must not sign.
    pub fn open(folder: &Path) -> anyhow::Result<(Self, SigningKey)> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"))?;
        lock.try_lock().map_err(|_| anyhow::anyhow!("{} is in use by another witness", folder.display()))?;
        let (key_path, seen_path) = (folder.join("key"), folder.join("checkpoints.json"));
        let seed: [u8; 32] = if key_path.exists() {
            let content = std::fs::read(&key_path)?;
            content.try_into().map_err(|_| anyhow::anyhow!("{} holds no key", key_path.display()))?
        } else {
            anyhow::ensure!(
                !seen_path.exists(),
                "{} is missing, but there are checkpoints",
                key_path.display()
            );
            let seed: [u8; 32] = HostEntropy.bytes();
            replace(&seen_path, b"{}")?;
            replace(&key_path, &seed)?;
            seed
        };
        let text = std::fs::read_to_string(&seen_path).with_context(|| seen_path.display().to_string())?;
        let read: BTreeMap<String, Seen> = serde_json::from_str(&text)?;
        let mut seen = BTreeMap::new();
        for (origin, Seen { size, root }) in read {
            let root = Digest::parse_hex(&root).context("checkpoints.json: a root is none")?;
            seen.insert(origin, TreeHead { size, root });
        }
        let key = SigningKey::of_seed(seed);
        Ok((Self { folder: folder.to_owned(), seen, _lock: lock }, key))
    }

    pub fn known(&self, origin: Origin) -> Option<TreeHead> {
        self.seen.get(&origin.to_string()).copied()
    }

    /// Durable at return.
    pub fn remember(&mut self, origin: Origin, head: TreeHead) -> anyhow::Result<()> {
        let mut next = self.seen.clone();
        next.insert(origin.to_string(), head);
        let written: BTreeMap<&String, Seen> = next
            .iter()
            .map(|(origin, head)| (origin, Seen { size: head.size, root: head.root.to_string() }))
            .collect();
        replace(&self.folder.join("checkpoints.json"), serde_json::to_string(&written)?.as_bytes())?;
        self.seen = next;
        Ok(())
    }
}
