//! Which data keys nothing on this node's disk names any more: those may go, and no other.
//!
//! A key goes only when all of this holds: nothing that seals, or waits to be written, began while it was in use; every row,
//! segment, part of one, record of Raft's log and of the journal, and file of the node was looked at after that and names
//! another; and what was looked at is on disk. What cannot be read is taken to name every key. Records of log and journal
//! count as long as their files are there, purged or not: a crash may bring them back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use only1mcp_storage::{
    DataFolder, Engine, Journal, RaftLog, SealedHead, Sealer, SegmentCopy, Segments, StorageError,
};
use tokio::time::{Duration, sleep};

/// Rows looked at in one step.
const ROWS: usize = 512;
/// After each step.
const PAUSE: Duration = Duration::from_millis(2);
/// After each file of the log, which is read whole.
const PAUSE_FILE: Duration = Duration::from_millis(50);

/// Everything that this node writes under its data keys.
#[derive(Clone)]
pub struct Stored {
    pub engine: Arc<dyn Engine>,
    pub segments: Arc<dyn Segments>,
    /// Not kept open by whoever looks: a node that starts anew opens them again.
    pub log: Weak<dyn RaftLog>,
    pub journal: Weak<dyn Journal>,
    pub folder: Arc<DataFolder>,
}

/// By data key: where it is named.
pub type Named = BTreeMap<u32, BTreeSet<&'static str>>;

/// What was found, and from which key on more may come.
pub struct Looked {
    pub named: Named,
    pub oldest_in_hand: u32,
}

impl Looked {
    /// Those of `keys` that may go.
    pub fn unused(&self, keys: impl Iterator<Item = u32>) -> BTreeSet<u32> {
        keys.filter(|key| *key < self.oldest_in_hand && !self.named.contains_key(key)).collect()
    }
}

impl Stored {
    /// Looks at everything, and makes rows durable as they were seen.
    /// Errors: something could not be read, so that any key may be named.
    pub async fn look(&self, sealer: &Sealer) -> Result<Looked, StorageError> {
        // Before anything is looked at: what is handed on from here on lies under this key or a newer one.
        let oldest_in_hand = sealer.oldest_in_hand();
        let mut named = Named::new();
        let mut add = |place: &'static str, keys: BTreeSet<u32>| {
            for key in keys {
                named.entry(key).or_default().insert(place);
            }
        };
        add("signing key", self.signing_key()?);
        let mut after = Some(Vec::new());
        while let Some(from) = after {
            let engine = self.engine.clone();
            let step = blocking(move || engine.sealed_under(&from, ROWS)).await?;
            add("rows", step.keys);
            after = step.next;
            sleep(PAUSE).await;
        }
        let segments = self.segments.clone();
        // A part becomes whole, never the other way.
        let parts = blocking(move || segments.parts()).await?;
        for address in parts {
            add("parts of segments", self.segment(address, SegmentCopy::Part).await?);
            add("segments", self.segment(address, SegmentCopy::Whole).await?);
        }
        let segments = self.segments.clone();
        for address in blocking(move || segments.addresses()).await? {
            add("segments", self.segment(address, SegmentCopy::Whole).await?);
            sleep(PAUSE).await;
        }
        let journal = self.journal.upgrade().ok_or(StorageError::Closed)?;
        add("journal", blocking(move || journal.sealed_under()).await?);
        let mut after = None;
        loop {
            let log = self.log.upgrade().ok_or(StorageError::Closed)?;
            let Some((file, keys)) = blocking(move || log.sealed_under(after)).await? else { break };
            add("log", keys);
            after = Some(file);
            sleep(PAUSE_FILE).await;
        }
        let engine = self.engine.clone();
        blocking(move || engine.sync()).await?;
        Ok(Looked { named, oldest_in_hand })
    }

    async fn segment(
        &self,
        address: only1mcp_domain::ids::Digest,
        copy: SegmentCopy,
    ) -> Result<BTreeSet<u32>, StorageError> {
        let segments = self.segments.clone();
        blocking(move || segments.sealed_under(&address, copy)).await
    }

    fn signing_key(&self) -> Result<BTreeSet<u32>, StorageError> {
        let Some(stored) = self.folder.signing_key()? else { return Ok(BTreeSet::new()) };
        let head = SealedHead::of(&stored).ok_or_else(|| StorageError::Corrupt {
            what: "signing-key".into(),
            detail: "it is not sealed".into(),
        })?;
        Ok([head.data_key].into())
    }
}

pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(StorageError::Closed))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use only1mcp_domain::ids::Digest;
    use only1mcp_domain::row::Table;
    use only1mcp_keys::{KeyFile, KeysConfig, Owner};
    use only1mcp_storage::{FileSegments, Flushed, JournalPosition, LogPosition, LogRecord};

    use super::*;
    use crate::keys::{self, Source};
    use crate::serve::proofs;
    use crate::serve::reseal::Reseal;
    use crate::serve::rotate::Rotation;
    use crate::serve::stores;

    struct World {
        stored: Stored,
        log: Arc<dyn RaftLog>,
        journal: Arc<dyn Journal>,
        reseal: Reseal,
        rotation: Arc<Rotation>,
    }

    async fn open(root: &std::path::Path, key_file: &std::path::Path) -> World {
        let folder = Arc::new(DataFolder::open(root).unwrap());
        let provider = if key_file.exists() { KeyFile::open(key_file) } else { KeyFile::create(key_file) };
        let provider = provider.unwrap();
        let source = Source { provider: Arc::new(provider), recovery: None };
        let owner = Owner { cluster: String::new(), node: "node-1".to_owned() };
        let opened = keys::open(&folder, &source, &owner, 1).await.unwrap();
        let sealer = Some(&opened.sealer);
        proofs::signing_key(&folder, sealer).unwrap();
        let log = stores::log(folder.log(), sealer).unwrap();
        let journal = stores::journal(folder.journal(), sealer).unwrap();
        let stored = Stored {
            engine: stores::engine(&folder, sealer).unwrap(),
            segments: stores::segments(FileSegments::open(folder.segments()).unwrap(), sealer),
            log: Arc::downgrade(&log),
            journal: Arc::downgrade(&journal),
            folder: folder.clone(),
        };
        let rotation = Arc::new(Rotation::new(folder, &opened, &source, &KeysConfig::default()));
        let reseal =
            Reseal { stored: stored.clone(), rotation: rotation.clone(), bytes_per_second: u64::MAX };
        World { stored, log, journal, reseal, rotation }
    }

    fn durably<T>(append: impl FnOnce(Flushed) -> Result<T, StorageError>) -> T {
        let (tx, rx) = std::sync::mpsc::channel();
        let out = append(Box::new(move |result| drop(tx.send(result)))).unwrap();
        rx.recv().unwrap().unwrap();
        out
    }

    fn position(index: u64) -> LogPosition {
        LogPosition { term: 1, node: 1, index }
    }

    fn append(world: &World, index: u64) {
        let record = LogRecord { position: position(index), payload: Bytes::from_static(b"entry") };
        durably(|flushed| world.log.append(vec![record], flushed));
    }

    fn row(number: u8) -> (Vec<u8>, Option<Vec<u8>>) {
        (vec![Table::Roles.number(), number], Some(vec![number; 100]))
    }

    async fn places(world: &World, key: u32) -> Vec<&'static str> {
        let looked = world.stored.look(world.rotation.sealer()).await.unwrap();
        looked.named.get(&key).into_iter().flatten().copied().collect()
    }

    /// A key is named by whatever it sealed until that is sealed again or gone; then it goes, and everything opens without it.
    #[tokio::test]
    async fn a_data_key_goes_once_nothing_names_it_and_not_before() {
        let (root, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key_file = keys.path().join("keys.json");
        let world = open(root.path(), &key_file).await;
        let World { stored, reseal, rotation, .. } = &world;
        stored.engine.replace_all(Box::new(std::iter::empty())).unwrap();
        stored.engine.write((0..50).map(row).collect(), true).unwrap();
        let (whole, part) = (Digest([1; 32]), Digest([2; 32]));
        stored.segments.append(&whole, 0, &[7; 70_000]).unwrap();
        stored.segments.finish(&whole).unwrap();
        append(&world, 1);
        let number = durably(|flushed| world.journal.append(Bytes::from_static(b"call"), flushed));
        let first = rotation.sealing_key();
        let all = ["journal", "log", "rows", "segments", "signing key"];
        assert_eq!(places(&world, first).await, all);

        // What another process had begun to fetch.
        stored.segments.append(&part, 0, &[8; 40_000]).unwrap();
        let second = rotation.rotate().await.unwrap();
        reseal.round(second).await.unwrap();
        assert_eq!(places(&world, first).await, ["journal", "log", "parts of segments"]);
        reseal.drop_unused().await.unwrap();
        assert_eq!(rotation.data_keys().await, 2, "a key that is named stays");

        // The part goes on under its old key as long as this process writes it.
        stored.segments.append(&part, 40_000, &[8; 10]).unwrap();
        stored.segments.remove(&part, SegmentCopy::Part).unwrap();
        world.journal.discard(number).unwrap();
        drop(world);

        // Another life: the journal and the log still have their files.
        let world = open(root.path(), &key_file).await;
        let World { reseal, rotation, .. } = &world;
        assert_eq!(places(&world, first).await, ["journal", "log"]);
        reseal.drop_unused().await.unwrap();
        assert_eq!(rotation.data_keys().await, 2);
        assert_eq!(world.journal.read_after(JournalPosition(0)).unwrap().len(), 1);
    }

    /// All that seals under it gone, the ring holds one key, on disk and in memory, and the folder opens with that.
    #[tokio::test]
    async fn a_folder_opens_without_the_key_that_was_dropped() {
        let (root, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key_file = keys.path().join("keys.json");
        let world = open(root.path(), &key_file).await;
        let World { stored, reseal, rotation, .. } = &world;
        stored.engine.replace_all(Box::new(std::iter::empty())).unwrap();
        stored.engine.write((0..50).map(row).collect(), true).unwrap();
        let whole = Digest([1; 32]);
        stored.segments.append(&whole, 0, &[7; 70_000]).unwrap();
        stored.segments.finish(&whole).unwrap();
        let first = rotation.sealing_key();
        let second = rotation.rotate().await.unwrap();
        append(&world, 1);
        durably(|flushed| world.journal.append(Bytes::from_static(b"call"), flushed));
        reseal.drop_unused().await.unwrap();
        assert_eq!(rotation.data_keys().await, 2, "rows and segments name it");
        reseal.round(second).await.unwrap();
        reseal.drop_unused().await.unwrap();
        assert_eq!(rotation.data_keys().await, 1);
        assert!(!std::fs::read_to_string(root.path().join("key-ring")).unwrap().contains("\"id\": 1,"));
        assert_eq!(rotation.progress().told().dropped, 1);
        assert_eq!(places(&world, first).await, [""; 0]);
        drop(world);

        let world = open(root.path(), &key_file).await;
        let stored = &world.stored;
        assert_eq!(stored.engine.get(&row(9).0).unwrap(), row(9).1);
        assert_eq!(stored.segments.read(&whole, SegmentCopy::Whole, 0, 1 << 20).unwrap(), vec![7; 70_000]);
        assert_eq!(world.log.read(1, 2).unwrap().len(), 1);
        assert_eq!(world.journal.read_after(JournalPosition(0)).unwrap().len(), 1);
        // A third life of the signing key's file: it still opens.
        assert_eq!(stored.folder.signing_key().unwrap().unwrap().len(), 32 + only1mcp_storage::SEALED_BYTES);
    }

    /// What is damaged names every key.
    #[tokio::test]
    async fn nothing_is_dropped_while_something_cannot_be_read() {
        let (root, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let world = open(root.path(), &keys.path().join("keys.json")).await;
        let World { stored, reseal, rotation, .. } = &world;
        stored.engine.replace_all(Box::new(std::iter::empty())).unwrap();
        // Their tally is sealed anew with them.
        stored.engine.write((0..5).map(row).collect(), true).unwrap();
        let whole = Digest([1; 32]);
        stored.segments.append(&whole, 0, &[7; 70_000]).unwrap();
        stored.segments.finish(&whole).unwrap();
        let second = rotation.rotate().await.unwrap();
        reseal.round(second).await.unwrap();
        let path = stored.folder.segments().join(whole.to_string());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(reseal.drop_unused().await.is_err());
        assert_eq!(rotation.data_keys().await, 2);
        std::fs::write(&path, &bytes).unwrap();
        reseal.drop_unused().await.unwrap();
        assert_eq!(rotation.data_keys().await, 1, "{:?} names it", places(&world, 1).await);
    }
}
