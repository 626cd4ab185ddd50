//! [`Engine`] on a [`MemDisk`](crate::MemDisk).

use std::collections::BTreeMap;

use crate::engine::{Engine, Row, Rows};
use crate::error::StorageError;
use crate::memory::{Handle, SplitMix};
use crate::sled_rows::{check_row, checked};

type Content = BTreeMap<Vec<u8>, Vec<u8>>;
type Batch = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

#[derive(Clone, Debug, Default)]
pub(crate) struct EngineDisk {
    /// With everything written.
    live: Content,
    /// With everything synced.
    durable: Content,
    /// Written and not synced, in order.
    pending: Vec<Batch>,
    incomplete: bool,
}

impl EngineDisk {
    pub fn crash(&mut self, random: &mut SplitMix) {
        let kept = random.up_to(self.pending.len());
        self.pending.truncate(kept);
        self.sync();
        self.live = self.durable.clone();
    }

    /// As it would be found after a crash that keeps nothing unsynced.
    pub fn copy(&self) -> Self {
        Self {
            live: self.durable.clone(),
            durable: self.durable.clone(),
            pending: Vec::new(),
            incomplete: self.incomplete,
        }
    }

    pub fn rot(&mut self, random: &mut SplitMix) -> bool {
        let at = random.up_to(self.durable.len().saturating_sub(1));
        let Some((key, value)) = self.durable.iter_mut().nth(at) else { return false };
        let byte = random.up_to(value.len().saturating_sub(1));
        let Some(byte) = value.get_mut(byte) else { return false };
        *byte ^= 1;
        let (key, value) = (key.clone(), value.clone());
        self.live.insert(key, value);
        true
    }

    fn sync(&mut self) {
        for batch in self.pending.drain(..) {
            apply(&mut self.durable, &batch);
        }
    }
}

fn apply(content: &mut Content, batch: &Batch) {
    for (key, value) in batch {
        match value {
            Some(value) => content.insert(key.clone(), value.clone()),
            None => content.remove(key),
        };
    }
}

/// Rows in memory.
#[derive(Debug)]
pub struct MemEngine {
    handle: Handle,
}

impl MemEngine {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// Throws all rows away, as `SledEngine::discard` does: the engine is incomplete until it is replaced.
    pub fn discard(&self) -> Result<(), StorageError> {
        self.handle.write(|disk| {
            disk.engine = EngineDisk { incomplete: true, ..EngineDisk::default() };
            Ok(((), Vec::new()))
        })
    }
}

impl Engine for MemEngine {
    fn write(&self, rows: Rows, durable: bool) -> Result<(), StorageError> {
        let batch = checked(rows)?;
        self.handle.write(|disk| {
            if disk.engine.incomplete {
                let detail = "the content is incomplete and has to be replaced first".to_owned();
                return Err(StorageError::Refused { operation: "write", detail });
            }
            disk.write_allowed()?;
            apply(&mut disk.engine.live, &batch);
            disk.engine.pending.push(batch);
            if durable {
                disk.write_allowed()?;
                disk.engine.sync();
            }
            Ok(((), Vec::new()))
        })
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.handle.write(|disk| {
            disk.write_allowed()?;
            disk.engine.sync();
            Ok(((), Vec::new()))
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.handle.read(|disk| Ok(disk.engine.live.get(key).cloned()))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        self.handle.read(|disk| Ok(range(&disk.engine.live, from, to).take(limit).collect()))
    }

    fn scan_back(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        self.handle.read(|disk| Ok(range(&disk.engine.live, from, to).rev().take(limit).collect()))
    }

    fn replace_with(
        &self,
        rows: Box<dyn Iterator<Item = Result<Row, StorageError>> + Send + '_>,
    ) -> Result<(), StorageError> {
        // Read before the disk is locked: the rows may come from this very engine.
        let rows = rows.collect::<Result<Content, _>>()?;
        rows.iter().try_for_each(|(key, value)| check_row(key, value))?;
        self.handle.write(|disk| {
            disk.write_allowed()?;
            disk.engine = EngineDisk { incomplete: true, ..EngineDisk::default() };
            disk.write_allowed()?;
            disk.engine = EngineDisk { live: rows.clone(), durable: rows, ..EngineDisk::default() };
            Ok(((), Vec::new()))
        })
    }

    fn is_complete(&self) -> Result<bool, StorageError> {
        self.handle.read(|disk| Ok(!disk.engine.incomplete))
    }

    fn size_bytes(&self) -> u64 {
        let count = |content: &Content| content.iter().map(|(k, v)| (k.len() + v.len()) as u64).sum();
        self.handle.read(|disk| Ok(count(&disk.engine.live))).unwrap_or(0)
    }
}

fn range<'a>(content: &'a Content, from: &[u8], to: &[u8]) -> impl DoubleEndedIterator<Item = Row> + use<'a> {
    // An inverted range would panic.
    let to = to.max(from).to_vec();
    content.range(from.to_vec()..to).map(|(k, v)| (k.clone(), v.clone()))
}
