//! The Merkle tree over the trail, beside it. Whole tiles of 1,024 leaves are kept as their roots, in memory and as rows
//! of this node, so a proof reads at most two tiles of events. All of it follows from the events: what is missing is made
//! again from them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use only1mcp_domain::audit::merkle::{self, Complete, Frontier, Nodes, TreeHead};
use only1mcp_domain::ids::{AuditIndex, Digest};
use only1mcp_storage::{Rows, StorageError};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Duration, sleep};

use super::whole::{Trail, TrailError};
use crate::handle::WeakHandle;
use crate::store::rows::{self, LoadError};

/// Leaves of a tile are two to the power of this.
const TILE_LEVEL: u32 = 10;
const TILE: u64 = 1 << TILE_LEVEL;
/// Events taken in at one time.
const STEP: usize = 256;
/// How long events wait for company. Reading has the engine hand on rows that it would rather gather: a tree that took
/// in each entry by itself cost every node more than the entry.
const LINGER: Duration = Duration::from_millis(500);
/// After a failure: a segment may be on its way.
const AGAIN: Duration = Duration::from_secs(1);
/// Then the tile's number, 8 bytes, big-endian. Table 0 is this crate's.
const KEY: [u8; 2] = [0, b'm'];
const KEY_END: [u8; 2] = [0, b'n'];

/// Why there is no proof.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TreeError {
    #[error(transparent)]
    Trail(#[from] TrailError),
    /// Worth trying again.
    #[error("this node's tree has {have} events, not yet {asked}")]
    Behind { asked: u64, have: u64 },
}

pub struct Tree {
    trail: Arc<Trail>,
    kept: Mutex<Kept>,
    size: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    tiles: Complete,
    /// Leaves of the tile that is not whole.
    open: Complete,
    /// The last tile that was looked into.
    looked: Option<(u64, Complete)>,
}

impl Kept {
    fn size(&self) -> u64 {
        self.tiles.len().saturating_mul(TILE).saturating_add(self.open.len())
    }
}

fn key(tile: u64) -> Vec<u8> {
    [KEY.as_slice(), &tile.to_be_bytes()].concat()
}

impl Tree {
    /// As far as rows tell it.
    pub fn load(trail: Arc<Trail>) -> Result<Self, LoadError> {
        let mut tiles = Complete::default();
        rows::each_row(trail.engine(), KEY.to_vec(), &KEY_END, |found, value| {
            // A hole: what is behind it is made again.
            if found == key(tiles.len())
                && let Ok(root) = value.as_slice().try_into()
            {
                tiles.push(Digest(root));
            }
            Ok(())
        })?;
        let kept = Kept { tiles, ..Kept::default() };
        let size = watch::Sender::new(kept.size());
        Ok(Self { trail, kept: Mutex::new(kept), size })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many events it has.
    pub fn size(&self) -> watch::Receiver<u64> {
        self.size.subscribe()
    }

    /// Takes in more events; false when there are none.
    fn follow(&self) -> Result<bool, TrailError> {
        let next = self.kept().size().saturating_add(1);
        let events = self.trail.events(AuditIndex(next), STEP)?;
        let mut kept = self.kept();
        for event in &events {
            kept.open.push(merkle::leaf(event.index, event.digest));
            if let Some(root) = kept.open.get(TILE_LEVEL, 0) {
                kept.tiles.push(root);
                kept.open = Complete::default();
                self.keep(&kept.tiles)?;
            }
        }
        let size = kept.size();
        drop(kept);
        self.size.send_replace(size);
        Ok(!events.is_empty())
    }

    /// Writes the last tile's row; all of them where a snapshot has replaced the rows.
    fn keep(&self, tiles: &Complete) -> Result<(), StorageError> {
        let last = tiles.len().saturating_sub(1);
        let engine = self.trail.engine();
        let lost = match last.checked_sub(1) {
            Some(before) => engine.get(&key(before))?.is_none(),
            None => false,
        };
        let from = if lost { 0 } else { last };
        let parts = (from..).zip(tiles.parts().iter().skip(usize::try_from(from).unwrap_or(usize::MAX)));
        let rows: Rows = parts.map(|(tile, root)| (key(tile), Some(root.0.to_vec()))).collect();
        engine.write(rows, false)
    }

    fn with<T>(
        &self,
        size: u64,
        prove: impl FnOnce(&mut Looking<'_>) -> Result<T, TrailError>,
    ) -> Result<T, TreeError> {
        let mut kept = self.kept();
        let have = kept.size();
        if size > have {
            return Err(TreeError::Behind { asked: size, have });
        }
        Ok(prove(&mut Looking { trail: &self.trail, kept: &mut kept })?)
    }

    /// The tree of the first `size` events, and the chain's hash there.
    pub fn at(&self, size: u64) -> Result<(TreeHead, Digest), TreeError> {
        let root = self.with(size, |nodes| merkle::root(nodes, size))?;
        let hash = match size {
            0 => Digest::default(),
            _ => self.trail.events(AuditIndex(size), 1)?.first().map(|event| event.hash).unwrap_or_default(),
        };
        Ok((TreeHead { size, root }, hash))
    }

    pub fn frontier(&self, size: u64) -> Result<Frontier, TreeError> {
        self.with(size, |nodes| merkle::frontier(nodes, size))
    }

    /// Of the event `index` in the tree of `size` events.
    pub fn inclusion(&self, index: AuditIndex, size: u64) -> Result<Vec<Digest>, TreeError> {
        self.with(size, |nodes| merkle::prove_inclusion(nodes, index.0.saturating_sub(1), size))
    }

    pub fn consistency(&self, old: u64, size: u64) -> Result<Vec<Digest>, TreeError> {
        self.with(size, |nodes| merkle::prove_consistency(nodes, old, size))
    }
}

struct Looking<'a> {
    trail: &'a Trail,
    kept: &'a mut Kept,
}

impl Nodes for Looking<'_> {
    type Error = TrailError;

