//! [`Segments`] on a [`MemDisk`](crate::MemDisk): whole copies are synced, of a part a crash keeps a beginning, in which some
//! sector may never have been written.

use std::collections::BTreeMap;

use only1mcp_domain::ids::Digest;

use crate::error::StorageError;
use crate::memory::{Handle, SplitMix, flip};
use crate::segments::{SegmentCopy, Segments, elsewhere, not_here};
use crate::torn::SECTOR_BYTES;

#[derive(Debug, Default)]
pub(crate) struct SegmentDisk {
    pub whole: BTreeMap<Digest, Vec<u8>>,
    pub parts: BTreeMap<Digest, Vec<u8>>,
}

impl SegmentDisk {
    pub fn crash(&mut self, random: &mut SplitMix) {
        for part in self.parts.values_mut() {
            part.truncate(random.up_to(part.len()));
            let sectors = part.len().div_ceil(SECTOR_BYTES);
            if random.up_to(3) == 0
                && let Some(sector) =
                    part.chunks_mut(SECTOR_BYTES).nth(random.up_to(sectors.saturating_sub(1)))
            {
                sector.fill(0);
            }
        }
    }

    pub fn rot(&mut self, random: &mut SplitMix) -> Option<Digest> {
        let at = random.up_to(self.whole.len().saturating_sub(1));
        let (address, bytes) = self.whole.iter_mut().nth(at)?;
        flip(bytes, random);
        Some(*address)
    }

    fn of(&self, address: &Digest, copy: SegmentCopy) -> Option<&Vec<u8>> {
        match copy {
            SegmentCopy::Whole => self.whole.get(address),
            SegmentCopy::Part => self.parts.get(address),
        }
    }
}

/// Segments in memory.
#[derive(Debug)]
pub struct MemSegments {
    handle: Handle,
}

impl MemSegments {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl Segments for MemSegments {
    fn size(&self, address: &Digest, copy: SegmentCopy) -> Result<Option<u64>, StorageError> {
        self.handle.read(|disk| Ok(disk.segments.of(address, copy).map(|bytes| length_of(bytes))))
    }

    fn read(
        &self,
        address: &Digest,
        copy: SegmentCopy,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StorageError> {
        self.handle.read(|disk| {
            let bytes = disk.segments.of(address, copy).ok_or_else(|| not_here(address))?;
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let rest = bytes.get(from..).unwrap_or_default();
            Ok(rest.get(..length.min(rest.len())).unwrap_or_default().to_vec())
        })
    }

    fn append(&self, address: &Digest, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.handle.write(|disk| {
            disk.write_allowed()?;
            let end = disk.segments.parts.get(address).map_or(0, |part| length_of(part));
            if end != offset {
                return Err(elsewhere(address, end, offset));
            }
            disk.segments.parts.entry(*address).or_default().extend_from_slice(bytes);
            Ok(((), Vec::new()))
        })
    }

    fn finish(&self, address: &Digest) -> Result<(), StorageError> {
        self.handle.write(|disk| {
            disk.write_allowed()?;
            let part = disk.segments.parts.remove(address).ok_or_else(|| not_here(address))?;
            disk.segments.whole.insert(*address, part);
            Ok(((), Vec::new()))
        })
    }

    fn remove(&self, address: &Digest, copy: SegmentCopy) -> Result<(), StorageError> {
        self.handle.write(|disk| {
            match copy {
                SegmentCopy::Whole => disk.segments.whole.remove(address),
                SegmentCopy::Part => disk.segments.parts.remove(address),
            };
            Ok(((), Vec::new()))
        })
    }

    fn addresses(&self) -> Result<Vec<Digest>, StorageError> {
        self.handle.read(|disk| Ok(disk.segments.whole.keys().copied().collect()))
    }

    fn parts(&self) -> Result<Vec<Digest>, StorageError> {
        self.handle.read(|disk| Ok(disk.segments.parts.keys().copied().collect()))
    }
}
