//! What this node has signed, and the newest checkpoint it knows: on its own disk, outside the replicated state.

use std::sync::{Arc, Mutex, PoisonError};

use only1mcp_proofs::{Checkpoint, Note};
use only1mcp_storage::{DataFolder, StorageError};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// As it lies on the disk, JSON.
#[derive(Clone, Default, Serialize, Deserialize)]
struct File {
    /// Text of the last checkpoint signed.
    signed: Option<String>,
    /// A note, signed by a majority.
    newest: Option<String>,
}

impl File {
    /// `None` where there is none. Errors: it is damaged.
    fn read(folder: &DataFolder) -> anyhow::Result<Option<Self>> {
        let Some(content) = folder.checkpoints()? else { return Ok(None) };
        let file = serde_json::from_slice(&content);
        file.map(Some).map_err(|error| anyhow::anyhow!("the file `checkpoints` is corrupt: {error}"))
    }
}

/// Up to which event this folder's node has signed; `None` where it never did. Errors: the file is damaged.
pub fn last_signed(folder: &DataFolder) -> anyhow::Result<Option<u64>> {
    let text = File::read(folder)?.and_then(|file| file.signed);
    let signed = text.map(|text| Checkpoint::parse(&text)).transpose();
    let signed = signed.map_err(|error| anyhow::anyhow!("the file `checkpoints` is corrupt: {error}"))?;
    Ok(signed.map(|checkpoint| checkpoint.tree.size))
}

/// A checkpoint that a majority signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Complete {
    pub checkpoint: Checkpoint,
    pub note: Note,
}

impl Complete {
    fn parse(note: &str) -> Option<Self> {
        let note = Note::parse(note).ok()?;
        Some(Self { checkpoint: Checkpoint::parse(&note.text).ok()?, note })
    }
}

pub struct Record {
    folder: Arc<DataFolder>,
    file: Mutex<File>,
    newest: watch::Sender<Option<Complete>>,
}

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("this node has signed a checkpoint of {signed} events, and signs none of {asked} any more")]
    NotAbove { signed: u64, asked: u64 },
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Record {
    /// Errors: a damaged file. It must not be taken for none: then this node might sign a past twice.
    pub fn open(folder: Arc<DataFolder>) -> anyhow::Result<Self> {
        last_signed(&folder)?;
        let file = File::read(&folder)?.unwrap_or_default();
        let newest = file.newest.as_deref().and_then(Complete::parse);
        Ok(Self { folder, file: Mutex::new(file), newest: watch::Sender::new(newest) })
    }

    pub fn newest(&self) -> watch::Receiver<Option<Complete>> {
        self.newest.subscribe()
    }

    pub fn signed(&self) -> Option<Checkpoint> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.signed.as_deref().and_then(|text| Checkpoint::parse(text).ok())
    }

    fn write(&self, file: &mut File, next: File) -> Result<(), StorageError> {
        self.folder.write_checkpoints(&serde_json::to_vec(&next).unwrap_or_default())?;
        *file = next;
        Ok(())
    }

    /// Only above all that was signed before, and remembered before the signature leaves. INVARIANT: P3
    pub fn sign(
        &self,
        checkpoint: &Checkpoint,
        sign: impl FnOnce(&str) -> String,
    ) -> Result<String, SignError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let text = checkpoint.text();
        let last = file.signed.as_deref().and_then(|text| Checkpoint::parse(text).ok());
        if file.signed.as_deref() != Some(text.as_str()) {
            if let Some(last) = last
                && (last.origin.epoch, last.tree.size) >= (checkpoint.origin.epoch, checkpoint.tree.size)
            {
                return Err(SignError::NotAbove { signed: last.tree.size, asked: checkpoint.tree.size });
            }
            let next = File { signed: Some(text.clone()), newest: file.newest.clone() };
            self.write(&mut file, next)?;
        }
        Ok(sign(&text))
    }

    /// Keeps a checkpoint that a majority signed, if it is the newest, or has more signatures than what is kept of it.
    pub fn keep(&self, complete: Complete) -> Result<(), StorageError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let better = self.newest.borrow().as_ref().is_none_or(|known| {
            let rank =
                |c: &Complete| (c.checkpoint.origin.epoch, c.checkpoint.tree.size, c.note.signatures.len());
            rank(&complete) > rank(known)
        });
        if better {
            let next = File { signed: file.signed.clone(), newest: Some(complete.note.to_string()) };
            self.write(&mut file, next)?;
            self.newest.send_replace(Some(complete));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::audit::merkle::TreeHead;
    use only1mcp_domain::ids::Digest;
    use only1mcp_proofs::Origin;

    use super::*;

    #[test]
    fn nothing_is_signed_below_what_was_signed_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let at = |epoch, size, root| Checkpoint {
            origin: Origin { cluster: Digest([1; 32]), epoch },
            tree: TreeHead { size, root: Digest([root; 32]) },
            chain: Digest([root; 32]),
        };
        let open = || Record::open(Arc::new(DataFolder::open(folder.path()).unwrap())).unwrap();
        let sign = |record: &Record, checkpoint| record.sign(&checkpoint, str::to_owned);
        let record = open();
        assert!(sign(&record, at(1, 7, 1)).is_ok());
        drop(record);
        let record = open();
        assert!(sign(&record, at(1, 7, 1)).is_ok(), "the same again");
        for refused in [at(1, 7, 2), at(1, 6, 1), at(1, 1, 1)] {
            assert!(matches!(sign(&record, refused), Err(SignError::NotAbove { signed: 7, .. })));
        }
        assert!(sign(&record, at(1, 8, 3)).is_ok());
        assert!(sign(&record, at(2, 5, 4)).is_ok(), "a new epoch may begin with less");
        assert!(sign(&record, at(1, 9, 4)).is_err(), "there is no way back from an epoch");
    }
}