    fn node(&mut self, level: u32, index: u64) -> Result<Digest, TrailError> {
        let missing = || {
            let problem = format!("the tree has no node {index} at level {level}");
            TrailError::from(LoadError::State { problem })
        };
        if let Some(above) = level.checked_sub(TILE_LEVEL) {
            return self.kept.tiles.get(above, index).ok_or_else(missing);
        }
        let shift = TILE_LEVEL.saturating_sub(level);
        let (tile, within) = (index >> shift, index & ((1 << shift) - 1));
        if tile == self.kept.tiles.len() {
            return self.kept.open.get(level, within).ok_or_else(missing);
        }
        if self.kept.looked.as_ref().is_none_or(|(looked, _)| *looked != tile) {
            let first = AuditIndex(tile.saturating_mul(TILE).saturating_add(1));
            let mut leaves = Complete::default();
            for event in self.trail.events(first, usize::try_from(TILE).unwrap_or(usize::MAX))? {
                leaves.push(merkle::leaf(event.index, event.digest));
            }
            self.kept.looked = Some((tile, leaves));
        }
        let looked = self.kept.looked.as_ref().and_then(|(_, leaves)| leaves.get(level, within));
        looked.ok_or_else(missing)
    }
}

/// Runs until Raft ends.
pub async fn run(weak: WeakHandle) {
    let Some(handle) = weak.upgrade() else { return };
    let mut applied = handle.applied();
    drop(handle);
    loop {
        let Some(handle) = weak.upgrade() else { return };
        if handle.stopped_because().is_some() {
            return;
        }
        let tree = handle.tree();
        drop(handle);
        applied.mark_unchanged();
        match tree.follow() {
            Ok(true) => yield_now().await,
            Ok(false) => {
                drop(tree);
                if applied.changed().await.is_err() {
                    return;
                }
                sleep(LINGER).await;
            }
            Err(TrailError::Rows(LoadError::Storage(StorageError::Closed))) => return,
            Err(error) => {
                tracing::info!(code = error.code(), %error, "the tree over the audit trail waits");
                drop(tree);
                sleep(AGAIN).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::audit::ChainHead;
    use only1mcp_domain::audit::merkle::{is_consistent, leaf, root_by_inclusion};
    use only1mcp_domain::row::{RowKey, RowValue};
    use only1mcp_proto::codec;
    use only1mcp_storage::{Engine as _, MemDisk, MemOptions};

    use super::*;

    #[test]
    fn proofs_come_from_tiles_of_rows_and_of_events_alike() {
        let disk = MemDisk::new(MemOptions::default());
        let engine = Arc::new(disk.engine());
        let (mut head, mut rows, mut plain) = (ChainHead::default(), Rows::new(), Frontier::default());
        let mut roots = vec![plain.root()];
        let mut digests = Vec::new();
        for number in 0..2 * TILE + 77 {
            let event = head.append(number.to_be_bytes().to_vec());
            plain.append(leaf(event.index, event.digest));
            roots.push(plain.root());
            digests.push(event.digest);
            rows.push((RowKey::audit(event.index).0, Some(codec::encode_row(&RowValue::Audit(event)))));
        }
        engine.write(rows, true).unwrap();
        let trail = Arc::new(Trail::new(engine.clone(), Arc::new(disk.segments()), 100_000, Vec::new()));
        let tree = Tree::load(Arc::clone(&trail)).unwrap();
        assert_eq!(*tree.size().borrow(), 0);
        while tree.follow().unwrap() {}
        let again = Tree::load(Arc::clone(&trail)).unwrap();
        assert_eq!(*again.size().borrow(), 2 * TILE, "whole tiles come from rows");
        while again.follow().unwrap() {}
        for tree in [&tree, &again] {
            let size = *tree.size().borrow();
            assert_eq!(size, plain.size());
            assert!(matches!(tree.at(size + 1), Err(TreeError::Behind { .. })));
            let (new, hash) = tree.at(size).unwrap();
            assert_eq!((new.root, hash), (plain.root(), head.hash));
            assert_eq!(tree.frontier(size).unwrap(), plain);
            for at in [1, 2, TILE - 1, TILE, TILE + 1, 2 * TILE, 2 * TILE + 1, size] {
                let (old, _) = tree.at(at).unwrap();
                assert_eq!(old.root, roots[usize::try_from(at).unwrap()]);
                assert!(is_consistent(old, new, &tree.consistency(at, size).unwrap()));
                let own = leaf(AuditIndex(at), digests[usize::try_from(at - 1).unwrap()]);
                let path = tree.inclusion(AuditIndex(at), size).unwrap();
                assert_eq!(root_by_inclusion(at - 1, size, own, &path), Some(new.root));
            }
        }
        // A snapshot took the rows away: the next whole tile brings all of them back.
        engine.write(vec![(key(0), None), (key(1), None)], true).unwrap();
        assert_eq!(*Tree::load(Arc::clone(&trail)).unwrap().size().borrow(), 0);
        let mut more = Rows::new();
        for number in 0..TILE {
            let event = head.append(number.to_be_bytes().to_vec());
            more.push((RowKey::audit(event.index).0, Some(codec::encode_row(&RowValue::Audit(event)))));
        }
        engine.write(more, true).unwrap();
        while tree.follow().unwrap() {}
        assert_eq!(*Tree::load(trail).unwrap().size().borrow(), 3 * TILE);
    }
}
